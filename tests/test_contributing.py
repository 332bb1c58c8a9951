"""What CONTRIBUTING.md and docs/write-a-plugin.md show is taken from there and run."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from genzoo.cli.main import app
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.apps.kit.cases import Case
from genzoo.plugins.apps.kit.suite import check, checks_of, run
from genzoo.registry import Registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.fit import fit
from genzoo.registry.verbs.initialize import initialize

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: str) -> tuple[dict[str, str], list[list[str]]]:
    """The files that a page shows, and the commands, as arguments."""
    found = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    files = {title: text for _, title, text in found if title}
    lines = [line for kind, _, text in found if kind == "sh" for line in text.splitlines()]
    return files, [shlex.split(line, comments=True) for line in lines]


def quickly(command: list[str]) -> list[str]:
    """A ``genzoo`` command as shown, with a few steps of training."""
    few = ["--steps", "3", "--batch-size", "16", "--set", "data.limit=400", "--device", "cpu"]
    shown = command[1:]
    if "--steps" in shown:
        at = shown.index("--steps")  # nothing is taken twice
        del shown[at : at + 2]
    return shown + ([*few, "-q"] if command[1] == "train" else ["--device", "cpu"] if command[1] == "eval" else [])


FILES, COMMANDS = blocks("CONTRIBUTING.md")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The zoo with the files of CONTRIBUTING.md under plugins, as far as Python can tell."""
    root = tmp_path_factory.mktemp("checkout")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in FILES:
            package = importlib.import_module(f"genzoo.plugins.{Path(name).parent.name}")
            patch.setattr(package, "__path__", [*package.__path__, str(root / Path(name).parent)])
        registry = Registry.discover(plugins=False)
        patch.setattr("genzoo.registry.registry._shared", [registry])
        yield registry
    for name in FILES:
        sys.modules.pop(f"genzoo.plugins.{Path(name).parent.name}.{Path(name).stem}", None)


LONGEST = {"gan": 20, "regularizers": 25, "augmentations": 30, "vae": 42, "priors": 40, "posteriors": 40,
           "datasets": 35, "metrics": 40}  # fmt: skip
NEW = {f"{kind}:{name}": None for kind, name in (
    ("objective", "squares"), ("recipe", "squares"), ("regularizer", "drift"), ("augmentation", "brightness"),
    ("objective", "weighted"), ("prior", "laplace"), ("posterior", "logistic"), ("dataset", "spiral"),
    ("metric", "contrast"),
)}  # fmt: skip


def test_the_files_are_as_short_as_it_says(zoo):
    lines = {
        Path(name).parent.name: sum(bool(line.strip()) for line in text.splitlines()) for name, text in FILES.items()
    }
    assert lines.keys() == LONGEST.keys()
    assert {k: n for k, n in lines.items() if n > LONGEST[k]} == {}


def test_all_are_in_the_zoo_and_whole(zoo):
    assert all(r.error is None for r in zoo.plugins())
    entries = [zoo.get(*label.split(":")) for label in NEW]
    assert zoo.check_targets(entries) == []
    assert zoo.get("objective", "squares").summary.startswith("Least-squares GAN: the critic minimizes")


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(label, marks=() if label in ("regularizer:drift", "metric:contrast") else pytest.mark.slow)
        for label in NEW
    ],
)
def test_all_pass_the_checks_for_plugins(zoo, label):
    entry = zoo.get(*label.split(":"))
    case = Case(zoo, entry)
    failures = [f.text() for name in checks_of(entry.kind) if (f := run(case, name)).outcome == "failed"]
    assert failures == []


