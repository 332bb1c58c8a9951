"""Plugins of other distributions, in fresh processes: what they add, and that none can break the rest."""

from __future__ import annotations

import json

import pytest

HOOK = "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_register(registry):\n"
GOOD = HOOK + "    registry.generator('fine', 'good_pkg.nets:Fine', modalities=('vector',), summary='A fine one.')\n"

REPORT = """
import json, sys
from genzoo.registry import the_registry
r = the_registry()
others = [p for p in r.plugins() if p.distribution != "genzoo"]
print(json.dumps({
    "own": [p.name for p in r.plugins() if p.distribution == "genzoo"],
    "errors": {p.name: p.error for p in others},
    "entries": {p.name: [e.kind + " " + e.name for e in p.entries] for p in others},
    "seconds": {p.name: p.seconds for p in others},
    "heavy": [m for m in ("torch", "numpy", "rich", "typer") if m in sys.modules],
}))
"""


def report(site, **env):
    """Everything but the report itself stays off stdout; returns it with the warnings about strangers."""
    done = site.run(REPORT, **env)
    assert done.stdout.count("\n") == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("genzoo: ") and "(genzoo " not in line]
    return json.loads(done.stdout), lines, done.stderr


BROKEN = {
    "raises": ("import no_such_dependency", "could not be loaded: ModuleNotFoundError: No module named 'no_such_de"),
    "raises_own": ("raise ValueError('two\\nlines')", "could not be loaded: ValueError: two lines"),
    "exits": ("import sys; sys.exit(3)", "could not be loaded: SystemExit: 3"),
    "syntax": ("def", "could not be loaded: SyntaxError"),
    "no_hook": ("x = 1", "no function 'genzoo_register' in it"),
    "unmarked": ("def genzoo_register(registry): pass", "'genzoo_register' is not marked with @hookimpl"),
    "misspelt": (
        "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_regster(registry): pass",
        "answers the hook 'genzoo_regster', which there is not (did you mean 'genzoo_register'",
    ),
    "signature": (HOOK.replace("(registry)", "(reg)") + "    pass", "{'reg'} are declared in the hookimpl"),
    "exits_later": (HOOK + "    raise SystemExit", "could not register all it has: SystemExit"),
    "bad_kind": (HOOK + "    registry.generatr('x', 'a:B')", "has no attribute 'generatr'"),
    "bad_name": (HOOK + "    registry.critic('Big', 'a:B')", "'Big' is no name for a critic"),
    "bad_target": (HOOK + "    registry.critic('x', 'a.b.C')", "critic 'x' has the target 'a.b.C'"),
    "asks_back": (HOOK + "    from genzoo.registry import the_registry; the_registry()", "while plugins are being"),
    "scan_nothing": (HOOK + "    registry.scan('scan_nothing_pkg.gone')", "no package 'scan_nothing_pkg.gone'"),
}


@pytest.fixture(scope="module")
def broken(new_site):
    """All broken plugins installed side by side, with a good one: one process tells for all."""
    site = new_site()
    for name, (code, _) in BROKEN.items():
        site.install(
            f"dist-{name}", {name: f"{name}_pkg.plugin"}, {f"{name}_pkg/__init__.py": "", f"{name}_pkg/plugin.py": code}
        )
    site.install("dist-nowhere", {"nowhere": "nowhere_pkg:plugin"}, {})
    site.install("dist-good", {"good": "good_pkg"}, {"good_pkg/__init__.py": GOOD}, version="2.5")
    return report(site)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_in_one_line(broken, name):
    told, lines, _ = broken
    mine = [line for line in lines if line.startswith(f"genzoo: plugin '{name}' (dist-{name} 1.0) could not")]
    assert len(mine) == 1
    assert BROKEN[name][1] in mine[0]
    assert mine[0].endswith(told["errors"][name])
    assert told["entries"][name] == []


def test_an_entry_point_to_nothing_is_named(broken):
    assert "No module named 'nowhere_pkg'" in broken[0]["errors"]["nowhere"]


def test_the_others_go_on_working(broken):
    told, lines, stderr = broken
    assert told["entries"]["good"] == ["generator fine"]
    assert told["errors"]["good"] is None
    assert set(told["own"]) >= {"gan", "vae", "nets"}
    assert len(lines) == len(BROKEN) + 1  # and the entry point to nothing
    assert "Traceback" not in stderr


def test_nothing_heavy_is_imported(broken):
    assert broken[0]["heavy"] == []


def test_what_a_plugin_prints_goes_to_stderr(site):
    loud = "print('LOUD import')\n" + HOOK + "    print('LOUD hook')\n    import time; time.sleep(.05)\n"
    site.install("dist-loud", {"loud": "loud_pkg"}, {"loud_pkg.py": loud})
    told, lines, stderr = report(site)
    assert stderr.count("LOUD") == 2
    assert told["errors"]["loud"] is None
    assert lines == []
    assert 0.05 <= told["seconds"]["loud"] < 5


