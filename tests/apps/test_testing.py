"""The conformance suite: each planted fault is found by the check that is for it, and by its name."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from genzoo.core.errors import UsageError
from genzoo.registry import Registry, hookimpl
from genzoo.testing import CHECKS, check, checks_of, explained

HEAD = """
from __future__ import annotations
import random
from dataclasses import dataclass
import torch
from torch import Tensor, nn
from genzoo.core.likelihood import Likelihood
from genzoo.core.networks import Critic, Encoder, Generator
from genzoo.core.evaluation.evidence import Metric
from genzoo.core.math.intervals import mean
from genzoo.core.objective import Loss
from genzoo.core.options import option
from genzoo.core.regularizer import Regularizer
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.vae.variational import Variational


class Net:
    def __init__(self, ports, options=None):
        super().__init__(ports, options)
        self.enter = nn.Linear(ports.input_size + ports.classes, 16)
        self.leave = nn.Linear(16, ports.output_size)
        self.more()

    def more(self):
        pass

    def first(self, x, y):
        x = x.flatten(1)
        if y is not None:
            x = torch.cat([x, nn.functional.one_hot(y, self.ports.classes).to(x.dtype)], 1)
        return torch.nn.functional.silu(self.enter(x))

    def forward(self, x, y=None):
        return self.leave(self.first(x, y)).view(len(x), *self.ports.outputs)


class Drift(Regularizer):
    def term(self, judged):
        return judged.real_score.square()


class Mean(Metric):
    def measure(self, evidence):
        return mean(self.numbers(evidence.samples))

    def numbers(self, samples):
        return samples.flatten(1).mean(1)


class Base(Variational):
    def draw(self, player, draws, model):
        return {"eps": draws.normal(*model.latent.shape)}

    def terms(self, model, batch, noise):
        q = model.posterior(batch.x, batch.y)
        nll = -model.likelihood.log_prob(model.generator(q.sample(noise["eps"]), batch.y), batch.x)
        return nll, q.kl().sum(1)

    def loss(self, player, nets, batch, noise):
        nll, kl = self.terms(nets.model, batch, noise)
        return Loss({"nll": nll, "kl": kl})

