"""The table of VAEs: equal networks, goes on where it was stopped, and another library's numbers beside ours."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, MixtureSameFamily, Normal

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Evidence
from genzoo.plugins.apps.bench import pythae_models, vaes

SMALL = {"generator.width": 8, "encoder.width": 8}


def board(tmp_path, **given):
    common = {"steps": 2, "n": 20, "samples": 3, "threads": 1, "device": "cpu", "out": tmp_path / "vaes",
              "recipes": ("vae", "wae-gan", "vae-gan"), "metrics": "log-likelihood,psnr", "options": SMALL}  # fmt: skip
    return vaes.vaes("fashion-mini", **{**common, **given})


def test_vaes_are_trained_alike_and_judged_by_what_they_have(tmp_path):
    found = board(tmp_path)
    lines = {line.recipe: line for line in found.lines}
    assert next(iter(lines)) == "vae"  # the others have no likelihood, and no samples are judged here
    assert {line.parameters for line in lines.values()} == {lines["vae"].parameters} | {
        lines["wae-gan"].parameters  # whose codes have no variance
    }
    assert "log-likelihood" in lines["vae"].report
    assert "log-likelihood" not in lines["wae-gan"].report
    assert lines["vae"].report["log-likelihood"].details["samples"] == 3
    kept = json.loads((tmp_path / "vaes" / "vaes.json").read_text())
    assert [line["recipe"] for line in kept["lines"]] == list(lines)
    again = board(tmp_path)
    assert all(line.was_there for line in again.lines)
    assert again.to_dict() == found.to_dict()


def test_every_vae_has_a_place_or_a_reason():
    test = vaes.load_data("fashion-mini", split="test", options=vaes.BINARY)
    entries, left_out = vaes._entries(test, ("vae", "soft-intro-vae", "wae-gan", "top-down-vae"), {})
    assert [entry.own for entry in entries.values()] == [False, False, False, True]
    assert not left_out
    parts = {name: entry.config.parts["likelihood"].name for name, entry in entries.items()}
    assert parts == {
        "vae": "bernoulli",
        "soft-intro-vae": "bernoulli",
        "wae-gan": "gaussian",
        "top-down-vae": "bernoulli",
    }
    for name in ("vae", "soft-intro-vae"):
        assert entries[name].config.parts["generator"].options["width"] == 512
        assert entries[name].config.latent.size == 16
    with pytest.raises(UsageError, match="no recipe"):
        vaes._entries(test, ("vaee",), {})


def test_a_prior_is_fitted_afterwards_and_seeds_give_intervals(tmp_path):
    given = {"recipes": ("vae",), "metrics": "log-likelihood,mmd", "prior": "mixture", "prior_steps": 2, "seeds": 2}
    found = board(tmp_path, **given)
    lines = {line.recipe: line for line in found.lines}
    assert list(lines) in (["vae", "vae + mixture"], ["vae + mixture", "vae"])
    for line in lines.values():
        for result in line.report:
            values = result.details["seeds"]
            assert len(set(values)) == 2
            middle, half = sum(values) / 2, 12.7062 * abs(values[0] - values[1]) / 2  # Student's t of one degree
            assert result.value == pytest.approx(middle)
            assert result.interval.high - middle == pytest.approx(half, rel=1e-3)
    assert lines["vae"].report["mmd"].value != lines["vae + mixture"].report["mmd"].value
    assert "Means over 2 seeds" in (tmp_path / "vaes" / "vaes.md").read_text()
    again = board(tmp_path, **given)
    assert all(line.was_there for line in again.lines)
    assert again.to_dict() == found.to_dict()
    refused = board(tmp_path, **{**given, "prior": "transformer", "seeds": 1})
    assert "tokens" in refused.left_out["vae + transformer"]


def test_without_a_likelihood_the_first_metric_ranks(tmp_path):
    found = board(tmp_path, recipes=("vae", "beta-vae", "info-vae"), metrics="mmd")
    assert found.by == "mmd"
    values = [line.report["mmd"].value for line in found.lines]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"seeds": 0}, "at least 1"),
        ({"seeds": 2, "pythae": "python"}, "one seed"),
        ({"prior": "mixtrue"}, "mixture"),
        ({"prior": "mixture", "out": None}, "folder"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(tmp_path, given, why):
    with pytest.raises(UsageError, match=why):
        board(tmp_path, **given)


@pytest.mark.slow
def test_a_python_without_pythae_is_named(tmp_path):
    with pytest.raises(GenzooError, match=r"pythae's VAE cannot be run by .*python.*No module named 'pythae'"):
        board(tmp_path, pythae=sys.executable, recipes=("vae",))


def test_pythaes_models_are_judged_by_the_images_that_ours_are(tmp_path, monkeypatch):
    given = []

    def run(command, **_):
        folder, asked = Path(command[3]), json.loads(command[4])
        given.append(np.load(folder / "test.npy"))
        np.save(folder / "samples.npy", np.zeros((asked["n"], 1, 28, 28), np.uint8))
        numbers = dict.fromkeys(("log-likelihood", "elbo"), -300.0) | dict.fromkeys(
            ("log-likelihood error", "elbo error"), 1.0
        )
        said = json.dumps({"seconds": 1.0, "steps": 1, "parameters": 1, **numbers})
        return subprocess.CompletedProcess(command, 0, said, "")

    seen = []
    weigh = Evidence.log_weights
    monkeypatch.setattr(Evidence, "log_weights", lambda self, k, n: (seen.append(self.real[:n]), weigh(self, k, n))[1])
    monkeypatch.setattr(vaes.subprocess, "run", run)
    board(tmp_path, pythae="python", recipes=("vae",))
    assert len(given) == len(vaes.PYTHAE)
    for theirs in given:
        assert np.array_equal(theirs, (seen[0].numpy() > 0.5).astype(np.uint8))


def test_the_weights_of_pythaes_models_are_those_of_torchs_distributions():
    """With a normal prior, and with a mixture of posteriors of pseudo-inputs."""
    torch.manual_seed(0)
    read, made = torch.nn.Linear(3, 4), torch.nn.Linear(2, 3)

    def encoder(x):
        mean, log_var = read(x.flatten(1)).chunk(2, 1)
        return SimpleNamespace(embedding=mean, log_covariance=log_var)

    def decoder(z):
        return SimpleNamespace(reconstruction=torch.sigmoid(made(z)))

    plain = SimpleNamespace(encoder=encoder, decoder=decoder)
    x, z = torch.randint(2, (5, 3)).float(), torch.randn(7, 5, 2)
    torch.testing.assert_close(pythae_models.prior_log_prob(plain, z), Normal(0.0, 1.0).log_prob(z).sum(-1))
    pseudo, config = torch.rand(4, 3), SimpleNamespace(input_dim=(3,))
    vamp = SimpleNamespace(encoder=encoder, decoder=decoder, model_config=config,
                           pseudo_inputs=lambda idle: pseudo, idle_input=None)  # fmt: skip
    q = encoder(pseudo)
    parts = Independent(Normal(q.embedding, (0.5 * q.log_covariance).exp()), 1)
    mixture = MixtureSameFamily(torch.distributions.Categorical(torch.ones(4)), parts)
    torch.testing.assert_close(pythae_models.prior_log_prob(vamp, z), mixture.log_prob(z))
    # E[w] = p(x), which is a sum over a grid of codes.
    line = torch.linspace(-6, 6, 121)
    grid = torch.cartesian_prod(line, line)
    log_p = Bernoulli(decoder(grid).reconstruction).log_prob(x[:, None]).sum(-1) + Normal(0.0, 1.0).log_prob(grid).sum(
        -1
    )
    truth = log_p.logsumexp(1) + 2 * math.log(0.1)
    w = pythae_models.weights(plain, x, 20_000)
    torch.testing.assert_close(w.logsumexp(0) - math.log(len(w)), truth, atol=0.05, rtol=0)
