// Tables that are wider than the screen scroll by keyboard too.
addEventListener("load", () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((e) => (e.tabIndex = 0)));