"""
# name: kind, the check that must find it, alone, and the class body
PLANTED = {
    "random-start": ("generator", "deterministic", """
        def more(self):
            with torch.no_grad():
                self.leave.bias.add_(random.random())"""),
    "random-in-eval": ("generator", "deterministic", """
        def forward(self, x, y=None):
            return super().forward(x + 0.1 * torch.randn_like(x), y)"""),
    "detached": ("encoder", "gradients", """
        def forward(self, x, y=None):
            return self.leave(self.first(x, y).detach()).view(len(x), *self.ports.outputs)"""),
    "unused-layer": ("critic", "gradients", """
        def more(self):
            self.forgotten = nn.Linear(3, 3)"""),
    "batch-statistics": ("encoder", "batch-independent", """
        def forward(self, x, y=None):
            h = self.first(x, y)
            return self.leave(h - h.mean(0)).view(len(x), *self.ports.outputs)"""),
    "moves-in-eval": ("generator", "batch-independent", """
        def more(self):
            self.register_buffer("count", torch.zeros(1))
        def forward(self, x, y=None):
            self.count += 1
            return super().forward(x, y) + 0.001 * self.count"""),
    "lost-buffer": ("generator", "round-trip", """
        def more(self):
            self.register_buffer("seen", torch.zeros(1), persistent=False)
        def forward(self, x, y=None):
            if self.training:
                with torch.no_grad():
                    self.seen += x.square().mean()
            return super().forward(x, y) + self.seen"""),
    "lost-attribute": ("encoder", "round-trip", """
        def more(self):
            self.steps = 0
        def forward(self, x, y=None):
            self.steps += self.training
            return super().forward(x, y) * (1 + 0.1 * self.steps)"""),
    "flat": ("generator", "shapes", """
        def forward(self, x, y=None):
            return super().forward(x, y).flatten(1)"""),
    "one-dimension-less": ("critic", "shapes", """
        def forward(self, x, y=None):
            return super().forward(x, y).sum(1)"""),
    "double": ("generator", "dtypes", """
        def forward(self, x, y=None):
            return (super().forward(x, y).double() * 1.5).float()"""),
    "double-weights": ("generator", "dtypes", """
        def more(self):
            self.gain = nn.Parameter(torch.ones(1, dtype=torch.float64))
        def forward(self, x, y=None):
            return (super().forward(x, y) * self.gain).float()"""),
    "on-the-cpu": ("encoder", "devices", """
        def forward(self, x, y=None):
            return super().forward(x, y) + torch.zeros(len(x), *self.ports.outputs)"""),
    "constant-attribute": ("critic", "devices", """
        def more(self):
            self.shift = torch.ones(self.ports.outputs)
        def forward(self, x, y=None):
            return super().forward(x, y) + self.shift"""),
    "cuda": ("critic", "shapes", """
        def forward(self, x, y=None):
            return super().forward(x.to("cuda"), y)"""),
    "in-place": ("encoder", "inputs-kept", """
        def forward(self, x, y=None):
            with torch.no_grad():
                x.mul_(0.5)
            return super().forward(x, y)"""),
    "batch-norm": ("critic", "per-observation", """
        def more(self):
            self.norm = nn.BatchNorm1d(16)
        def forward(self, x, y=None):
            return self.leave(self.norm(self.first(x, y))).view(len(x), *self.ports.outputs)"""),
    "no-condition": ("critic", "condition", """
        def first(self, x, y):
            return super().first(x, None if y is None else torch.zeros_like(y))"""),
    "noise-of-its-own": ("objective", "deterministic", """
        def draw(self, player, draws, model):
            return {}
        def loss(self, player, nets, batch, noise):
            eps = torch.randn(len(batch.x), *nets.model.latent.shape, device=batch.x.device)
            return super().loss(player, nets, batch, {"eps": eps})"""),
    "detached-codes": ("objective", "gradients", """
        def terms(self, model, batch, noise):
            q = model.posterior(batch.x.detach(), batch.y)
            z = q.sample(noise["eps"]).detach()
            return -model.likelihood.log_prob(model.generator(z, batch.y), batch.x), q.kl().sum(1).detach()"""),
    "means-over-the-batch": ("objective", "terms", """
        def loss(self, player, nets, batch, noise):
            nll, kl = self.terms(nets.model, batch, noise)
            return Loss({"nll": nll.mean(), "kl": kl.mean()})"""),
    "coupled-in-secret": ("objective", "batch-independent", """
        def loss(self, player, nets, batch, noise):
            nll, kl = self.terms(nets.model, batch, noise)
            return Loss({"nll": nll, "kl": (kl - kl.mean()).square()})"""),
    "forgets": ("objective", "round-trip", """
        count = 0
        def after_step(self, player, nets, seen):
            self.count += 1
        def loss(self, player, nets, batch, noise):
            nll, kl = self.terms(nets.model, batch, noise)
            return Loss({"nll": nll, "kl": kl}, {"kl": 0.3 * self.count})"""),
    "drifts-together": ("regularizer", "batch-independent", """
        def term(self, judged):
            return (judged.real_score - judged.real_score.mean()).square()"""),
    "drifts-to-what-it-kept": ("regularizer", "accumulates", """
        def __init__(self, options=None):
            super().__init__(options)
            self.register_buffer("level", torch.zeros(()))
            self.watched = ("real",)
        def term(self, judged):
            self.found = judged.real_score.detach().mean()
            return (judged.real_score - self.level).square()
        def after_step(self, seen):
            self.level.lerp_(self.found, 0.5)"""),
    "keeps-its-own-mean": ("objective", "accumulates", """
        def __init__(self, options=None):
            super().__init__(options)
            self.register_buffer("strength", torch.ones(()))
            self.found = None
        def loss(self, player, nets, batch, noise):
            nll, kl = self.terms(nets.model, batch, noise)
            self.found = nll.detach().mean()
            return Loss({"nll": nll, "kl": kl}, {"kl": self.strength})
        def after_step(self, player, nets, seen):
            self.strength.add_(0.01 * self.found)"""),
    "doubles-loss": ("objective", "dtypes", """
        def loss(self, player, nets, batch, noise):
            nll, kl = self.terms(nets.model, batch, noise)
            return Loss({"nll": nll.double(), "kl": kl})"""),
    "spoils-the-batch": ("objective", "inputs-kept", """
        def loss(self, player, nets, batch, noise):
            batch.x.clamp_(-1, 1)
            return super().loss(player, nets, batch, noise)"""),
    "not-normalized": ("likelihood", "normalized", """
        def log_prob(self, params, x):
            return -(x - params.float()).square().flatten(1).sum(1) / 2"""),
    "wrong-slope": ("likelihood", "gradients", """
        def log_prob(self, params, x):
            return super().log_prob(params, x) - params.float().square().flatten(1).sum(1).detach()"""),
    "other-mean": ("likelihood", "mean", """
        def mean(self, params):
            return params.float() + 1"""),
    "spoils-the-samples": ("metric", "inputs-kept", """
        def numbers(self, samples):
            return super().numbers(samples.mul_(2))"""),
    "another-number": ("metric", "deterministic", """
        def numbers(self, samples):
            return super().numbers(samples) + torch.rand(len(samples)).to(samples)"""),
    "half-an-option": ("generator", "options", """
        @dataclass(frozen=True)
        class Options(Generator.Options):
            width: int = option(0, "units", low=1)"""),
}  # fmt: skip
MODALITIES = {"likelihood": ("vector",), "objective": ("vector", "image"), "regularizer": ("vector", "image")}
BASES = {
    "generator": "Net, Generator", "encoder": "Net, Encoder", "critic": "Net, Critic", "objective": "Base",
    "regularizer": "Drift", "metric": "Mean",
    "likelihood": "genzoo.plugins.likelihoods.gaussian.Gaussian",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A registry with a class for every planted fault, and one of each kind without."""
    folder = tmp_path_factory.mktemp("planted")
    lines = [HEAD, "import genzoo.plugins.likelihoods.gaussian"]
    whole = {f"whole-{kind}": (kind, "", "        pass") for kind in BASES}
    for name, (kind, _, body) in (PLANTED | whole).items():
        lines.append(
            f"class {name.title().replace('-', '')}({BASES[kind]}):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
        )
    (folder / "planted_faults.py").write_text("\n\n".join(lines))

    @hookimpl
    def genzoo_register(registry):
        for name, (kind, *_) in (PLANTED | whole).items():
            target = f"planted_faults:{name.title().replace('-', '')}"
            told = {"needs": ("samples",)} if kind == "metric" else {}
            modalities = MODALITIES.get(kind, ())
            getattr(registry, kind)(name, target, summary="planted", modalities=modalities, **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        registry, module = Registry.discover(plugins=False), ModuleType("planted")
        module.genzoo_register = genzoo_register
        record = registry.add(module, "planted", "planted-dist", "1.0")
        assert record.error is None
        yield registry
    sys.modules.pop("planted_faults", None)


EVERY_RUN = [name for number, (name, (kind, *_)) in enumerate(PLANTED.items()) if number % 4 == 0 or kind == "metric"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in EVERY_RUN else pytest.mark.slow) for n in PLANTED])
def test_a_planted_fault_is_found_by_its_own_check(planted, name):
    kind, expected, _ = PLANTED[name]
    report = check("planted-dist", [name], registry=planted)
    failed = {c for _, c in report.failed()}
    assert failed == {expected}, report.text()
    (finding,) = [f for f in report.failures if f.check == expected]
    assert finding.expected
    assert finding.found
    assert finding.mend
    assert not report.ok
    assert f"{kind}:{name} fails '{expected}'" in report.text()