def test_they_pass_the_linter():
    for name, text in FILES.items():
        for command in (["check"], ["format", "--diff"]):
            run = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(ROOT / name), "-"]
            done = subprocess.run(run, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_work(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [quickly(c) for c in COMMANDS if c[:1] == ["genzoo"]]
    for command in commands:
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert {c[0] for c in commands} == {"show", "train", "sample", "reconstruct", "eval"}
    assert {p.name for p in tmp_path.glob("*.png")} == {"squares.png", "weighted.png"}


@pytest.mark.parametrize("recipe", ["squares", "weighted"])
def test_they_train_and_sample_conditionally_and_in_the_plane(zoo, recipe):
    flat = fit(recipe, "ring8", steps=5, device="cpu", progress=False)
    assert flat.model.sample(7).shape == (7, 2)
    nets = {"generator": "mlp", "encoder" if recipe == "weighted" else "critic": "mlp"}
    few = {**nets, "conditional": True, "data.limit": 400}
    run = fit(recipe, "fashion-mini", steps=3, batch_size=16, options=few, device="cpu", progress=False)
    a, b = (run.model.sample(4, labels=k) for k in (0, 1))
    assert a.shape == (4, 1, 28, 28)
    assert not torch.equal(a, b)


def test_the_losses_are_those_of_the_papers(zoo):
    squares = zoo.load(zoo.get("objective", "squares"))()
    real, fake = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([-3.0, 0.0, 1.0])
    assert squares.critic_loss(real, fake).tolist() == [5.0, 0.125, 0.5]
    assert squares.generator_loss(fake, None).tolist() == [8.0, 0.5, 0.0]


def test_prior_and_posterior_are_densities(zoo):
    """Against scipy, and their samples against their own distribution functions."""
    latent = Latent(2)
    prior = zoo.load(zoo.get("prior", "laplace"))(latent)
    u = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    z = prior.sample(u)
    torch.testing.assert_close(
        prior.log_prob(z).double(), torch.tensor(stats.laplace.logpdf(z.double())).sum(1), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(torch.tensor(stats.laplace.cdf(z.double())), u.double(), atol=1e-5, rtol=0)
    numbers = torch.tensor([[0.3, -1.0, 0.2, -0.5]]).expand(4000, 4)
    q = zoo.load(zoo.get("posterior", "logistic"))(latent)(numbers)
    eps = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1))
    z, log_q = q.sample_with_log_prob(eps)
    truth = stats.logistic(loc=[0.3, -1.0], scale=[math.exp(0.2), math.exp(-0.5)])
    torch.testing.assert_close(log_q.double(), torch.tensor(truth.logpdf(z.double())).sum(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.tensor(truth.cdf(z.double())), torch.special.ndtr(eps.double()), atol=1e-5, rtol=0)


# IWAE on a linear-Gaussian model, whose likelihood is known.

SIGMA = 0.7


@pytest.fixture(scope="module")
def x():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def linear(zoo):
    """Networks that are linear maps, and an encoder that is far from the true posterior."""
    options = {
        "generator": "mlp", "encoder": "mlp", "generator.depth": 0, "encoder.depth": 0, "latent.size": 2,
        "likelihood": "gaussian", "likelihood.sigma": "fixed", "likelihood.value": SIGMA,
    }  # fmt: skip

    def build(recipe, **more):
        return initialize(compose(zoo, DataSpec("vector", (3,)), recipe, options | more), seed=0)

    return build


def bounds(linear, x, k, draws=4000):
    """Many draws of the bound for each observation, ``(draws, B)``."""
    objective, nets = linear("weighted", **{"objective.samples": k})
    many = x.repeat(draws, 1)
    noise = objective.draw("model", Draws(len(many), "cpu").at(0, 0, k), nets.model)
    with torch.no_grad():
        return -objective.loss("model", nets, Batch(many), noise).per_observation().view(draws, len(x))


def test_one_sample_is_the_elbo(linear, x):
    nets = linear("vae")[1]
    with torch.no_grad():
        q = nets.model.posterior(x)
        mean = nets.model.generator(q.mean)
        # E_q of the reconstruction in closed form: the map is linear.
        spread = (q.log_var.exp() @ nets.model.generator.head.weight.square().T) / SIGMA**2
        log_x = torch.distributions.Normal(mean, SIGMA).log_prob(x) - spread / 2
        elbo = log_x.sum(1) - q.kl().sum(1)
    drawn = bounds(linear, x, 1)
    assert ((drawn.mean(0) - elbo).abs() < 4 * drawn.std(0) / len(drawn) ** 0.5).all()


def test_more_samples_are_tighter_and_never_above_the_evidence(linear, x):
    head = linear("weighted")[1].model.generator.head
    cov = head.weight @ head.weight.T + SIGMA**2 * torch.eye(3)
    evidence = torch.distributions.MultivariateNormal(head.bias, cov).log_prob(x).detach()
    drawn = {k: bounds(linear, x, k) for k in (1, 5, 50)}
    means = {k: v.mean(0) for k, v in drawn.items()}
    errors = {k: v.std(0) / len(v) ** 0.5 for k, v in drawn.items()}
    assert (means[5] - means[1] > 4 * (errors[5] + errors[1])).all()
    assert (means[50] - means[5] > 4 * (errors[50] + errors[5])).all()
    assert (means[50] < evidence + 4 * errors[50]).all()


def test_the_true_posterior_gives_the_evidence_whatever_is_drawn(linear, x):
    objective, nets = linear("weighted")
    decoder, encoder = nets.model.generator.head, nets.model.encoder.head
    slopes = torch.tensor([1.5, 0.5])
    with torch.no_grad():  # orthogonal columns, so that the posterior has a diagonal covariance
        decoder.weight.copy_(torch.eye(3, 2) * slopes)
        decoder.bias.zero_()
        precision = 1 + (slopes / SIGMA) ** 2
        encoder.weight.zero_()
        encoder.weight[:2] = torch.eye(2, 3) * (slopes / SIGMA**2 / precision)[:, None]
        encoder.bias.copy_(torch.cat([torch.zeros(2), -precision.log()]))
    cov = torch.diag(torch.tensor([1.5**2, 0.5**2, 0]) + SIGMA**2)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(3), cov).log_prob(x)
    noise = {"eps": torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(3))}
    bound = -objective.loss("model", nets, Batch(x), noise).per_observation()
    torch.testing.assert_close(bound, evidence, rtol=0, atol=1e-5)


