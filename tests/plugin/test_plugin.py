"""A stranger's package beside genzoo: a good one does all that the zoo's own does, a broken one costs one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

SOURCE = Path(__file__).parent / "genzoo-tiny"
TOGETHER = """
import json, sys, torch, genzoo
from genzoo import DataSpec
out = {}
cases = [(recipe, data, False) for recipe in ("tiny-lsgan", "tiny-wae") for data in ("ring8", "fashion-mini")]
cases += [(recipe, "fashion-mini", True) for recipe in ("tiny-lsgan", "tiny-wae")]
for recipe, data, conditional in cases:
    folder = f"runs/{recipe}-{data}-{conditional}"
    few = {"conditional": conditional, "data.limit": 500}
    run = genzoo.fit(recipe, data, folder, steps=4, batch_size=16, options=few, device="cpu", progress=False)
    same = torch.equal(genzoo.load(folder).sample(9, seed=3), run.model.sample(9, seed=3))
    untrained = genzoo.create(recipe, run.model.spec, options={"conditional": conditional}).sample(9, seed=3)
    spec = run.model.spec
    x = genzoo.load_data(data, options={"limit": 5})
    out[folder[5:]] = {
        "same": same,
        "moved": not torch.equal(untrained, run.model.sample(9, seed=3)),
        "shape": list(run.model.sample(9).shape) == [9, *spec.shape],
        "classes": run.model.classes,
        "labels matter": conditional and not torch.equal(*(run.model.sample(2, labels=k) for k in (0, 1))),
        "codes": run.model.encode(x.x, x.y if conditional else None).shape[1] if run.model.encoder else None,
        "dists": sorted({p.distribution for p in run.config.parts.values()}),
    }
# Their objective on our networks, and our objectives on theirs.
for recipe, parts in (
    ("tiny-wae", {"generator": "conv", "encoder": "conv"}),
    ("tiny-lsgan", {"critic": "conv"}),
    ("vae", {"generator": "gated", "encoder": "gated"}),
    ("wgan-gp", {"generator": "gated", "critic": "gated", "objective.critic_steps": 1}),
):
    few = {**parts, "data.limit": 500, "train.validation": 0}
    run = genzoo.fit(recipe, "fashion-mini", steps=2, batch_size=8, options=few, device="cpu", progress=False)
    out["mixed " + recipe] = all(torch.isfinite(torch.tensor(list(r.values()))).all() for r in run.history)
print(json.dumps(out))
"""


class Beside:
    """genzoo in fresh processes that see a folder of further distributions."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home

    def python(self, *arguments: str, path: bool = True) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_") and k != "PYTHONPATH"}
        env |= {"PYTHONPATH": str(self.folder)} if path else {}
        run = [sys.executable, *arguments]
        return subprocess.run(run, env=env, cwd=self.home, capture_output=True, text=True, timeout=120, check=False)

    def genzoo(self, *arguments: str, path: bool = True) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "genzoo.cli", *arguments, path=path)

    def json(self, *arguments: str):
        done = self.genzoo(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """genzoo-tiny, built and installed into a folder of its own, with neither network nor isolation."""
    home = tmp_path_factory.mktemp("tiny")
    source = shutil.copytree(SOURCE, home / "source")  # pip builds in the source's folder
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(home / "site"), str(source)], check=True, timeout=120)
    return Beside(home / "site", home)


@pytest.fixture(scope="module")
def trained(tiny):
    """What one process found that trained everything."""
    done = tiny.python("-c", TOGETHER)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_shows_up(tiny):
    added = {(e["kind"], e["name"]) for e in tiny.json("list", "--plugin", "tiny")}
    networks = {(kind, "gated") for kind in ("generator", "encoder", "critic")}
    both = {(kind, name) for kind in ("objective", "recipe") for name in ("tiny-lsgan", "tiny-wae")}
    assert added == networks | both
    (record,) = [p for p in tiny.json("plugins") if p["name"] == "tiny"]
    assert (record["distribution"], record["version"], record["errors"]) == ("genzoo-tiny", "1.2.0", [])
    assert "tiny-wae" in tiny.genzoo("list", "recipe").stdout


def test_it_is_described(tiny):
    shown = tiny.json("show", "tiny-wae")
    options = {o["name"]: o for o in shown["options"]}
    assert shown["paper"] == "arXiv:1711.01558"
    assert options["objective.mmd_weight"] | {"doc": ""} == {
        "name": "objective.mmd_weight", "type": "float", "default": 1000.0, "doc": "", "low": 0, "high": None
    }  # fmt: skip
    assert options["latent.size"]["default"] == 8
    assert "Wasserstein autoencoder: minimize" in shown["doc"]