def test_what_is_mended_in_the_same_process_is_judged_anew(planted, monkeypatch):
    name = "spoils-the-samples"
    assert [c for _, c in check("planted-dist", [name], registry=planted).failed()] == ["inputs-kept"]
    found = sys.modules["planted_faults"]
    monkeypatch.setattr(found.SpoilsTheSamples, "numbers", found.Mean.numbers)
    assert check("planted-dist", [name], registry=planted).ok


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in ("generator", "likelihood") else pytest.mark.slow) for k in BASES]
)
def test_the_same_without_the_fault_passes(planted, kind):
    report = check("planted-dist", [f"whole-{kind}"], registry=planted)
    assert report.ok, report.text()
    assert {f.check for f in report.findings} == set(checks_of(kind))


def test_every_check_exists_and_says_what_it_is_for():
    for kind, checks in CHECKS.items():
        for name in checks:
            assert explained(kind, name).endswith(".")


def test_a_name_that_is_nothing_is_refused(planted):
    with pytest.raises(UsageError, match=r"planted-dits.*did you mean 'planted-dist'"):
        check("planted-dits", registry=planted)
    with pytest.raises(UsageError, match=r"no check 'shape'.*'shapes'"):
        check("planted-dist", checks=["shape"], registry=planted)
    with pytest.raises(UsageError, match="registers no 'flatt'"):
        check("planted-dist", ["flatt"], registry=planted)


