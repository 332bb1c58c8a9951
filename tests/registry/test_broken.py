# ruff: noqa: E501
"""Thirty ways to break a plugin, each installed: the others work, one line names distribution, version and cause."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HOOK = "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_register(registry):\n"
FINE = HOOK + "    registry.critic('{name}-fine', 'genzoo.plugins.nets.mlp:MLPCritic')\n"

# Module text, and the cause that the one line must name. What works all the same is said in words, too.
BROKEN = {
    "raises": ("raise RuntimeError('not today')", "could not be loaded: RuntimeError: not today"),
    "exits": ("import sys; sys.exit(0)", "could not be loaded: SystemExit: 0"),
    "interrupts": ("raise KeyboardInterrupt", "could not be loaded: it raised KeyboardInterrupt"),
    "generator-exit": ("raise GeneratorExit", "could not be loaded: GeneratorExit"),
    "recursion": ("def f(): f()\nf()", "could not be loaded: RecursionError"),
    "memory": ("raise MemoryError", "could not be loaded: MemoryError"),
    "syntax": ("def (", "could not be loaded: SyntaxError"),
    "null-bytes": ("x = 1\0", "source code string cannot contain null bytes"),
    "encoding": ("# -*- coding: no-such -*-\n", "could not be loaded: SyntaxError"),
    "dependency": ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
    "cyclic": ("import cyclic_pkg.other", "could not be loaded: ImportError: cannot import name 'late'"),
    "slow": ("import time; time.sleep(1.2)\n" + HOOK + "    pass", "s to load, which every command waits for"),
    "warns": ("import warnings; warnings.warn('old ways')\n" + HOOK + "    pass", "warns: old ways"),
    "no-hook": ("x = 1", "answers no hook: there is no function 'genzoo_register' in it"),
    "unmarked": ("def genzoo_register(registry): pass", "'genzoo_register' is not marked with @hookimpl"),
    "unknown-hook": (HOOK.replace("_register", "_registre") + "    pass", "answers the hook 'genzoo_registre', which"),
    "signature": (HOOK.replace("(registry)", "(registry, more)") + "    pass", "{'more'} are declared in the hookimpl"),
    "kind": (HOOK + "    registry.diffusion('x', 'a:B')", "has no attribute 'diffusion'"),
    "keyword": (HOOK + "    registry.critic('x', 'a:B', sumary='')", "unknown keyword 'sumary' (did you mean 'summary'?)"),
    "modality": (HOOK + "    registry.critic('x', 'a:B', modalities=('imag',))", "did you mean 'image'"),
    "name": (HOOK + "    registry.critic('My Critic', 'a:B')", "'My Critic' is no name for a critic"),
    "target": (HOOK + "    registry.critic('x', 'a.b')", "has the target 'a.b', which is not of the form"),
    "twice": (HOOK + "    registry.critic('tw', 'a:B'); registry.critic('tw', 'a:C')", "'tw' is registered twice"),
    "class": (HOOK + "    class C: pass\n    registry.critic('x', C)", "has the target <class"),
    "builtins": ("import builtins; builtins.print = builtins.input = len\n" + HOOK + "    pass", "builtins.input, buil"),
    "stdout": ("import sys, io; sys.stdout = sys.stderr = io.StringIO()\n" + HOOK + "    pass", "replaced sys.stderr"),
    "closes": ("import sys; sys.stdout.close(); print('LOUD')\n" + HOOK + "    pass", ""),
    "writes": ("import os; os.write(1, b'LOUD'); os.system('echo LOUD')\n" + HOOK + "    pass", ""),
    "endless": (HOOK + "    for i in range(10**9): registry.critic(f'x{i}', 'a:B')", "more than 10,000 entries"),
    "replaces": (HOOK + "    registry.store('hf', 'a:B')", "store 'hf' cannot be registered"),
    "command": (HOOK + "    registry.command('train', 'a:B')", "command 'train' cannot be registered: the name is genzoo's own"),
    "speechless": (
        "class E(Exception):\n    def __str__(self): raise RuntimeError('no words')\nraise E", "could not be loaded: E"
    ),
    "forgets": ("import sys; sys.path.clear(); sys.meta_path[:] = []\n" + HOOK + "    pass", "replaced sys.meta_path, sys.path"),
    "wanders": ("import os; os.chdir('/')\n" + HOOK + "    pass", "replaced the working folder while loading"),
    "escapes": (HOOK + "    registry.critic('x', 'a:B', summary='\\x1b[2J')", "summary must be one line of text, not "),
    "long": (HOOK + "    registry.critic('x', 'a:B', summary='s' * 10**6)", "summary must be text of at most 1000 characters"),
    "dangling": (HOOK + "    registry.scan('dangling_pkg')", "gone.py:1: it cannot be read: no such file or directory"),
    "newer": ("genzoo_api = 99\n" + HOOK + "    pass", "was written for plugin API 99, and this genzoo takes 1 to 1: upgrade genzoo"),
    "older": ("genzoo_api = 0\n" + HOOK + "    pass", "was written for plugin API 0, and this genzoo takes 1 to 1: upgrade the plugin"),
    "api": ("genzoo_api = '1'\n" + HOOK + "    pass", "has genzoo_api = '1', where the number of a plugin API belongs"),
    "imports-torch": ("import torch\n" + HOOK + "    pass", "imports torch while it is loaded, which costs every command"),
    "patches": (
        "import torch\nold = torch.nn.Linear.forward\ntorch.nn.Linear.forward = lambda self, x: old(self, x)\n" + HOOK + "    pass",
        "replaces torch.nn.Linear.forward, for every model: 'genzoo plugins disable patches' does without it",
    ),
    "late": (
        "import atexit\n" + HOOK + "    keep.append(registry)\nkeep = []\n"
        "import threading\nthreading.Timer(0.5, lambda: keep[0].critic('late', 'a:B')).start()",
        "",
    ),
}  # fmt: skip
ENTRY_POINTS = {
    "nowhere": ("nowhere_pkg.plugin", "ModuleNotFoundError: No module named 'nowhere_pkg'"),
    "malformed": ("not a module!", "its entry point says 'not a module!', where 'package.module' belongs"),
    "attribute": ("json:no_such", "AttributeError: module 'json' has no attribute 'no_such'"),
    "number": ("math:pi", "answers no hook"),
}
# Found when they are used: the entry, and what is said.
USED = {
    "gone": ("no_such_pkg:C", "there is no module 'no_such_pkg'"),
    "function": ("used_pkg.parts:function", "used_pkg.parts:function is a function, not a class"),
    "base": ("used_pkg.parts:Base", "used_pkg.parts:Base is not a subclass of genzoo.core.networks.Critic"),
    "options": ("used_pkg.parts:Options", "Options.Options is not a dataclass"),
    "exits": ("used_pkg.exits:C", "could not be loaded from used_pkg.exits:C: SystemExit: 4"),
}
EXITS = "import sys\nsys.exit(4)\nclass C: pass\n"
PARTS = """
import genzoo
def function(): pass
class Base:
    pass