@pytest.mark.parametrize("recipe", ["tiny-lsgan", "tiny-wae"])
@pytest.mark.parametrize(("data", "conditional"), [("ring8", False), ("fashion-mini", False), ("fashion-mini", True)])
def test_it_trains_samples_saves_and_loads(trained, recipe, data, conditional):
    found = trained[f"{recipe}-{data}-{conditional}"]
    assert found["moved"]
    assert found["same"]
    assert found["shape"]
    assert found["labels matter"] is conditional
    assert found["classes"] == (10 if conditional else 0)
    size = {"ring8": 2, "fashion-mini": 8}[data]
    assert found["codes"] == (size if recipe == "tiny-wae" else None)
    ours = {"genzoo"} if recipe == "tiny-wae" else set()  # the likelihood
    assert set(found["dists"]) == {"genzoo-tiny"} | ours


@pytest.mark.parametrize("recipe", ["tiny-wae", "tiny-lsgan", "vae", "wgan-gp"])
def test_its_parts_go_with_ours(trained, recipe):
    assert trained[f"mixed {recipe}"] is True


@pytest.mark.slow
def test_its_own_tests_are_the_suite(tiny):
    """Its two lines of tests, on what is cheap; the command, on one of its objectives."""
    tests = SOURCE / "tests" / "test_conformance.py"
    few = ("-k", "tiny-wae and (terms or batch-independent or gradients) or imports or gated-batch-independent")
    done = tiny.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(SOURCE), *few, str(tests))
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    report = tiny.json(
        "plugins", "check", "genzoo-tiny", "--entry", "objective:tiny-wae", "--check", "batch-independent"
    )
    assert report["counts"] == {"passed": 1, "failed": 0, "skipped": 0}


@pytest.mark.slow
def test_the_command_line_and_a_missing_plugin(tiny):
    done = tiny.genzoo("train", "tiny-wae", "--data", "ring8", "--out", "w", "--steps", "3", "-q")
    assert done.returncode == 0, done.stderr
    assert tiny.genzoo("sample", "w", "-n", "5", "--out", "s.npz").returncode == 0
    without = tiny.genzoo("sample", "w", "-n", "5", "--out", "t.npz", path=False)
    assert without.returncode == 1
    assert without.stderr.count("\n") == 1
    assert "genzoo-tiny" in without.stderr  # what to install
    assert "install" in without.stderr
    assert not (tiny.home / "t.npz").exists()


@pytest.mark.slow
def test_its_parts_train_without_any_recipe_on_a_folder_of_pictures(tiny, tmp_path):
    home = tmp_path
    (home / "folder").mkdir()
    for i in range(12):
        noise = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(home / "folder" / f"{i}.png")
    parts = ("--objective", "wgan-gp", "--generator", "tiny/gated", "--critic", "genzoo-tiny/gated")
    few = ("--steps", "2", "--batch-size", "4", "--device", "cpu", "-q", "--set", "generator.width=16")
    out = str(home / "w")
    done = tiny.genzoo("train", *parts, "--data", str(home / "folder"), "--out", out, *few)
    assert done.returncode == 0, done.stderr
    config = json.loads((home / "w" / "config.json").read_text())
    for kind, (name, distribution, version) in {
        "objective": ("wgan-gp", "genzoo", config["objective"]["version"]),
        "generator": ("gated", "genzoo-tiny", "1.2.0"),
        "critic": ("gated", "genzoo-tiny", "1.2.0"),
    }.items():
        part = config[kind]
        assert (part["name"], part["distribution"], part["version"]) == (name, distribution, version)
    assert tiny.genzoo("sample", out, "-n", "4", "--seed", "3", "--out", str(home / "a.npz")).returncode == 0
    loaded = "import sys, genzoo; print(genzoo.load(sys.argv[1]).sample(4, seed=3).shape)"
    assert tiny.python("-c", loaded, out).stdout == "torch.Size([4, 3, 8, 8])\n"

    saved = home / "mine.toml"  # the same, as a recipe's file
    assert tiny.genzoo("recipe", "save", out, "--out", str(saved)).returncode == 0
    again = tiny.genzoo("train", str(saved), "--data", str(home / "folder"), "--out", f"{out}2", *few)
    assert again.returncode == 0, again.stderr

    sampled = tiny.genzoo("sample", out, "-n", "4", "--out", str(home / "b.npz"), path=False)
    assert sampled.returncode == 1
    assert sampled.stderr.count("\n") == 1
    assert "plugin 'tiny' of genzoo-tiny 1.2.0, which is not there" in sampled.stderr
    assert "pip install 'genzoo-tiny==1.2.0'" in sampled.stderr
    assert not (home / "b.npz").exists()