def test_a_half_broken_plugin_keeps_what_was_good(site):
    code = HOOK + "    registry.critic('a', 'x:A')\n    registry.critic('a', 'x:B')\n    registry.critic('c', 'x:C')\n"
    site.install("dist-half", {"half": "half_pkg"}, {"half_pkg.py": code})
    told, lines, _ = report(site)
    assert told["entries"]["half"] == ["critic a"]
    assert lines == [
        "genzoo: plugin 'half' (dist-half 1.0) could not register all it has: "
        "critic 'a' is registered twice (x:A and x:B)"
    ]


def test_which_plugins_are_loaded(site):
    for letter in "abc":
        code = f"import sys; print('IMPORTED {letter}', file=sys.stderr)\n" + HOOK + "    pass\n"
        site.install(f"My.dist_{letter}", {f"plug_{letter}": f"{letter}_pkg"}, {f"{letter}_pkg.py": code})

    def loaded(**env):
        told, lines, stderr = report(site, **env)
        assert "gan" in told["own"]
        assert sorted(told["errors"]) == sorted(f"plug_{x}" for x in "abc" if f"IMPORTED {x}" in stderr)
        return sorted(told["errors"]), lines

    assert loaded() == (["plug_a", "plug_b", "plug_c"], [])
    assert loaded(GENZOO_PLUGINS="plug_a, my-dist-c") == (["plug_a", "plug_c"], [])
    assert loaded(GENZOO_NO_PLUGINS="1") == ([], [])
    assert loaded(GENZOO_NO_PLUGINS="0", GENZOO_PLUGINS="") == (["plug_a", "plug_b", "plug_c"], [])
    names, lines = loaded(GENZOO_PLUGINS="plug_d")
    assert names == []
    assert len(lines) == 1
    assert "no plugin or distribution 'plug_d' to load (did you mean 'plug_" in lines[0]


def test_a_warning_is_printed_once_per_process(site):
    site.install("dist-bad", {"bad": "bad_pkg"}, {"bad_pkg.py": "1/0"})
    done = site.run("from genzoo.registry import Registry\nfor _ in range(3): Registry.discover()")
    assert done.stderr.count("plugin 'bad' (dist-bad 1.0) could not be loaded: ZeroDivisionError") == 1


def test_ctrl_c_passes_through(site):
    site.install(
        "dist-slow", {"slow": "slow_pkg"}, {"slow_pkg.py": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)"}
    )
    done = site.run(
        "from genzoo.registry import Registry\ntry: Registry.discover()\nexcept KeyboardInterrupt: print('interrupted')"
    )
    assert done.stdout == "interrupted\n"


def test_broken_metadata_breaks_nothing(site):
    site.install("dist-good", {"good": "good_pkg"}, {"good_pkg/__init__.py": GOOD})
    site.files({"odd-1.0.dist-info/METADATA": "", "odd-1.0.dist-info/entry_points.txt": "[genzoo]\nodd = good_pkg\n"})
    told, lines, _ = report(site)
    assert told["entries"] == {"good": ["generator fine"]}
    assert len(lines) == 1
    assert "could not be listed: its METADATA has no name" in lines[0]


def test_two_distributions_with_one_name_and_one_entry_point(site):
    for letter in "ab":
        code = HOOK + f"    registry.critic('sharp', '{letter}_pkg.nets:Sharp{letter.upper()}')\n"
        site.install(f"dist-{letter}", {"same": f"{letter}_pkg"}, {f"{letter}_pkg.py": code})
    told = site.run("""
        from genzoo.registry import the_registry
        from genzoo.core.errors import UsageError
        r = the_registry()
        for name in ("sharp", "same:sharp"):
            try: r.get("critic", name)
            except UsageError as e: print(e)
        print(r.get("critic", "dist-a/same:sharp").target, r.get("critic", "Dist_B/same:sharp").target)
    """).stdout.splitlines()
    sentence = (
        "critic 'sharp' is claimed by plugin 'same' (dist-a 1.0) and by plugin 'same' (dist-b 1.0): "
        "say which, 'dist-a/same:sharp' or 'dist-b/same:sharp'"
    )
    assert told == [sentence, sentence, "a_pkg.nets:SharpA b_pkg.nets:SharpB"]


def test_importing_the_registry_is_light(site):
    done = site.run("""
        import sys
        import genzoo.registry, genzoo.registry.declare, genzoo.registry.discovery.static
        heavy = {m.partition(".")[0] for m in sys.modules} & {"torch", "numpy", "rich", "typer", "PIL", "safetensors"}
        print(sorted(heavy))
    """)
    assert done.stdout == "[]\n"
