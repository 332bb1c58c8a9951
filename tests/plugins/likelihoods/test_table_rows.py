"""Likelihoods and the generator of rows against enumeration, torch.distributions, and normals that are tied."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Uniform

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.spec import Latent
from genzoo.plugins.likelihoods.copula import CopulaLikelihood
from genzoo.plugins.likelihoods.table_ar import TableAutoregressive
from genzoo.plugins.likelihoods.table_rows import TableLikelihood, drawn
from genzoo.plugins.modalities.columns import Column, spec_of
from genzoo.plugins.modalities.one_hot import layout
from genzoo.plugins.nets.table_mlp import TableGenerator


def category(name, n, shares=None):
    names = tuple(f"{name}{i}" for i in range(n))
    column = Column(name, "category", "string", False, 0, names, (), (), (1.0,))
    return replace(column, shares=tuple(shares or (1 / k for k in column.slots for _ in range(k))))


NUMBER = Column("x", "number", "double", True, 0, (), (0.0,), (-1.0, 0.5, 2.0), (0.1, 0.2, 0.4, 0.3))
MIXED = spec_of([category("a", 3, (0.5, 0.3, 0.2)), NUMBER])


def codes_of(*numbers):
    return torch.tensor(list(itertools.product(*(range(n) for n in numbers)))) + 0.5


def test_the_independent_likelihood_is_that_of_torch():
    made, codes = TableLikelihood(MIXED), codes_of(3, 4)
    params = torch.randn(12, 7)
    logits = params + made.log_shares
    wanted = Categorical(logits=logits[:, :3]).log_prob(codes[:, 0].floor())
    wanted = wanted + Categorical(logits=logits[:, 3:]).log_prob(codes[:, 1].floor())
    inside = codes[:, 1] >= 2
    wanted = wanted + torch.where(inside, Uniform(0.0, 1.5).log_prob(torch.tensor(1.0)), 0.0)
    assert torch.allclose(made.log_prob(params, layout(MIXED).opened(codes)), wanted, atol=1e-5)


@pytest.mark.parametrize("cls", [TableLikelihood, TableAutoregressive])
def test_probabilities_of_all_levels_sum_to_one_where_levels_have_digits(cls):
    spec = spec_of([category("town", 300), category("b", 2)])
    assert layout(spec).sizes == [17, 18, 2]  # 6 of the 306 pairs of digits are no level
    torch.manual_seed(0)
    made = cls(spec).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    params = torch.randn(1, *made.input_shape).expand(600, -1)
    x = layout(spec).opened(codes_of(300, 2))
    assert made.log_prob(params, x).exp().sum().item() == pytest.approx(1, abs=1e-4)
    made.last = {}  # what forgets that the last first digit has few second ones
    assert made.log_prob(params, x).exp().sum().item() < 0.9999
    drawn_levels = layout(spec).closed(cls(spec).sample(params, torch.Generator().manual_seed(0)))[:, 0]
    assert drawn_levels.max() < 300


def test_any_order_is_a_distribution_in_every_order_and_the_plain_one_from_left_to_right():
    spec = spec_of([category("a", 3), category("b", 2), category("c", 2)])
    torch.manual_seed(0)
    made = TableAutoregressive(spec, TableAutoregressive.Options(hidden=8, any_order=True)).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.7)
    x, h = layout(spec).opened(codes_of(3, 2, 2)), torch.randn(1, 8).expand(12, 8)
    left_to_right = made.log_prob_by(h, x, torch.tensor([0.1, 0.5, 0.9]).expand(12, 3))
    assert torch.allclose(left_to_right, made.log_prob(h, x), atol=1e-5)
    other = made.log_prob_by(h, x, torch.tensor([0.5, 0.9, 0.1]).expand(12, 3))
    assert other.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert (other - left_to_right).abs().max() > 0.05
    each = torch.rand(12, 3)
    assert torch.allclose(made.log_prob_by(h, x, each)[3], made.log_prob_by(h[3:4], x[3:4], each[3:4])[0], atol=1e-5)
    assert made.noise_size == 3


def test_draws_invert_the_distribution_function():
    logits = torch.log(torch.tensor([[0.2, 0.0, 0.5, 0.3]])).expand(5, -1)
    uniform = torch.tensor([0.0, 0.1999, 0.2001, 0.6999, 0.99999])
    assert drawn(logits, uniform).tolist() == [0, 0, 2, 2, 3]


def test_rows_come_back_from_one_hot_blocks():
    spec = spec_of([category("town", 300_000 // 100), NUMBER, category("b", 3)])
    codes = torch.tensor([[2999.5, 0.5, 2.5], [1234.5, 2.25, 0.5], [0.5, 3.75, 1.5], [54.5, 1.5, 0.5]])
    x = layout(spec).opened(codes)
    assert x.shape[1] == 55 + 55 + 4 + 3 + 1
    assert (x[:, :-1].sum(1) == 4).all()
    assert torch.equal(layout(spec).closed(x), codes)


def test_hardened_rows_are_one_hot_and_have_the_slopes_of_a_softmax():
    free = torch.randn(5, 8, requires_grad=True)
    x = layout(MIXED).hardened(free)
    assert torch.equal(x[:, :7].detach().sort(1).values[:, -2:], torch.ones(5, 2))
    (slope,) = torch.autograd.grad(x[:, 0].sum(), free)
    soft = torch.softmax((free[:, :3] + torch.tensor(layout(MIXED).log_shares[:3])) / 0.5, 1)
    wanted = soft[:, :1] * (torch.eye(3)[:1] - soft) / 0.5
    assert torch.allclose(slope[:, :3], wanted, atol=1e-6)


def test_the_generator_draws_levels_by_the_softmax_of_its_log_odds():
    torch.manual_seed(0)
    made = TableGenerator(Ports((4 + MIXED.size,), MIXED.shape), TableGenerator.Options(code=4))
    torch.nn.init.zeros_(made.head.weight)
    made.head.bias.data[:] = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    z = torch.randn(20_000, 4 + MIXED.size)
    found = layout(MIXED).hardened(made(z).detach())[:, :7].mean(0)
    wanted = torch.tensor([0.5, 0.3 * math.e, 0.2])
    assert torch.allclose(found[:3], wanted / wanted.sum(), atol=0.015)
    assert torch.allclose(found[3:7], torch.tensor(NUMBER.shares), atol=0.015)
    assert TableGenerator.code_shape(MIXED, Latent(), TableGenerator.Options()) == (64 + MIXED.size,)
    with pytest.raises(UsageError, match=r"leave latent\.size out"):
        TableGenerator(Ports((16,), MIXED.shape), TableGenerator.Options())


def _gaussian(n, rho, seed=0):
    r = np.random.default_rng(seed)
    z = r.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)
    edges = tuple(np.linspace(-6, 6, 121).tolist())
    shares = tuple(((np.histogram(z[:, 0], edges)[0] + 0.5) / (n + 60)).tolist())
    a = Column("a", "number", "double", False, 0, (), (), edges, shares)
    levels = Column("b", "category", "string", False, 0, ("low", "mid", "high"), (), (), (0.5, 0.3, 0.2))
    spec = spec_of([a, levels])
    place = (z[:, 0] + 6) / 0.1
    level = np.searchsorted([0.0, 0.8416], z[:, 1]) + 0.5
    return spec, torch.tensor(np.stack([place, level], 1), dtype=torch.float32)


def test_the_copula_finds_a_known_correlation_in_one_pass_whatever_the_parts():
    spec, codes = _gaussian(20_000, 0.6)
    made, other, x = CopulaLikelihood(spec), CopulaLikelihood(spec), layout(spec).opened(codes)
    u = torch.rand(len(x), 2, generator=torch.Generator().manual_seed(0))
    made.after_step(made.sums(x, u))
    for part in (slice(0, 7000), slice(7000, None)):
        other.after_step(other.sums(x[part], u[part]))
    assert torch.allclose(made.second, other.second, atol=1e-4)
    # Of a normal and one that is known by its third only, what is left of the correlation is .6 times E[z s].
    found = (made.second / made.second.diagonal().sqrt() / made.second.diagonal().sqrt()[:, None])[0, 1].item()
    assert 0.45 < found < 0.6
    drawn_rows = layout(spec).closed(made.sample(torch.zeros(20_000, 1), torch.Generator().manual_seed(1)))
    shares = torch.bincount(drawn_rows[:, 1].long(), minlength=3) / 20_000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.015)
    high, low = (drawn_rows[:, 0][drawn_rows[:, 1].long() == k].mean() for k in (2, 0))
    real = [codes[:, 0][codes[:, 1].long() == k].mean() for k in (2, 0)]
    assert (high - low).item() == pytest.approx((real[0] - real[1]).item(), rel=0.3)
    made.second.copy_(torch.eye(2))  # a copula that was not found ties nothing
    loose = layout(spec).closed(made.sample(torch.zeros(20_000, 1), torch.Generator().manual_seed(1)))
    apart = loose[:, 0][loose[:, 1].long() == 2].mean() - loose[:, 0][loose[:, 1].long() == 0].mean()
    assert abs(apart.item()) < 1


def test_bundled_tables_are_what_they_say():
    pytest.importorskip("pyarrow")
    adult, unseen = (genzoo.load_data("adult", split=split) for split in ("train", "test"))
    assert (len(adult), len(unseen)) == (32_561, 16_281)
    assert adult.spec.class_names == ("<=50K", ">50K")
    assert adult.y.float().mean().item() == pytest.approx(0.2408, abs=1e-4)
    missing = adult.spec.facts["missing"]
    assert [n for n, m in zip(adult.spec.facts["name"], missing, strict=True) if m] == [
        "workclass", "occupation", "native-country",
    ]  # fmt: skip
    penguins = genzoo.load_data("penguins")
    assert len(penguins) == 310
    assert penguins.spec.classes == 3


def test_rows_that_are_told_a_class_have_it(tmp_path):
    pytest.importorskip("pyarrow")
    run = genzoo.fit("table-gan", "penguins", tmp_path / "run", options={"conditional": True}, steps=2, progress=False)
    x = run.model.sample(6, labels="Gentoo", seed=0, numbers=True)
    place = run.model.spec.class_names.index("Gentoo")
    assert (x[:, 0].floor() == place).all()
