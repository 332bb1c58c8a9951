# ruff: noqa: E501
"""plugins disable, enable, doctor: on installed distributions, none of which may be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TRIPWIRE = "raise SystemExit('imported')\n"
HOOK = "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_register(registry):\n"


class Machine:
    """A folder of installed distributions, and a user's configuration."""

    def __init__(self, folder: Path) -> None:
        self.site, self.config, self.folder = folder / "site", folder / "config", folder
        self.site.mkdir()

    def install(self, dist: str, points: str, files: dict[str, str], metadata: str = "", version: str = "1.0") -> Path:
        info = self.site / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n{metadata}")
        (info / "entry_points.txt").write_text(f"[genzoo]\n{points}\n")
        for name, text in files.items():
            path = self.site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return info

    def genzoo(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}
        clean |= {"PYTHONPATH": str(self.site), "XDG_CONFIG_HOME": str(self.config)} | env
        return subprocess.run([sys.executable, "-m", "genzoo.cli", *arguments], env=clean, cwd=self.folder,
                              capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    def doctor(self) -> list[dict[str, str]]:
        done = self.genzoo("plugins", "doctor", "--json")
        found: list[dict[str, str]] = json.loads(done.stdout)
        assert done.returncode == any(f["level"] != "note" for f in found), done.stderr
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_disable_and_enable(machine: Machine) -> None:
    machine.install("dist-x", "one = x_one\ntwo = x_two", {"x_one.py": TRIPWIRE, "x_two.py": HOOK + "    pass\n"})
    assert machine.genzoo("list").stderr.count("SystemExit: imported") == 1
    done = machine.genzoo("plugins", "disable", "one", "--json")
    assert json.loads(done.stdout) == {"changed": ["dist-x/one"], "disabled": ["dist-x/one"]}
    assert "imported" not in done.stderr
    assert "imported" not in machine.genzoo("list").stderr
    status = {p["name"]: p["status"] for p in json.loads(machine.genzoo("plugins", "--json").stdout)}
    assert (status["one"], status["two"], status["gan"]) == ("disabled", "enabled", "enabled")
    assert "one was disabled before" in machine.genzoo("plugins", "disable", "one").stdout
    # A run's own wish goes over it.
    assert "imported" in machine.genzoo("list", GENZOO_PLUGINS="one").stderr
    # A whole distribution, one of whose plugins comes back.
    assert machine.genzoo("plugins", "disable", "Dist_X").stdout == "disabled dist-x/two\n"
    done = machine.genzoo("plugins", "enable", "dist-x/two", "--json")
    assert json.loads(done.stdout) == {"changed": ["dist-x/two"], "disabled": ["dist-x/one"]}
    assert machine.genzoo("plugins", "enable", "dist-x").stdout == "enabled dist-x/one\n"
    assert "imported" in machine.genzoo("list").stderr


def test_names_that_mean_nothing_or_too_much(machine: Machine) -> None:
    machine.install("dist-a", "same = a", {"a.py": TRIPWIRE})
    machine.install("dist-b", "same = b", {"b.py": TRIPWIRE})
    done = machine.genzoo("plugins", "disable", "smae")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no plugin 'smae' (did you mean 'same'" in done.stderr
    done = machine.genzoo("plugins", "disable", "same")
    assert done.returncode == 2
    assert "say which, 'dist-a/same' or 'dist-b/same'" in done.stderr
    done = machine.genzoo("plugins", "disable", "gan")
    assert done.returncode == 2
    assert "is the zoo's own, which always loads" in done.stderr
    assert not machine.config.exists()


def test_what_was_uninstalled_can_be_enabled(machine: Machine) -> None:
    info = machine.install("dist-x", "one = x_one", {"x_one.py": TRIPWIRE})
    machine.genzoo("plugins", "disable", "one")
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    assert [f["what"] for f in machine.doctor()] == ["is disabled, and not installed"]
    assert machine.genzoo("plugins", "enable", "one").stdout == "enabled dist-x/one\n"
    assert machine.doctor() == []


_ODD = [pytest.param(text, marks=pytest.mark.slow) for text in ("[]", '{"disabled": "x"}', "\0")]


@pytest.mark.parametrize("content", ["{", '{"disabled": [1]}', '{"format": 99}', *_ODD])
def test_a_damaged_file_is_told_and_kept(machine: Machine, content: str) -> None:
    machine.install("dist-x", "one = x_one", {"x_one.py": HOOK + "    pass\n"})
    machine.genzoo("plugins", "disable", "one")
    (file,) = (machine.config / "genzoo" / "plugins").glob("*.json")
    file.write_text(content)
    done = machine.genzoo("list")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if str(file) in line and "no plugin is disabled" in line]
    assert machine.doctor()[0]["level"] == "error"
    machine.genzoo("plugins", "disable", "one")
    assert json.loads(file.read_text())["disabled"] == ["dist-x/one"]
    assert file.with_name(f"{file.name}.damaged").read_text() == content


def test_many_at_once_lose_nothing(machine: Machine) -> None:
    for n in range(4):
        machine.install(f"dist-{n}", f"p{n} = m{n}", {f"m{n}.py": TRIPWIRE})
    env = {**os.environ, "PYTHONPATH": str(machine.site), "XDG_CONFIG_HOME": str(machine.config)}
    command = [sys.executable, "-m", "genzoo.cli", "plugins", "disable"]
    running = [subprocess.Popen([*command, f"p{n}"], env=env, stdout=subprocess.DEVNULL) for n in range(4)]
    assert [p.wait(60) for p in running] == [0] * 4
    (file,) = (machine.config / "genzoo" / "plugins").glob("*.json")
    assert json.loads(file.read_text())["disabled"] == [f"dist-{n}/p{n}" for n in range(4)]


DECLARED = "from genzoo.registry import declare\n@declare.critic('net')\nclass Net: ...\n"


def test_doctor_sees_without_importing(machine: Machine) -> None:
    cases = {
        "heavy": ("h = heavy_pkg.plugin", {"heavy_pkg/__init__.py": "from heavy_pkg import nets",
                  "heavy_pkg/nets.py": "\nimport torch\n", "heavy_pkg/plugin.py": HOOK + "    pass"}, ""),
        "lazy": ("l = lazy_pkg", {"lazy_pkg.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
                 "try:\n    import no_such\nexcept ImportError:\n    pass\n" + HOOK + "    import torch"}, ""),
        "lacks": ("k = lacks_pkg", {"lacks_pkg.py": "import no_such_thing.part\n" + HOOK + "    pass"}, ""),
        "needs": ("n = needs_pkg", {"needs_pkg.py": HOOK + "    pass"},
                  "Requires-Dist: genzoo>=99\nRequires-Dist: no-such-dist>=2\nRequires-Dist: nothing; extra == 'x'\n"
                  ),
        "syntax": ("s = syntax_pkg", {"syntax_pkg.py": "\ndef"}, ""),
        "gone": ("g = gone_pkg.plugin", {}, ""),
        "odd": ("o = not a module", {}, ""),
        "misspelt": ("m = misspelt_pkg", {"misspelt_pkg.py": HOOK.replace("_register", "_regster") + "    pass"}, ""),
        "wrong": ("w = wrong_pkg", {"wrong_pkg.py": HOOK.replace("registry)", "reg)") + "    pass"}, ""),
        "new": ("v = new_pkg", {"new_pkg.py": "genzoo_api = 7\n" + HOOK + "    pass"}, ""),
        "forgot": ("f = forgot_pkg", {"forgot_pkg/__init__.py": HOOK + "    registry.scan(__name__)",
                   "forgot_pkg/seen.py": DECLARED, "forgot_pkg/nets/__init__.py": "", "forgot_pkg/nets/a.py": DECLARED,
                   "forgot_pkg/more/b.py": DECLARED}, ""),
        "scans": ("c = scans_pkg", {"scans_pkg/__init__.py": HOOK + "    registry.scan('scans_pkg.nets')",
                  "scans_pkg/nets/__init__.py": "", "scans_pkg/nets/a.py": DECLARED}, ""),
        "twin": ("v = twin_pkg", {"twin_pkg.py": HOOK + "    pass"}, ""),
    }  # fmt: skip
    for name, (points, files, metadata) in cases.items():
        machine.install(name, points, files, metadata)
    (machine.site / "bad-1.0.dist-info").mkdir()
    (machine.site / "bad-1.0.dist-info" / "entry_points.txt").write_text("[genzoo]\nb = b\n")
    said = [f"{f['level']} {f['about']} {f['what']} → {f['advice']}" for f in machine.doctor()]

    def once(*words: str) -> None:
        assert len([s for s in said if all(w in s for w in words)]) == 1, (words, said)

    once("warning", "plugin 'h' (heavy 1.0)", "imports torch when it is loaded", "nets.py:2)")
    once("error", "plugin 'k' (lacks 1.0)", "imports 'no_such_thing', which is not installed")
    once("error", "needs 1.0 needs genzoo>=99, and genzoo 0", "pip install 'genzoo>=99'")
    once("error", "needs 1.0 needs no-such-dist>=2, and no-such-dist is not installed")
    once("error", "plugin 's' (syntax 1.0)", "syntax_pkg.py:2 cannot be read")
    once("error", "plugin 'g' (gone 1.0) names the module 'gone_pkg.plugin', which is not there")
    once("error", "plugin 'o' (odd 1.0) has the entry point 'not a module'")
    once("error", "plugin 'm'", "answers the hook 'genzoo_regster', which there is not (did you mean 'genzoo_register'")
    once(
        "error", "plugin 'w' (wrong 1.0) genzoo_register takes reg, which it is not given", "genzoo_register(registry)"
    )
    once("warning", "plugin 'v' (new 1.0) was written for plugin API 7", "upgrade genzoo")
    once("warning", "name 'v' is the name of 2 plugins", "new/v and twin/v")
    once("error", "metadata", "its METADATA has no name")
    for file in ("nets/a.py:2", "more/b.py:2"):
        once("error", "plugin 'f'", "critic 'net' is declared, and no scan of its package registers it", file)
    assert len(said) == 14, said


def test_a_healthy_machine(machine: Machine) -> None:
    good = HOOK + "    registry.critic('ok', 'genzoo.plugins.nets.mlp:MLPCritic')\n"
    machine.install("dist-good", "good = good_pkg", {"good_pkg.py": good})
    done = machine.genzoo("plugins", "doctor", "--import")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 plugins of other distributions examined, 0 things wrong" in done.stderr