@pytest.mark.slow
def test_two_lines_are_a_test_of_an_author(tmp_path):
    """In a process of its own, on one of the zoo's own entries, with a fault that is known."""
    (tmp_path / "test_mine.py").write_text(
        "from genzoo.testing import conformance\n\n"
        "test_conformance = conformance('nets', ['generator:mlp'])\n"
        "def test_alone(genzoo_registry, genzoo_check):\n"
        "    assert {r.distribution for r in genzoo_registry.plugins()} == {'genzoo'}\n"
        "    assert genzoo_check('nets', ['critic:mlp'], checks=['shapes']).ok\n"
    )
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "genzoo.plugins.apps.kit.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-rA",
    ]
    done = subprocess.run([*run, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(checks_of('generator')) + 1} passed" in done.stdout
    assert "test_conformance[generator:mlp-per-observation]" not in done.stdout
    assert "test_conformance[generator:mlp-gradients]" in done.stdout


@pytest.mark.parametrize(
    ("code", "word"),
    [("import torch", "imports torch"),
     ("print('hello')", "prints 'hello'"), ("raise OSError('no')", "cannot be imported"),
     ("import os; os._exit(3)", "ended the interpreter"), ("x = 1", "")],
)  # fmt: skip
def test_how_a_plugin_imports(tmp_path, monkeypatch, code, word):
    from genzoo.plugins.apps.kit.statics import imports
    from genzoo.registry import PluginRecord

    (tmp_path / "heavy_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = imports(PluginRecord("heavy", "heavy-dist", "1.0", "heavy_module"))
    assert word in found.fault
    assert bool(found.fault) is bool(word)
    assert ("torch" in found.heavy) is (code == "import torch")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pickle.load(f)", "pickle.load"),
        ("torch.load(f)", "torch.load"),
        ("torch.load(f, weights_only=True)", ""),
        ("np.load(f, allow_pickle=True)", "allow_pickle"),
        ("np.load(f)", ""),
        ("model.eval()", ""),
        ("eval(text)", "eval"),
        ("AutoModel.from_pretrained(x, trust_remote_code=True)", "trust_remote_code"),
        ("json.load(f)", ""),
    ],
)
def test_what_would_run_what_it_reads(tmp_path, line, found):
    from genzoo.plugins.apps.kit.statics import unsafe

    path = Path(tmp_path / "code.py")
    path.write_text(f"import x\n\n{line}\n")
    said = [(number, what) for number, what, _ in unsafe(path)]
    assert [n for n, _ in said] == ([3] if found else [])
    assert all(found in what for _, what in said)