def test_its_terms_do_not_depend_on_the_batch(linear, x):
    objective, nets = linear("weighted")
    noise = {"eps": torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(2))}
    whole = objective.loss("model", nets, Batch(x), noise).per_observation()
    first = objective.loss("model", nets, Batch(x[:2]), {"eps": noise["eps"][:2]}).per_observation()
    torch.testing.assert_close(first, whole[:2])


ALL_AT_ONCE = """
import contextlib, io, json, sys
from genzoo.cli.main import app
outputs = {}
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        app(command, standalone_mode=False)
    outputs[command[0]] = out.getvalue()
print(json.dumps(outputs))
"""


def test_the_page_for_authors_makes_a_plugin_that_trains(tmp_path):
    files, (new, cd, install, tests, *commands) = blocks("docs/write-a-plugin.md")
    source, site = tmp_path / "genzoo-hello", tmp_path / "site"
    own = [files[f"genzoo_hello/{name}.py"] for name in ("gan", "vae")]
    assert sum(bool(line.strip()) for text in own for line in text.splitlines()) <= 60

    def python(*arguments, cwd=tmp_path):
        env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        run = [sys.executable, *arguments]
        done = subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        return done.stdout

    python("-m", "genzoo.cli", *new[1:])
    assert (cd, install, tests) == (["cd", source.name], ["pip", "install", "-e", ".[test]"], ["pytest"])
    for name, text in files.items():
        (source / name).write_text(text, encoding="utf-8")
    offline = ["-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site), str(source)]
    python("-m", "pip", "install", *offline)
    few = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "described or terms or shapes", cwd=source)
    assert "8 passed" in few
    assert {c[0] for c in commands} == {"genzoo"}
    more = ["train", "hello-dvae", "--generator", "hello-cppn", "--data", "fashion-mini", "--out", "runs/cppn"]
    arguments = [*(quickly(c) for c in commands), quickly(["genzoo", *more])]
    outputs = json.loads(python("-c", ALL_AT_ONCE, json.dumps(arguments)).splitlines()[-1])
    assert "plugin hello (genzoo-hello 0.1.0) imports in" in outputs["plugins"]
    assert "✗" not in outputs["plugins"]
    assert "objective.gamma" in outputs["show"] or "objective.sigma" in outputs["show"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("gan.png", "vae.png"))
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"gan", "vae", "by-class", "cppn"}


@pytest.mark.slow
def test_several_processes_find_what_one_finds():
    asked = {"entries": ["metric:kid", "prior:vamp"], "checks": ["described", "options", "measures"]}
    one, two = (check("genzoo", **asked, jobs=jobs) for jobs in (1, 2))
    assert [(f.entry, f.check, f.outcome) for f in two.findings] == [
        (f.entry, f.check, f.outcome) for f in one.findings
    ]
    assert {f.outcome for f in two.findings} == {"passed"}
