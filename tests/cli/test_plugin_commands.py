"""Commands that plugins add: imported when called, never in the way of the program's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from genzoo.cli.main import OWN, app, program
from genzoo.registry import Registry
from genzoo.registry.kinds import COMMANDS

PLUGIN = """
from genzoo.registry import hookimpl
@hookimpl
def genzoo_register(registry):
    registry.command("rain", "{0}_cli:app", summary="Let it rain.")
    registry.command("{0}-drip", "{0}_cli:drip", summary="One drop.")
    registry.command("{0}-odd", "{0}_cli:odd")
    registry.command("{0}-gone", "{0}_cli:gone")
"""
CLI = """
import sys, typer
print("IMPORTED", file=sys.stderr)
app = typer.Typer()
odd = 3
@app.command()
def heavy(n: int = 3):
    print("rain" * n)
@app.command()
def light():
    raise KeyError("flood")
def drip(n: int = 1):
    print("drip" * n)
"""


@pytest.fixture(scope="module")
def genzoo(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")

    def install(name: str) -> None:
        info = site / f"dist_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[genzoo]\n{name} = {name}_plugin\n")
        (site / f"{name}_plugin.py").write_text(PLUGIN.format(name))
        (site / f"{name}_cli.py").write_text(CLI)

    install("wet")
    install("dry")

    def run(*arguments: str, only: str = "wet") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(site), "GENZOO_PLUGINS": only, "XDG_CONFIG_HOME": str(site)}
        return subprocess.run([sys.executable, "-m", "genzoo.cli", *arguments], env=env, cwd=Path(site),
                              capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    return run


def test_no_plugin_can_take_a_command_of_ours():
    ours = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    apps = {e.name for e in Registry.discover(plugins=False).entries("command")}
    assert ours & apps == set()
    assert set(COMMANDS) - (ours | apps) == {"doctor", "help", "genzoo"}  # kept free
    assert (ours | apps) - set(COMMANDS) == set()


def test_what_the_help_says_of_our_commands_is_what_they_say(genzoo):
    found = typer.main.get_command(app).commands
    assert set(found) == set(OWN)
    for name, (module, summary) in OWN.items():
        assert (found[name].help or "").replace("\n", " ").startswith(summary.rstrip(".")), name
        assert name in typer.main.get_command(program([module])).commands


def test_help_lists_our_commands_in_order_then_those_of_plugins(genzoo):
    lines = genzoo("--help").stdout.partition("Commands:\n")[2].splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [*(c for c in COMMANDS if c in names), "rain", "wet-drip", "wet-gone", "wet-odd"]
    assert {"compare", "plot", "quickstart"} <= set(names)
    assert [line for line in lines if "(genzoo)" in line] == []


def test_completion_knows_the_commands_of_plugins(genzoo, monkeypatch):
    monkeypatch.setenv("_GENZOO_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "genzoo wet-drip --")
    assert "--n" in genzoo().stdout
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "genzoo comp")
    assert "compare" in genzoo().stdout


def test_they_run(genzoo):
    assert genzoo("rain", "heavy", "--n", "2").stdout == "rainrain\n"
    done = genzoo("wet-drip", "--n", "2")
    assert (done.returncode, done.stdout) == (0, "dripdrip\n")
    assert "--n" in genzoo("wet-drip", "--help").stdout


def test_help_and_list_name_and_do_not_import_them(genzoo):
    for arguments in (("--help",), ("list", "command")):
        done = genzoo(*arguments)
        assert "One drop." in done.stdout
        assert "IMPORTED" not in done.stderr


def test_what_goes_wrong_names_the_plugin(genzoo):
    for name, said in (
        ("wet-odd", "wet_cli:odd is a int, neither a Typer app nor a function"),
        ("wet-gone", "could not be loaded from wet_cli:gone: AttributeError"),
    ):
        done = genzoo(name)
        assert done.returncode == 1
        assert said in done.stderr
        assert f"command '{name}' of plugin 'wet' (dist-wet 1.5)" in done.stderr
    done = genzoo("rain", "light")
    assert done.returncode == 1
    assert "genzoo: command 'rain' of plugin 'wet' (dist-wet 1.5) failed: KeyError: 'flood'" in done.stderr


def test_a_command_claimed_twice_names_both(genzoo):
    done = genzoo("rain", "heavy", only="wet,dry")
    assert done.returncode == 2
    assert "is claimed by plugin 'dry' (dist-dry 1.5) and by plugin 'wet' (dist-wet 1.5): say which" in done.stderr
    assert genzoo("dry:rain", "heavy", "--n", "1", only="wet,dry").stdout == "rain\n"
    done = genzoo("--no-plugins", "rain")
    assert done.returncode == 2
    assert "no such command 'rain'" in done.stderr
