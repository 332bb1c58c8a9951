// What is wider than the screen scrolls by keyboard too.
addEventListener("load", () => {
  for (const e of document.querySelectorAll(".md-typeset__scrollwrap, .highlight-ipynb")) e.tabIndex = 0;
});
