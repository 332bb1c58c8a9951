"""What every command keeps to: what goes where, exit codes, no torch where none is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Run = Callable[..., Any]  # genzoo(*arguments), train(recipe, data, out, *arguments); see conftest.py
COMMANDS = (
    "list",
    "show",
    "train",
    "sample",
    "reconstruct",
    "interpolate",
    "encode",
    "compare",
    "plot",
    "plot traversal",
    "plugins",
    "plugins list",
)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(genzoo: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = genzoo(*command.split(), "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: genzoo {command}".rstrip())
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "\x1b" not in ran.out
    assert ran.err == ""


def test_help_lists_every_option_with_its_meaning(genzoo: Run) -> None:
    lines = genzoo("train", "-h").out.splitlines()
    names = "data out steps epochs batch-size seed set generator encoder critic device threads precision compile json"
    for name in (f"--{n} " for n in (*names.split(), "init", "resume", "quiet", "verbose", "tensorboard")):
        at = next(i for i, line in enumerate(lines) if name in line)
        assert any(line[34:].strip() for line in lines[at : at + 2]), name


def test_nothing_said_is_answered_with_the_help(genzoo: Run) -> None:
    ran = genzoo()
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("Usage: genzoo")


def test_list(genzoo: Run) -> None:
    ran = genzoo("list", "recipes")
    assert ran.code == 0
    lines = ran.out.splitlines()
    names = {line.split()[0] for line in lines if line.startswith("  ")}
    assert [line for line in lines if line and not line.startswith("  ")][-2:] == ["text", "vae"]  # by family
    under = lines[lines.index("gan") + 1 :]
    assert under[0].split()[0] == "gan"  # which the others are like
    assert {"vae", "beta-vae", "cvae", "gan", "wgan", "wgan-gp", "r3gan"} <= names
    found = json.loads(genzoo("list", "recipe", "--json").out)
    assert {e["name"] for e in found} == names
    assert {e["name"] for e in json.loads(genzoo("list", "--tag", "toy", "--json").out)} >= {"ring8", "grid25"}
    assert {e["plugin"] for e in json.loads(genzoo("list", "--plugin", "gan", "--json").out)} == {"gan"}
    vectors = {e["name"] for e in json.loads(genzoo("list", "dataset", "--modality", "vector", "--json").out)}
    assert "ring8" in vectors
    assert "fashion-mini" not in vectors
    nothing = genzoo("list", "--tag", "nonsense")
    assert (nothing.code, nothing.out) == (0, "")
    assert "nothing in the zoo" in nothing.err
    assert "'wasserstein'" in genzoo("list", "--tag", "waserstein").err
    assert json.loads(genzoo("list", "--tag", "nonsense", "--json").out) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "reciep"], ["no kind 'reciep'", "did you mean 'recipe'"]),
        (["list", "--plugin", "gna"], ["no plugin 'gna'", "did you mean 'gan'"]),
        (["show", "wgan-pg"], ["nothing in the zoo is called 'wgan-pg'", "did you mean 'wgan-gp'"]),
        (["show", "critic:vae"], ["no critic 'vae'"]),
        (["show"], ["missing argument"]),
        (["plugins", "lsit"], ["no such command 'lsit'"]),
        (["trian"], ["no such command 'trian'"]),
        (["--nonsense"], ["no such option", "--nonsense"]),
    ],
)
def test_mistakes(genzoo: Run, arguments: list[str], words: list[str]) -> None:
    genzoo(*arguments).sentence(*words, code=2)


def test_show(genzoo: Run) -> None:
    ran = genzoo("show", "wgan-gp")
    assert ran.code == 0
    line = next(x for x in ran.out.splitlines() if x.split()[:1] == ["objective.gp_weight"])
    assert "10.0" in line
    assert "arXiv:" in ran.out
    shown = json.loads(genzoo("show", "wgan-gp", "--json").out)
    assert (shown["kind"], shown["name"]) == ("recipe", "wgan-gp")
    (option,) = [o for o in shown["options"] if o["name"] == "objective.gp_weight"]
    assert (option["type"], option["default"], option["low"]) == ("float", 10.0, 0)


def test_a_page_says_when_and_at_what_cost(genzoo: Run) -> None:
    for name in ("gan", "wgan", "wgan-gp", "r3gan", "vae", "beta-vae", "cvae"):
        shown = json.loads(genzoo("show", name, "--json").out)
        assert all(shown[part].strip() for part in ("formula", "when", "cost", "paper")), name
        assert shown["relatives"]
        assert "When:" not in shown["formula"]
    other = json.loads(genzoo("show", "hamiltonian-vae", "--json").out)
    assert other["cost"] == "that of `vae`, and of posterior `hamiltonian`"
    assert "every mode" not in other["when"]  # which is said of vae
    page = genzoo("show", "r3gan").out
    (relatives,) = [line.split()[1:] for line in page.splitlines() if line.split()[:1] == ["relatives"]]
    assert relatives[:2] == ["like", "gan;"]
    assert "beside it" in " ".join(relatives)
    assert {"wgan,", "wgan-gp"} <= set(relatives)
    order = ["The critic minimizes", "use it", "cost", "paper", "made of", "options on image data"]
    assert sorted(order, key=page.index) == order


def test_options_are_those_that_a_run_on_such_data_gets(genzoo: Run) -> None:
    def options(*arguments: str) -> dict[str, Any]:
        shown = json.loads(genzoo("show", "gan", "--json", *arguments).out)
        return {o["name"]: o["default"] for o in shown["options"]} | shown["parts"]

    image, ring, vector = options(), options("--data", "ring8"), options("--modality", "vector")
    assert (image["generator"], image["latent.size"], image["critic.spectral_norm"]) == ("conv", 64, True)
    assert (ring["generator"], ring["latent.size"], ring["generator.depth"]) == ("mlp", 2, 3)
    assert ring == vector
    assert "options on ring8" in genzoo("show", "gan", "--data", "ring8").out
    assert json.loads(genzoo("show", "r3gan", "--data", "stacked-digits", "--json").out)["on"]["modality"] == "image"
    for arguments, words in (
        (("gan", "--data", "rnig8"), ["no dataset 'rnig8'", "'ring8'"]),
        (("gan", "--modality", "imgae"), ["no modality 'imgae'", "'image'"]),
        (("conv", "--data", "ring8"), ["only a recipe goes by the data"]),
    ):
        genzoo("show", *arguments).sentence(*words, code=2)


def test_plugins(genzoo: Run) -> None:
    ran = genzoo("plugins")
    assert ran.code == 0
    assert genzoo("plugins", "list").out == ran.out
    found = {p["name"]: p for p in json.loads(genzoo("plugins", "--json").out)}
    assert {"gan", "vae", "nets", "likelihoods", "datasets"} <= set(found)
    assert "recipe:wgan-gp" in found["gan"]["adds"]
    assert all(found[name]["errors"] == [] for name in ("gan", "vae", "nets", "likelihoods", "datasets"))


def test_json_is_all_that_is_on_stdout(genzoo: Run, train: Run, images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ran = train("vae", images, run, "--steps", 2, "--json", "--verbose", "--set", "train.log_every=1", narrow=True)
    result = json.loads(ran.out)
    assert (result["recipe"], result["out"], result["steps"], result["finished"]) == ("vae", str(run), 2, True)
    assert set(result["last"]) >= {"step", "loss", "nll", "kl"}
    assert "generator: mlp" in ran.err
    for command, *more in (
        ("sample", "--out", tmp_path / "a.png", "-n", 4),
        ("reconstruct", "--data", images, "--out", tmp_path / "b.png", "-n", 2),
        ("interpolate", "--out", tmp_path / "c.png", "-n", 2),
        ("encode", "--data", images, "--out", tmp_path / "d.npz"),
    ):
        ran = genzoo(command, run, *more, "--json")
        result = json.loads(ran.out)
        assert result["out"] == str(more[more.index("--out") + 1])
        assert Path(result["out"]).is_file()
        assert ("--data" in more) == ("read" in result)


def test_progress_goes_to_stderr_without_escape_codes(start: Run, images: Path, tmp_path: Path) -> None:
    process = start("train", "vae", "--data", images, "--out", tmp_path / "run", "--steps", 5, "--device", "cpu",
                    "--generator", "mlp", "--encoder", "mlp")  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(f"{tmp_path / 'run'}: vae, 5 steps in ")
    assert len(out.splitlines()) == 1
    assert "5/5" in err
    assert "\x1b" not in out + err


class Terminal:
    """What a terminal answers to the question whether it is one."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from genzoo.registry.console import output

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert output.bold("x") == "x"  # pytest's stdout is no terminal
    monkeypatch.setattr(output.sys, "stdout", Terminal())
    assert output.bold("x") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.bold("x") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert output.bold("x") == "x"