class Options(genzoo.Critic):
    class Options:
        depth: int = 3
"""


def run(site, *arguments, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}
    clean |= {"PYTHONPATH": str(site.folder), "XDG_CONFIG_HOME": str(site.folder / "config")} | env
    command = [sys.executable, "-m", "genzoo.cli", *arguments]
    return subprocess.run(command, env=clean, cwd=site.folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(new_site):
    """All of them side by side, so that each must leave the others alone."""
    site = new_site()
    for name, (code, _) in BROKEN.items():
        package = f"{name.replace('-', '_')}_pkg"
        site.install(f"dist-{name}", {name: f"{package}.plugin"}, {f"{package}/__init__.py": ""}, version="3.2")
        (site.folder / package / "plugin.py").write_text(code)
    (site.folder / "dangling_pkg" / "gone.py").symlink_to("/no/where")
    site.files({"cyclic_pkg/other.py": "from cyclic_pkg.plugin import late"})
    for name, (value, _) in ENTRY_POINTS.items():
        site.install(f"dist-{name}", {name: value}, {}, version="3.2")
    used = "".join(f"    registry.critic('{k}', '{target}')\n" for k, (target, _) in USED.items())
    files = {"used_pkg/__init__.py": HOOK + used, "used_pkg/parts.py": PARTS, "used_pkg/exits.py": EXITS}
    site.install("dist-used", {"used": "used_pkg"}, files, version="3.2")
    for letter in "ab":  # two distributions with one entry-point name and one entry
        site.install(f"dist-{letter}", {"same": f"same_{letter}"}, {f"same_{letter}.py": FINE.format(name="same")})
    site.install("dist-good", {"good": "good_pkg"}, {"good_pkg.py": FINE.format(name="good")})
    return site


@pytest.fixture(scope="module")
def listed(site):
    return run(site, "plugins", "--json")


def test_every_command_works_and_stdout_is_clean(site, listed):
    assert listed.returncode == 0, listed.stderr
    assert "Traceback" not in listed.stderr.replace("Traceback (most recent call last):\n  File", "", 1)  # of a thread
    assert "LOUD" in listed.stderr
    records = {(r["distribution"], r["name"]): r for r in json.loads(listed.stdout)}
    assert records["dist-good", "good"]["adds"] == ["critic:good-fine"]
    assert records["dist-good", "good"]["errors"] == []
    assert {r["status"] for r in records.values()} == {"enabled"}
    assert all(r["errors"] == [] for (d, _), r in records.items() if d == "genzoo")


@pytest.mark.parametrize("name", [*BROKEN, *ENTRY_POINTS])
def test_one_line_names_distribution_version_and_cause(listed, name):
    cause = (BROKEN | ENTRY_POINTS)[name][1]
    mine = [line for line in listed.stderr.splitlines() if f"plugin {name!r} (dist-{name} 3.2)" in line]
    if name in ("imports-torch", "patches"):  # whoever is first imports it for all
        mine = [line for line in mine if cause in line]
    mine = [line for line in mine if "imports torch while" not in line or name == "imports-torch"]
    assert len(mine) == (1 if cause else 0), mine
    assert not cause or cause in mine[0]
    assert not cause or mine[0].startswith("genzoo: plugin ")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "exits" else pytest.mark.slow) for n in USED])
def test_what_is_found_on_use_names_it_too(site, name):
    env = {"GENZOO_PLUGINS": "used"}
    parts = ("--objective", "gan", "--critic", name, "--data", "ring8", "--out", "x", "--steps", "1", "-q")
    done = run(site, "train", *parts, **env)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert USED[name][1] in done.stderr
    assert "(dist-used 3.2)" in done.stderr
    assert not (site.folder / "x").exists()


def test_the_zoo_trains_beside_all_of_them(site):
    done = run(site, "train", "gan", "--data", "ring8", "--out", "gan", "--steps", "2", "-q", "--json",
               "--critic", "good-fine")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["finished"]


def test_one_name_in_two_distributions_is_told_apart(site):
    env = {"GENZOO_PLUGINS": "same"}
    done = run(site, "show", "same-fine", **env)
    assert done.returncode == 2
    assert "plugin 'same' (dist-a 1.0) and by plugin 'same' (dist-b 1.0)" in done.stderr
    assert run(site, "show", "critic:dist-b/same:same-fine", **env).returncode == 0


def test_what_ends_python_is_found_and_switched_off_without_loading_it(new_site):
    site = new_site()
    site.install("dist-ends", {"ends": "ends_pkg"}, {"ends_pkg.py": "import os\nos._exit(7)\n"}, version="3.2")
    site.install("dist-hangs", {"hangs": "hangs_pkg"}, {"hangs_pkg.py": "import time\ntime.sleep(100)\n"})
    assert run(site, "list").returncode == 7  # nothing can be done about it
    done = run(site, "plugins", "doctor")
    assert done.returncode == 1
    assert "plugin 'ends' (dist-ends 3.2) calls os._exit when it is imported (" in done.stdout
    done = run(site, "plugins", "doctor", "--import", "--seconds", "3")
    assert "plugin 'ends' (dist-ends 3.2) ends Python while it is loaded (exit code 7)" in done.stdout
    assert "plugin 'hangs' (dist-hangs 1.0) was not loaded after 3 s" in done.stdout
    for name in ("ends", "dist-hangs"):
        assert run(site, "plugins", "disable", name).returncode == 0
    assert run(site, "list").returncode == 0
