"""Draws of texts: with slopes, with a temperature, as strings."""

from __future__ import annotations

import itertools

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.likelihood import drawing
from genzoo.core.math.tables import from_levels, nucleus
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.ar_conv import ConvolutionalLikelihood
from genzoo.plugins.likelihoods.ar_gru import RecurrentLikelihood
from genzoo.plugins.likelihoods.ar_transformer import TransformerLikelihood

SMALL = {
    "ar-gru": (RecurrentLikelihood, {"embed": 4, "layers": 2}),
    "ar-transformer": (TransformerLikelihood, {"depth": 2, "heads": 2}),
    "ar-conv": (ConvolutionalLikelihood, {"depth": 2}),
}
EVERY = pytest.mark.parametrize("name", SMALL)
SPEC = DataSpec("text", (4,), 6, facts={"tokens": "characters", "alphabet": "abc"})


def made(name: str, spec: DataSpec = SPEC, **more: float):
    cls, options = SMALL[name]
    torch.manual_seed(0)
    p = cls(spec, cls.Options(**{"hidden": 8, "features": 3} | options | more)).eval()
    for weight in p.parameters():
        weight.data *= 2
    return p, torch.randn(1, 3)


def every(length: int = 4) -> torch.Tensor:
    """All texts of unknown, a, b, c with fewer tokens than that, in model space."""
    words = (w for n in range(length) for w in itertools.product((2, 3, 4, 5), repeat=n))
    return from_levels(torch.tensor([[*w, 1, *[0] * (length - 1 - len(w))] for w in words]), 6)


@EVERY
def test_no_place_sees_itself_or_what_follows(name: str) -> None:
    p, told = made(name)
    h = torch.randn(1, 5, p.embedded(torch.zeros(1, dtype=torch.long)).shape[-1], requires_grad=True)
    spec = DataSpec("text", (5,), 6, facts=SPEC.facts)
    out = made(name, spec)[0].run(told, h, {})
    for t in range(5):
        slope = torch.autograd.grad(out[0, t].square().sum(), h, retain_graph=True)[0]
        assert not slope[0, t + 1 :].any()
        assert slope[0, : t + 1].any()


@EVERY
def test_relaxed_draws_are_draws(name: str) -> None:
    """Hard ones follow the distribution, and soft ones have the slopes that differences say."""
    p, told = made(name)
    uniform = torch.rand(2000, 4, 6, generator=torch.Generator().manual_seed(1))
    x = p.relaxed(told.expand(2000, 3), uniform, 0.5)
    assert torch.equal(x.detach().round(), torch.nn.functional.one_hot(x.argmax(-1), 6).float())
    share = x[:, 0].mean(0).detach()
    truth = torch.softmax(p.logits(told, every()[:1])[0, 0], -1)
    assert ((share - truth).abs() < 4 * (truth * (1 - truth) / 2000).sqrt() + 1e-6).all()
    p, u = p.double(), uniform[:3].double()
    weight = torch.randn(3, 4, 6, dtype=torch.float64)

    def value(h: torch.Tensor) -> torch.Tensor:
        return (p.relaxed(h.expand(3, 3), u, 0.7, hard=False) * weight).sum()

    h = told.double().requires_grad_()
    slope = torch.autograd.grad(value(h), h)[0]
    with torch.no_grad():
        steps = torch.eye(3, dtype=torch.float64) * 1e-6
        found = torch.stack([(value(h + s) - value(h - s)) / 2e-6 for s in steps])
    torch.testing.assert_close(slope[0], found, atol=1e-4, rtol=1e-4)


def test_temperature_and_top_p() -> None:
    p, told = made("ar-gru")
    truth = p.logits(told, every()[:1])[0, 0]
    told, g = told.expand(2000, 3), torch.Generator()
    for temperature, top_p in ((0.5, None), (None, 0.6), (2.0, 0.8)):
        with drawing(p, temperature, top_p):
            first = p.tokens(p.sample(told, g.manual_seed(0)))[:, 0]
        wanted = torch.softmax(nucleus(truth / (temperature or 1), top_p or 1.0), -1)
        share = torch.bincount(first, minlength=6) / 2000
        assert ((share - wanted).abs() < 4 * (wanted * (1 - wanted) / 2000).sqrt() + 1e-6).all()
    assert (p.temperature, p.top_p) == (1, 1)
    kept = torch.softmax(nucleus(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.79), -1)
    torch.testing.assert_close(kept, torch.tensor([0.625, 0.375, 0, 0]))
    with pytest.raises(UsageError, match=r"from 0\.01"), drawing(p, 0, None):
        pass


def test_a_model_gives_and_takes_strings() -> None:
    options = {"latent.size": 2, "likelihood.hidden": 8, "encoder.hidden": 8}
    model = genzoo.create("text-vae", DataSpec("text", (8,), 7, facts={"tokens": "characters", "alphabet": "abc "}),
                          options=options)  # fmt: skip
    texts = model.sample(70, seed=1)
    assert all(isinstance(text, str) for text in texts)
    assert model.sample(70, seed=1, batch_size=64) == texts
    assert model.sample(3, seed=1) == texts[:3]
    assert model.sample(5, seed=1, temperature=0.01) != texts[:5]
    assert torch.is_tensor(model.sample(2, numbers=True))
    assert [type(t) for t in model.reconstruct(["abc", "cab a"])] == [str, str]
    codes = model.encode(["abc", "cab a"])
    paths = model.interpolate(codes[:1], codes[1:], 4)
    assert len(paths) == 1
    assert [type(t) for t in paths[0]] == [str] * 4
    assert len(model.log_likelihood(["abc", ""], samples=2).values) == 2
    with pytest.raises(UsageError, match="more than 7"):
        model.encode(["abcabcabc"])


def test_pictures_have_no_temperature() -> None:
    model = genzoo.create("vae", DataSpec.image(1, 8, 8), options={"encoder": "mlp", "generator": "mlp"})
    with pytest.raises(UsageError, match="have no top-p"):
        model.sample(1, top_p=0.5)


def test_long_texts_are_scored_few_at_a_time_with_the_same_result() -> None:
    spec = DataSpec("text", (161,), 65, facts={"tokens": "characters", "alphabet": "".join(map(chr, range(192, 254)))})
    model = genzoo.create("text-vae", spec, options={"likelihood.hidden": 16, "likelihood.embed": 4})
    assert model.likelihood.heavy > 1  # else ten thousand codes at a time take gigabytes
    texts = ["".join(map(chr, range(192, 200)))] * 3
    found = [model.log_likelihood(texts, samples=4, budget=budget).values for budget in (4, 10_000)]
    assert torch.allclose(*found, atol=1e-4)
