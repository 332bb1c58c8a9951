"""Long tables that a kill does not lose: modes, and the leaderboard."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Report, Result
from genzoo.core.storage.weights import read_config
from genzoo.core.training.runs import from_newest
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench import board_cli, coverage, leaderboard
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, train_for
from genzoo.plugins.apps.bench.board import Board, Line, apart, by_reason, side_by_side

GENZOO = (sys.executable, "-m", "genzoo.cli")


# Budgets.


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("1.5h", 5400), ("2 m", 120), (7, 7), ("0.5", 0.5)]
)
def test_times_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "0s", "-1min", "10 days", "nan", None, "1e9min min"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="budget takes a time like 90s, 10min"):
        parse_duration(text)


def test_a_budget_is_kept():
    start = time.perf_counter()
    run = train_for("gan", "ring8", Effort(seconds=1.0, threads=1, device="cpu"), options={"generator.width": 8})
    assert run.steps >= 1
    assert run.seconds < 1.0 + 0.5  # the step that crosses the line, on a busy machine
    assert run.config.train.steps == run.steps or run.seconds >= 1.0
    assert time.perf_counter() - start < 60


def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    """An interruption in the middle, then the same call: the model of the run that never stopped, bit for bit."""
    effort, options = Effort(steps=20, threads=1, device="cpu"), {"generator.width": 8, "critic.width": 8}

    def stop(share: float) -> None:  # told after the first step, and then once a second
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_for("gan", "ring8", effort, options=options, folder=tmp_path / "run", tell=stop)
    again = train_for("gan", "ring8", effort, options=options, folder=tmp_path / "run")
    whole = train_for("gan", "ring8", effort, options=options, folder=tmp_path / "whole")
    assert again.steps == whole.steps == 20
    assert torch.equal(again.model.sample(5, seed=1), whole.model.sample(5, seed=1))


def test_a_budget_goes_on_too(tmp_path):
    """What was planned stays planned, and the time before the interruption counts."""
    effort, options = Effort(seconds=3.0, threads=1, device="cpu"), {"generator.width": 8, "critic.width": 8}

    def stop(share: float) -> None:
        if share >= 0.2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_for("gan", "ring8", effort, options=options, folder=tmp_path / "run", tell=stop)
    planned = from_newest(tmp_path / "run", read_config)[1].train.steps
    told: list[float] = []
    again = train_for("gan", "ring8", effort, options=options, folder=tmp_path / "run", tell=told.append)
    assert again.config.train.steps == planned
    assert told[0] > 0.1
    assert again.steps == planned or 3.0 <= again.seconds < 4.0


def test_cells_are_known_by_their_settings(tmp_path):
    one, other = Cell(tmp_path, "GAN, 0", {"steps": 1}), Cell(tmp_path, "GAN, 0", {"steps": 2})
    one.put({"value": 3})
    assert Cell(tmp_path, "GAN, 0", {"steps": 1}).get() == {"value": 3}
    assert other.get() is None
    assert Cell(None, "GAN, 0", {"steps": 1}).get() is None
    (file,) = (tmp_path / "cells").iterdir()
    file.write_text("{")
    with pytest.raises(GenzooError, match=r"damaged: delete it"):
        one.get()


# Modes.


def test_every_gan_of_the_zoo_contends():
    recipes = {c.recipe for c in coverage.contenders()}
    assert recipes >= {"gan", "wgan", "wgan-gp", "r3gan"}
    assert not recipes & {"vae", "beta-vae", "cvae"}
    with pytest.raises(UsageError, match="no contender starts with 'r3gn'"):
        coverage.contenders(["r3gn"])


def test_gans_that_do_not_fit_the_data_are_left_out():
    chosen = coverage.contenders(["r3gan", "biggan", "wavegan"])
    left = coverage.left_out("grid25", chosen)
    assert set(left) == {"biggan", "wavegan"}
    assert left["biggan"].startswith("recipe 'biggan' is for images, and the data are vectors")
    (found,) = coverage.modes("ring8", seeds=1, steps=1, jobs=1, contenders=chosen)
    assert found.label == "r3gan"
    with pytest.raises(UsageError, match="none of them fits ring8: recipe 'biggan' is for images"):
        coverage.modes("ring8", seeds=1, steps=1, contenders=coverage.contenders(["biggan"]))


def test_stacks_that_are_covered_by_construction():
    some = torch.arange(400).repeat(10)
    found = coverage.stack_coverage(some)
    assert (found.modes, found.of, found.samples) == (400, 1000, 4000)
    assert found.kl == pytest.approx(math.log(1000 / 400))
    assert found.floor == pytest.approx(999 / 8000)
    assert math.isnan(found.high_quality)
    assert found.to_dict()["high_quality"] is None


def test_what_real_stacks_score():
    lines = coverage.reference_lines("stacked-digits")
    real, noise = lines.values()
    assert real.modes == 1000
    # The histogram's divergence from the uniform one is chi-square with 999 degrees of freedom, over 2N.
    assert abs(real.kl - real.floor) < 5 * math.sqrt(2 * 999) / (2 * 26_000) + 0.002  # and the judge's own errors
    assert noise.modes < 100
    assert noise.kl > 2


@pytest.mark.slow
def test_a_killed_table_goes_on(tmp_path):
    """A real process, killed when its first cell is there: the next one keeps that cell and makes the other."""
    command = [*GENZOO, "bench", "modes", "--data", "ring8", "--only", "r3gan", "--seeds", "2", "--jobs", "1"]
    command += ["--steps", "150", "--out", str(tmp_path), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as killed:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("cells/ring8-*.json")) and killed.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        killed.kill()
    (first,) = tmp_path.glob("cells/ring8-*.json")  # not what a write leaves that was killed
    kept = first.read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 were there before" in done.stderr
    assert len(list(tmp_path.glob("cells/ring8-*.json"))) == 2
    assert first.read_bytes() == kept
    assert [line.split()[:2] for line in done.stdout.splitlines()[-1:]] == [["ring8", "r3gan"]]


def test_modes_refuses_what_it_does_not_know():
    with pytest.raises(UsageError, match="modes are known of grid25, ring8, stacked-digits, stacked-fashion"):
        coverage.modes("fashion-mini")
    with pytest.raises(UsageError, match="not both"):
        coverage.modes("ring8", budget="1s", steps=3)


# The leaderboard.

SMALL = {"train.batch_size": 16, "generator.width": 4}


def board(out, **given):
    common = {"steps": 3, "n": 40, "metrics": "frechet,classes,psnr", "options": SMALL, "threads": 1, "out": out}
    return leaderboard.zoo(**{**common, "data": "fashion-mini", "recipes": ("vae", "gan"), **given})


@pytest.fixture
def no_page(monkeypatch):
    """The page is most of the work."""
    monkeypatch.setattr(leaderboard, "SHOWN", 0)


def test_a_board_ranks_and_is_kept(tmp_path):
    first = board(tmp_path)
    values = [line.report["frechet"].value for line in first.lines]
    assert values == sorted(values)
    assert {line.recipe for line in first.lines} == {"vae", "gan"}
    assert all(line.steps == 3 and line.parameters > 0 and not line.was_there for line in first.lines)
    assert first.real["frechet"].value < values[0]  # nobody is better than real data
    assert all(line.report["frechet"].protocol == first.real["frechet"].protocol for line in first.lines)
    (vae,) = (line for line in first.lines if line.recipe == "vae")
    (gan,) = (line for line in first.lines if line.recipe == "gan")
    assert "psnr" in vae.report
    assert "psnr" not in gan.report
    page = (tmp_path / "leaderboard.html").read_text()
    assert "vae" in page
    assert "3 steps of training each" in page
    kept = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [line["recipe"] for line in kept["lines"]] == [line.recipe for line in first.lines]
    text = (tmp_path / "leaderboard.md").read_text()
    assert text.index(f"| 1 | {first.lines[0].recipe} |") < text.index(f"| 2 | {first.lines[1].recipe} |")
    again = board(tmp_path)
    assert all(line.was_there for line in again.lines)
    assert [line.report.to_dict() for line in again.lines] == [line.report.to_dict() for line in first.lines]
    more = board(tmp_path, metrics="recall")  # judged by something else, and not trained again
    assert all(line.was_there and "recall" in line.report for line in more.lines)


def test_one_that_breaks_down_costs_its_own_line(tmp_path):
    found = board(tmp_path, recipes=("gan", "vae"), options={**SMALL, "train.lr": 1e30}, metrics="frechet")
    assert any("broke down" in line.why for line in found.lines)
    assert "Broke down: " in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.usefixtures("no_page")
def test_what_breaks_unexpectedly_costs_its_own_line_too(tmp_path, monkeypatch):
    """A recipe that raises what no recipe should, and one that cannot be measured: neither is kept as done."""

    def fails(recipe, *args, **kwargs):
        if recipe == "gan":
            raise RuntimeError("shapes\ndiffer")
        return train_for(recipe, *args, **kwargs)

    def fails_too(self, of, subject, name, judge=leaderboard.Contest.judge):
        if name == "beta-vae":
            raise UsageError("its samples are of another size")
        return judge(self, of, subject, name)

    with monkeypatch.context() as broken:
        broken.setattr(leaderboard, "train_for", fails)
        broken.setattr(leaderboard.Contest, "judge", fails_too)
        found = board(tmp_path, recipes=("gan", "beta-vae", "vae"), metrics="frechet")
    assert next(line.recipe for line in found.lines) == "vae"
    assert {line.recipe: line.why for line in found.lines if line.why} == {
        "gan": "RuntimeError: shapes differ",
        "beta-vae": "its samples are of another size",
    }
    again = board(tmp_path, recipes=("gan", "beta-vae", "vae"), metrics="frechet")
    assert {line.recipe: line.was_there for line in again.lines} == {"gan": False, "beta-vae": True, "vae": True}
    assert not any(line.why for line in again.lines)


@pytest.mark.usefixtures("no_page")
def test_what_cannot_be_ranked_comes_last(tmp_path):
    """An autoencoder draws no samples: its reconstructions do not stand among distances."""
    found = board(tmp_path, recipes=("ae", "vae"), metrics="frechet,psnr")
    assert [line.recipe for line in found.lines] == ["vae", "ae"]
    assert found.lines[1].report["psnr"].value < found.lines[0].report["frechet"].value
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| 1 | vae |" in text
    assert "| – | ae | – |" in text
    alone = board(tmp_path, recipes=("ae",), metrics="frechet,psnr")
    assert alone.by == "psnr"
    assert [line.place for line in (*found.lines, *alone.lines)] == [1, None, 1]


def test_densities_do_not_stand_among_probabilities():
    """A continuous likelihood may be any number: what most lines have is ranked, the others have no place."""

    def line(recipe: str, value: float, **details: bool) -> Line:
        result = Result("elbo", value, direction="higher", details=details)
        return Line(recipe, report=Report(recipe, (result,)))

    contest = leaderboard.Contest("d", None, Effort(), {}, ["elbo"], {}, None)
    lines = (line("a", -3.0), line("b", 900.0, density=True), line("c", -2.0), Line("d", why="it broke"))
    by, ranked = contest.ranked(lines)
    assert by == "elbo"
    assert [(v.recipe, v.place) for v in ranked] == [("c", 1), ("a", 2), ("b", None), ("d", None)]
    for two in (lines[:2], lines[1::-1]):  # as many of each, in any order
        assert [(v.recipe, v.place) for v in contest.ranked(two)[1]] == [("a", 1), ("b", None)]
    found = Board("d", None, ranked, Report("real"), {}, side_by_side(ranked), by)
    assert apart(found) == ["elbo ↑ of b is of a density, that of the others of a probability: they do not compare"]


def test_the_page_shows_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "SHOWN", 1)
    best = board(tmp_path).lines[0].recipe
    page = (tmp_path / "leaderboard.html").read_text()
    assert "fashion-mini: 3 steps of training each, the best 1 of 2" in page
    assert re.findall(r'alt="60 samples of (\w+)', page) == [best]


def test_what_is_asked_wrongly_shows_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(leaderboard, "train_for", lambda *args, **kwargs: pytest.fail("it was trained"))
    with pytest.raises(UsageError, match="there is no extractor 'clasifier'"):
        board(None, extractor="clasifier")


@pytest.mark.usefixtures("no_page")
def test_trained_weights_are_ranked_by_the_same_protocol(tmp_path):
    runs = [str(line.folder) for line in board(tmp_path / "zoo").lines]
    whole = leaderboard.weights(
        "fashion-mini", [*runs, "vae/emoji"], n=40, metrics="frechet,psnr", out=tmp_path / "board"
    )
    assert [line.recipe for line in whole.lines] == [*runs, "vae/emoji"]  # ranked, and what cannot be judged last
    assert "the model was trained on images of 3×32×32" in whole.lines[-1].why
    assert all(line.steps == 3 and line.parameters > 0 for line in whole.lines[:2])
    text = (tmp_path / "board" / "leaderboard.md").read_text()
    assert text.startswith("Trained weights, each with a training of its own, judged on `fashion-mini` by 40 samples")
    assert "|  | weights | Fréchet distance ↓ |" in text
    assert "| real data |" in text
    assert "Broke down: `vae/emoji`: " in text
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "board" / "cells").iterdir()}
    assert len(kept) == 3
    leaderboard.weights("fashion-mini", runs, n=40, metrics="frechet,psnr", out=tmp_path / "board")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "board" / "cells").iterdir()} == kept


def test_which_weights_the_zoo_has_of_a_data_set():
    assert leaderboard._trained_on("adult") == ["table-ar/adult"]
    assert {"vae/emoji", "self-conditioned-gan/emoji"} <= {*leaderboard._trained_on("emoji")}
    with pytest.raises(UsageError, match="no weights of the zoo were trained on 'ring8': name some"):
        leaderboard.weights("ring8")
    with pytest.raises(UsageError, match="there is no data set and no file or folder 'emojis'"):
        leaderboard.weights("emojis")
    with pytest.raises(UsageError, match="called 'vae/emojis'"):
        leaderboard.weights("emoji", ["vae/emojis"])


def test_the_lines_of_the_page_run(capsys):
    page = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(lines.replace('"20s"', '"0.5s"').replace("n=200", "n=40"), "leaderboard.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert sorted(eval(first)) == ["gan", "vae"]
    assert " where real data have " in second


def test_sounds_are_contended_as_spectrograms_too_and_what_needs_a_first_stage_is_left_out():
    import genzoo

    data = genzoo.load_data("spoken-digits-mini", split="test").take(slice(8))
    chosen, left = leaderboard._composed(data, None, {})
    assert chosen.keys() >= {"rave", "audio-codec", "wavegan", "spec-vae", "specgan", "notes-gan"}
    assert chosen["spec-vae"].data.modality == "spectrogram"
    assert chosen["rave"].data.modality == "audio"
    assert "name its weights with" in left["rave-gan"]
    assert "is for texts" in left["lm"]
    with pytest.raises(UsageError, match="name its weights with"):
        leaderboard._composed(data, ["rave-gan"], {})


@pytest.mark.slow
def test_a_spectrogram_stands_beside_a_waveform(tmp_path):
    found = board(tmp_path, data="spoken-digits-mini", recipes=("spec-vae", "rave"), metrics="frechet,mr-stft",
                  options={"generator.width": 4, "encoder.width": 4})  # fmt: skip
    assert all({"frechet", "mr-stft"} <= {r.metric for r in line.report} for line in found.lines)
    assert (tmp_path / "leaderboard.html").read_text().count("<audio") >= 4


def test_a_board_of_nobody():
    with pytest.raises(UsageError, match=r"there is no recipe 'vea' .did you mean 'vae'"):
        board(None, recipes=("vea",))
    with pytest.raises(UsageError, match="budget takes a time"):
        board(None, steps=None, budget="soon")


@pytest.mark.usefixtures("no_page")
def test_a_board_that_judges_nobody_fails(tmp_path):
    found = leaderboard.weights("fashion-mini", ["vae/emoji"], n=20, metrics="classes", out=tmp_path)
    with pytest.raises(typer.Exit) as ended:
        board_cli.shown(found)
    assert ended.value.exit_code == 1


def test_one_reason_is_said_once():
    left_out = {
        "nvae": "recipe 'nvae' is for images",
        "pixelcnn": "recipe 'pixelcnn' is for images",
        "geco": "no slopes",
    }
    said = ["nvae, pixelcnn: each is for images", "geco: no slopes"]
    assert by_reason(left_out) == said
    assert by_reason({"nvae": left_out["nvae"]}) == ["nvae: recipe 'nvae' is for images"]
    assert by_reason(left_out, "`")[0] == "`nvae`, `pixelcnn`: each is for images"


def test_commas_are_no_names():
    with pytest.raises(UsageError, match="',' names nothing: give names as a,b"):
        board_cli.zoo(recipes=",")
