"""Likelihoods of texts: probabilities of all texts sum to one, teacher forcing is stepping, padding says nothing."""

import itertools

import pytest
import torch

from genzoo.core.math.tables import from_levels, nucleus, to_levels
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.ar_conv import ConvolutionalLikelihood
from genzoo.plugins.likelihoods.ar_gru import RecurrentLikelihood
from genzoo.plugins.likelihoods.ar_transformer import TransformerLikelihood
from genzoo.plugins.modalities import alphabet as tokens

FACTS = {"tokens": "characters", "alphabet": "abc"}
SMALL = DataSpec("text", (5,), 6, facts=FACTS)
KINDS = [RecurrentLikelihood, TransformerLikelihood, ConvolutionalLikelihood]


def made(kind, spec=SMALL, **options):
    torch.manual_seed(0)
    found = kind(spec, kind.Options(hidden=16, features=4, **options)).eval()
    for p in found.parameters():
        p.data.mul_(2)  # far from uniform
    return found


def every_text(most: int) -> list[str]:
    return ["".join(t) for n in range(most + 1) for t in itertools.product("abc", repeat=n)]


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_texts_sum_to_one(kind) -> None:
    likelihood, texts = made(kind), every_text(4)
    rows = tokens.encode(texts, FACTS, 5)
    x = of(SMALL).to_model(SMALL, rows)
    params = torch.randn(1, 4, generator=torch.Generator().manual_seed(1))
    # Token 2, a character that the alphabet lacks, is the rest: it is enumerated too.
    more = ["".join(t) for n in range(5) for t in itertools.product("abc?", repeat=n)]
    x = of(SMALL).to_model(SMALL, tokens.encode(more, FACTS, 5))
    with torch.no_grad():
        total = likelihood.log_prob(params.expand(len(x), -1), x).double().exp().sum()
    assert abs(float(total) - 1) < 1e-5
    with torch.no_grad():  # without the texts that the longest place ends, it is less
        part = likelihood.log_prob(params.expand(len(rows), -1), of(SMALL).to_model(SMALL, rows)).exp().sum()
    assert float(part) < 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_teacher_forcing_is_stepping(kind) -> None:
    likelihood = made(kind)
    x = of(SMALL).random(SMALL, 9)
    params = torch.randn(9, 4)
    with torch.no_grad():
        whole, state = likelihood.logits(params, x), {}
        for place in likelihood.places():
            step = likelihood.next_logits(params, x, place, state)
            torch.testing.assert_close(step, whole[:, place[0]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_sees_only_what_is_before_it(kind) -> None:
    likelihood, params = made(kind), torch.randn(1, 4)
    a, b = (of(SMALL).to_model(SMALL, tokens.encode([t], FACTS, 5)) for t in ("abca", "abba"))
    with torch.no_grad():
        one, two = likelihood.logits(params, a), likelihood.logits(params, b)
    assert torch.equal(one[:, :3], two[:, :3])
    assert not torch.equal(one[:, 3], two[:, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind) -> None:
    longer = DataSpec("text", (12,), 6, facts=FACTS)
    short, long = made(kind), made(kind, longer)
    weights = short.state_dict()
    if kind is TransformerLikelihood:  # which learns each place
        long.place.data[:5] = weights.pop("place")
    long.load_state_dict(weights, strict=False)
    texts = ["", "a", "cab"]
    params = torch.randn(3, 4)
    with torch.no_grad():
        found = [
            likelihood.log_prob(params, of(spec).to_model(spec, tokens.encode(texts, FACTS, spec.shape[0])))
            for likelihood, spec in ((short, SMALL), (long, longer))
        ]
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-6)


def test_padding_changes_no_code() -> None:
    from genzoo.core.networks import Ports
    from genzoo.plugins.nets.text_gru import TextEncoder

    torch.manual_seed(0)
    encoder = TextEncoder(Ports((5,), (4,), levels=6))
    rows = tokens.encode(["", "a", "cab"], FACTS, 5)
    more = torch.nn.functional.pad(rows, (0, 7))
    with torch.no_grad():
        a, b = (encoder(of(SMALL).from_rows(SMALL, r)) for r in (rows, more))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_distribution(kind) -> None:
    """χ² of the first token, and no padding before the end."""
    likelihood, params = made(kind), torch.randn(1, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        x = likelihood.sample(params.expand(4096, -1), torch.Generator().manual_seed(3))
        p = torch.softmax(likelihood.logits(params, x[:1])[0, 0], -1)
    drawn = likelihood.tokens(x)
    counts = drawn[:, 0].bincount(minlength=6)
    there = p > 0
    assert float(((counts - 4096 * p)[there].square() / (4096 * p[there])).sum()) < 25
    assert int(counts[~there].sum()) == 0
    ended = (drawn == tokens.END).float().cumsum(1) > 0
    assert torch.equal(drawn == tokens.PAD, ended & (drawn != tokens.END))
    assert bool(((drawn == tokens.END).sum(1) == 1).all())


def test_word_dropout_is_for_training_and_inputs_only() -> None:
    likelihood = made(RecurrentLikelihood, word_dropout=0.5)
    x, params = of(SMALL).random(SMALL, 64), torch.zeros(64, 4)
    with torch.no_grad():
        assert torch.equal(likelihood.log_prob(params, x), likelihood.log_prob(params, x))
        heard = likelihood.train().log_prob(params, x)
        assert not torch.equal(heard, likelihood.eval().log_prob(params, x))
        assert bool(heard.isfinite().all())  # targets and the end are as they were


def test_a_nucleus_keeps_the_likeliest() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log()
    assert torch.isinf(nucleus(logits, 0.5)).tolist() == [[True, False, True]]
    assert torch.isinf(nucleus(logits, 0.7)).tolist() == [[True, False, False]]


def test_levels_are_found_again_and_noise_goes_to_the_nearest() -> None:
    for levels in (2, 6, 256):
        k = torch.arange(levels)
        assert torch.equal(to_levels(from_levels(k, levels), levels), k)
    assert to_levels(torch.tensor([-3.0, 1.5, 0.19]), 6).tolist() == [0, 5, 3]
