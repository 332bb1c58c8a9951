"""A stranger's kind of data: time series go through every command without a line changed elsewhere."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "genzoo-series"
INSTALL = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
# All commands in one process, since each would import torch anew: exit codes, and what went to stdout.
COMMANDS = """
import contextlib, io, json, sys
from genzoo.cli import main
done = []
for arguments in json.load(sys.stdin):
    sys.argv, out, code = ["genzoo", *arguments], io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
    done.append([code, out.getvalue()])
print(json.dumps(done))
"""
FEW = ("--steps", "20", "--batch-size", "32", "--device", "cpu", "-q")
ALL = {
    "list": ("list", "--plugin", "series", "--json"),
    "vae": ("train", "vae", "--data", "waves.csv", "--out", "vae", *FEW),
    "gan": ("train", "gan", "--data", "waves.csv", "--out", "gan", *FEW),
    "cvae": ("train", "vae", "--data", "waves.csv", "--out", "cvae", "--conditional", *FEW),
    "csv": ("sample", "vae", "-n", "9", "--out", "new.csv"),
    "labelled": ("sample", "cvae", "-n", "4", "--out", "labelled.csv"),
    "npz": ("sample", "gan", "-n", "9", "--out", "new.npz"),
    "png": ("sample", "gan", "-n", "9", "--out", "new.png"),
    "reconstruct": ("reconstruct", "vae", "--data", "waves.csv", "--out", "again.csv"),
    "reconstruct png": ("reconstruct", "vae", "--data", "waves.csv", "--out", "again.png"),
    "interpolate": ("interpolate", "gan", "--out", "ways.csv", "-n", "2", "--steps", "3"),
    "encode": ("encode", "vae", "--data", "waves.csv", "--out", "codes.npz"),
    "eval": ("eval", "vae", "--data", "waves.csv", "--json"),
    "eval csv": ("eval", "new.csv", "--data", "waves.csv", "--metrics", "series-autocorrelation", "--json"),
    "compare": ("compare", "vae", "gan", "--data", "waves.csv", "--html", "page.html"),
    "verify": ("verify", "vae", "--json"),
    "export": ("export", "gan", "--out", "program", "--format", "torch-export"),
    "traversal": ("plot", "traversal", "vae", "--out", "walk.png", "--data", "waves.csv"),
    "folder": ("sample", "vae", "--out", "pictures"),
    "wav": ("sample", "vae", "--out", "x.wav"),
    "other data": ("eval", "vae", "--data", "ring8"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The package, installed into a folder of its own, and a file of two kinds of waves."""
    home = tmp_path_factory.mktemp("series")
    source = shutil.copytree(SOURCE, home / "source")
    subprocess.run([sys.executable, *INSTALL, str(home / "site"), str(source)], check=True, timeout=120)
    with open(home / "waves.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["series", "step", "left", "right", "label"])
        for n in range(120):
            pace = 0.3 + 0.3 * (n % 2)
            out.writerows([n, t, math.sin(n + t * pace), 10 + 2 * math.cos(n + t * 0.2), n % 2] for t in range(16))
    return home


def python(home, *arguments, path=True, given=""):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_") and k != "PYTHONPATH"}
    env |= {"PYTHONPATH": str(home / "site")} if path else {}
    run = [sys.executable, *arguments]
    return subprocess.run(run, env=env, cwd=home, input=given, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def ran(home):
    """Exit code and stdout of every command, and what all of them said on stderr."""
    done = python(home, "-c", COMMANDS, given=json.dumps(list(ALL.values())))
    assert done.returncode == 0, done.stderr
    found = dict(zip(ALL, json.loads(done.stdout), strict=True))
    wrong = {k: v for k, v in found.items() if v[0] and k not in ("folder", "wav", "other data")}
    assert not wrong, (wrong, done.stderr)
    return found | {"stderr": done.stderr}


def rows(home, name):
    with open(home / name, newline="") as file:
        return list(csv.reader(file))


def test_it_is_listed(ran):
    kinds = {(e["kind"], e["name"]) for e in json.loads(ran["list"][1])}
    assert {("modality", "series"), ("dataset", "series-csv"), ("metric", "series-autocorrelation")} < kinds


def test_the_config_says_its_facts_and_parts(home, ran):
    config = json.loads((home / "vae" / "config.json").read_text())
    assert config["data"]["modality"] == "series"
    assert config["data"]["shape"] == [2, 16]
    assert config["data"]["facts"] == {"channels": ["left", "right"]}
    assert abs(config["data"]["shift"][1] - 10) < 0.2
    assert config["generator"]["name"] == "series-curves"
    assert (config["encoder"]["name"], config["likelihood"]["name"]) == ("mlp", "gaussian")
    gan = json.loads((home / "gan" / "config.json").read_text())
    assert (gan["generator"]["name"], gan["critic"]["name"]) == ("series-curves", "mlp")


def test_samples_are_written_to_a_file_of_its_own(home, ran):
    head, *lines = rows(home, "new.csv")
    assert head == ["series", "step", "left", "right"]
    assert [line[:2] for line in lines] == [[str(n), str(t)] for n in range(9) for t in range(16)]
    assert all(math.isfinite(float(v)) for line in lines for v in line)
    head, *lines = rows(home, "labelled.csv")
    assert head[-1] == "label"
    assert [lines[16 * n][-1] for n in range(4)] == ["0", "1", "0", "1"]
    assert len(rows(home, "again.csv")) == 1 + 12 * 16  # the test split
    assert len(rows(home, "ways.csv")) == 1 + 2 * 3 * 16


@pytest.mark.slow
def test_it_is_the_same_sample_in_every_format(home, ran):
    code = "import genzoo, sys; print(genzoo.load('vae').sample(9)[8, 1, 3].item())"
    assert float(python(home, "-c", code).stdout) == pytest.approx(float(rows(home, "new.csv")[1 + 8 * 16 + 3][3]))


def test_it_is_measured(ran):
    values = {r["metric"]: r["value"] for r in json.loads(ran["eval"][1])["results"]}
    assert {"series-autocorrelation", "frechet", "log-likelihood", "coverage"} <= set(values)
    assert not {"modes", "ssim"} & set(values)
    (only,) = json.loads(ran["eval csv"][1])["results"]
    assert only["metric"] == "series-autocorrelation"
    assert 0 <= only["value"] < 2


def test_it_is_drawn(home, ran):
    from PIL import Image

    for name in ("new.png", "again.png", "walk.png", "vae/samples.png"):
        with Image.open(home / name) as image:
            assert len(image.convert("RGB").getcolors(10**6)) >= 3, name  # lines in two colours on paper
    page = (home / "page.html").read_text()
    assert page.count("<svg") > 8
    assert "60 samples of vae, 10 in a row" in page


def test_it_is_verified_and_exported(home, ran):
    assert ran["verify"][1].count("same bytes as recorded") == 2
    assert json.loads((home / "program" / "export.json").read_text())["data"]["modality"] == "series"
    card = (home / "vae" / "README.md").read_text()
    assert "time series of 2 channels (left, right) and 16 steps" in card
    assert "genzoo-series==0.3.0" in card


def test_what_cannot_be_is_a_sentence(ran):
    assert [ran[k][0] for k in ("folder", "wav", "other data")] == [2, 2, 2]
    assert "this model makes time series: use .png or .npz or .csv" in ran["stderr"]
    assert "cannot tell what to write from 'x.wav': use .png or .npz or .csv" in ran["stderr"]
    assert "trained on time series of 2 channels and the data are vectors of 2 numbers" in ran["stderr"]
    assert "Traceback" not in ran["stderr"]


def test_without_its_package_it_is_a_sentence(home, ran):
    done = python(home, "-m", "genzoo.cli", "sample", "vae", "--out", "y.csv", path=False)
    assert done.returncode == 1
    assert "there is no modality 'series': there are audio, image" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (home / "y.csv").exists()


def test_files_that_are_none(home, tmp_path):
    bad = {
        "series,step,a\n0,0,1\n0,1,x\n": "line 3 is not 3 finite numbers",
        "series,step,a\n0,0,1\n0,1,nan\n": "line 3 is not 3 finite numbers",
        "series,step,a\n0,0,1\n0,1,1\n1,0,1\n": "series 1 has 1 steps and the first 2",
        "series,step,a\n": "has no channels or no lines",
        "time,a\n0,1\n": "bad4 has no column to learn",  # another header is that of a table
    }
    files = [tmp_path / f"bad{i}.csv" for i in range(len(bad))]
    for file, text in zip(files, bad, strict=True):
        file.write_text(text)
    code = """import genzoo, sys
for path in sys.argv[1:]:
    try: genzoo.load_data(path)
    except genzoo.GenzooError as e: print(e)
"""
    said = python(home, "-c", code, *map(str, files)).stdout.splitlines()
    for line, says in zip(said, bad.values(), strict=True):
        assert says in line


@pytest.mark.slow
def test_its_own_tests_are_the_suite(home):
    few = ("-k", "modality-series or dataset or metric or series-curves-builds")
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(SOURCE), *few, str(SOURCE / "tests"))
    done = python(home, *tests)
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