def test_mmd_is_an_unbiased_estimate(monkeypatch):
    monkeypatch.syspath_prepend(str(SOURCE))
    from genzoo_tiny.wae import mmd

    def kernel(x, y):
        return sum(1 / (1 + (x - y).square().sum() / (2 * 3 * s)) for s in (0.5, 2.0))

    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 3, generator=g, dtype=torch.float64)
    pairs = [(i, j) for i in range(6) for j in range(6)]
    expected = sum((kernel(a[i], a[j]) + kernel(b[i], b[j])) / 30 for i, j in pairs if i != j)
    expected -= sum(2 * kernel(a[i], b[j]) / 36 for i, j in pairs)
    torch.testing.assert_close(mmd(a, b, (0.5, 2.0)), expected)

    draws = torch.stack([mmd(*torch.randn(2, 8, 3, generator=g)) for _ in range(2000)])
    assert draws.mean().abs() < 3 * draws.std() / len(draws) ** 0.5
    gaps = [mmd(*torch.randn(2, 500, 3, generator=g) + torch.tensor([0.0, d]).view(2, 1, 1)) for d in (0, 0.5, 1, 2)]
    assert all(near < far for near, far in pairwise(gaps))


HOOK = "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_register(registry):\n"
MLP = "genzoo.plugins.nets.mlp:MLPGenerator"
BROKEN = {
    "raises": "raise RuntimeError('made for another version')",
    "exits": "import sys\nsys.exit('good-bye')",
    "prints": "print('welcome')\n" + HOOK + "    print('registering')",
    "missing": HOOK + "    registry.critic('gone', 'missing_pkg:Gone')",
    "clash": HOOK + f"    registry.generator('mlp', '{MLP}')\n"
    "    registry.recipe('wgan', objective='wgan', generator='mlp', critic='mlp')",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Every broken plugin, each a distribution of its own, all at once; and weights made beside them."""
    home = tmp_path_factory.mktemp("broken")
    site = home / "site"
    for name, code in BROKEN.items():
        info = site / f"dist_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[genzoo]\n{name} = {name}_pkg\n")
        (site / f"{name}_pkg.py").write_text(code)
    beside = Beside(site, home)
    weights = beside.genzoo("--no-plugins", "train", "vae", "--data", "ring8", "--out", "weights", "--steps", "2", "-q")
    assert weights.returncode == 0, weights.stderr
    return beside


def named(stderr: str, name: str) -> int:
    """How many lines name a plugin."""
    return sum(f"plugin '{name}' (dist-{name} 1.0)" in line for line in stderr.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        pytest.param(("show", "vae"), marks=pytest.mark.slow),
        pytest.param(("show", "gan:wgan"), marks=pytest.mark.slow),
        pytest.param(("plugins",), marks=pytest.mark.slow),
        pytest.param(("train", "vae", "--data", "ring8", "--out", "vae", "--steps", "2", "-q"), marks=pytest.mark.slow),
        pytest.param(("sample", "weights", "-n", "3", "--out", "samples.npz"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_command_works_beside_broken_plugins(broken, command):
    done = broken.genzoo(*command, "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # what plugins print does not get into it
    assert {name: named(done.stderr, name) for name in ("raises", "exits")} == {"raises": 1, "exits": 1}
    assert "Traceback" not in done.stderr


def test_broken_plugins_are_listed_with_what_is_wrong(broken):
    records = {p["name"]: p for p in broken.json("plugins")}
    assert records["raises"]["errors"] == ["RuntimeError: made for another version"]
    assert records["exits"]["errors"] == ["SystemExit: good-bye"]
    assert records["prints"]["errors"] == []
    (missing,) = records["missing"]["errors"]
    assert "critic gone" in missing
    assert "'missing_pkg' has no 'Gone'" in missing
    own = [e for p in records.values() if p["distribution"] == "genzoo" for e in p["errors"]]
    assert own == []  # the zoo is whole


def test_a_target_that_is_not_there_is_named_when_it_is_used(broken):
    done = broken.genzoo("train", "gan", "--critic", "gone", "--data", "ring8", "--out", "x", "--steps", "2")
    assert done.returncode == 1
    assert named(done.stderr, "missing") == 1
    assert not (broken.home / "x").exists()


def test_a_name_claimed_twice_names_both_and_says_how_to_choose(broken):
    done = broken.genzoo("train", "wgan", "--data", "ring8", "--out", "y", "--steps", "2")
    assert done.returncode == 2
    assert named(done.stderr, "clash") == 1
    assert "plugin 'gan' (genzoo" in done.stderr
    assert "'gan:wgan' or 'clash:wgan'" in done.stderr