def test_a_reader_that_leaves_is_no_error() -> None:
    """``genzoo list | head -1``, with output larger than a pipe's buffer and smaller."""
    for arguments in (["list", "--json"], ["list", "recipe"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "genzoo.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # at once, so that whatever is written fails
        assert b"Traceback" not in (err := process.stderr.read()), err
        assert b"BrokenPipe" not in err
        assert process.wait(30) == 0
        process.stderr.close()


def test_a_terminal_without_greek_letters_is_no_error(python: Run) -> None:
    ran = python("-m", "genzoo.cli", "show", "beta-vae", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0, ran.stderr
    ran = python("-m", "genzoo.cli", "show", "beta-vae", "--json", PYTHONIOENCODING="ascii")
    assert "β" in json.loads(ran.stdout)["doc"]


def test_a_full_disk_behind_stdout_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for arguments in (["--version"], ["list", "--json"]):  # less and more than a buffer
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "genzoo.cli", *arguments]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("genzoo: ")
        assert "no space left" in done.stderr


def test_what_needs_no_torch_imports_none(python: Run) -> None:
    code = """
import sys
from genzoo.cli.main import main
for line in ("--version", "--help", "list", "list --json", "show wgan-gp", "show vae --json", "show conv",
             "show fashion-mnist", "plugins", "plugins --json", "train --help",
             "train vae --data nosuch --out x", "train vea --data ring8 --out x"):
    sys.argv = ["genzoo", *line.split()]
    try:
        main()
    except SystemExit as e:
        print([line], e.code, sorted({"torch", "numpy", "PIL", "rich", "safetensors"} & set(sys.modules)),
              file=sys.stderr)
"""
    ran = python("-c", code)
    assert ran.returncode == 0, ran.stderr
    told = [line for line in ran.stderr.splitlines() if line.startswith("[")]
    assert len(told) == 13
    assert [line for line in told if not line.endswith("[]")] == []
    assert [line.split("] ")[1][0] for line in told] == ["0"] * 11 + ["2"] * 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_without_torch(python: Run, shell: str) -> None:
    code = """
import sys
from genzoo.cli.main import main
try:
    main()
finally:
    assert 'torch' not in sys.modules
"""
    script = python("-c", code, _GENZOO_COMPLETE=f"source_{shell}")
    assert script.returncode == 0, script.stderr
    assert "_GENZOO_COMPLETE" in script.stdout
    words = {"bash": {"COMP_WORDS": "genzoo re", "COMP_CWORD": "1"}}.get(shell, {"_TYPER_COMPLETE_ARGS": "genzoo re"})
    action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    ran = python("-c", code, _GENZOO_COMPLETE=f"complete_{shell}", **words, **action)
    assert "reconstruct" in ran.stdout, ran.stderr
    assert "sample" not in ran.stdout


def test_debug_shows_the_traceback(python: Run) -> None:
    for arguments in (["--debug", "show", "nosuch"], ["--debug", "train", "vae", "--data", "nosuch", "--out", "x"]):
        ran = python("-m", "genzoo.cli", *arguments)
        assert ran.returncode == 1
        assert "Traceback" in ran.stderr
        assert "UsageError: " in ran.stderr.splitlines()[-1]


def test_what_nobody_thought_of_is_one_sentence_too(genzoo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: BaseException) -> Any:
        def call() -> None:
            raise error

        monkeypatch.setattr(sys.modules["genzoo.registry"], "the_registry", call)
        return genzoo("list")

    for error, code, words in (
        (RuntimeError("boom\nand more"), 1, "unexpected RuntimeError: boom; please report it"),
        (MemoryError(), 1, "out of memory: a smaller --batch-size needs less"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), 1, "out of memory"),
        (PermissionError(13, "Permission denied", "/some/file"), 1, "/some/file: permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (EOFError(), 130, "interrupted"),
    ):
        ran = fail(error)
        assert ran.code == code
        assert ran.err.strip() == f"genzoo: {words}" or ran.err.startswith(f"genzoo: {words}")
        assert len(ran.err.strip().splitlines()) == 1


def test_a_million_is_not_too_many_to_ask_for(genzoo: Run, flat: Path, tmp_path: Path) -> None:
    ran = genzoo("sample", flat, "-n", 100_000, "--out", tmp_path / "many.npz", "--batch-size", 50_000)
    assert ran.code == 0, ran.err
    with np.load(tmp_path / "many.npz") as stored:
        assert stored["samples"].shape == (100_000, 2)
