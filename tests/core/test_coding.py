"""Compression: tables against likelihoods, the stack against entropies, files against what went in."""

import math
import zlib
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import torch

import genzoo
from genzoo import DataSpec
from genzoo.core.errors import GenzooError
from genzoo.core.math.tables import LEAST, ONE, Logistic, from_levels, inverted, logistic_table, snapped
from genzoo.core.modality import of

pytest.importorskip("constriction")
from genzoo.core.coding.codec import Codec
from genzoo.core.coding.stack import CELLS, Stack, rounded
from genzoo.core.coding.whole import from_mixed_radix, mixed_radix

MLP = {"generator": "mlp", "encoder": "mlp", "latent.size": 3}
PARTS = {
    "discretized-logistic": {},
    "per-pixel": {"likelihood.scale": "per-pixel"},
    "bernoulli": {},
    "logistic-mixture": {"likelihood.components": 3},
    "pixelcnn": {"likelihood.hidden": 4, "likelihood.layers": 1},
    "row-made": {"likelihood.hidden": 4, "likelihood.above": 1},
    "multiscale": {"likelihood.hidden": 4, "likelihood.layers": 1},
}


def built(name: str, channels: int = 1, classes: int = 0, spread: float = 0.1, **more) -> genzoo.Model:
    levels = 2 if name == "bernoulli" else 6
    spec = DataSpec.image(channels, 3, 5, levels=levels, classes=classes)
    kind = "discretized-logistic" if name == "per-pixel" else name
    options = {"likelihood": kind, "conditional": classes > 0, **MLP, **PARTS[name], **more}
    model = genzoo.create("vae", spec, options=options)
    with torch.no_grad():
        for p in model.parameters():  # away from where everything starts alike
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * spread)
    return model


def observations(model: genzoo.Model, n: int) -> torch.Tensor:
    """Draws of the model, in model space."""
    z = torch.randn(n, *model.latent.shape, generator=torch.Generator().manual_seed(1))
    y = torch.arange(n) % model.classes if model.classes else None
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        return model.likelihood.sample(model.generator(z, y), g)


def by_steps(steps, symbols: torch.Tensor, check) -> torch.Tensor:
    """The log-probability of symbols as the steps have it."""
    found, seen = torch.zeros(len(symbols), dtype=torch.float64), []
    try:
        where, p = next(steps)
        while True:
            check(p)
            seen += where.tolist()
            found += p.double().gather(-1, symbols[:, where, None]).log().sum((1, 2))
            where, p = steps.send(symbols[:, where])
    except StopIteration:
        assert sorted(seen) == list(range(symbols.shape[1]))  # every place once
        return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PARTS)
def test_steps_say_what_the_likelihood_says(name: str, channels: int) -> None:
    model = built(name, channels)
    params = model.generator(torch.randn(5, 3), None).detach()
    x = model.likelihood.sample(params, torch.Generator().manual_seed(0)).detach()
    with torch.no_grad():
        found = by_steps(model.likelihood.steps(params), model.likelihood.symbols(x),
                         lambda p: torch.testing.assert_close(p.sum(-1), torch.ones_like(p.sum(-1))))  # fmt: skip
        assert torch.allclose(found.float(), model.likelihood.log_prob(params, x), rtol=1e-4, atol=1e-3)
    assert torch.equal(model.likelihood.observed(model.likelihood.symbols(x)), x)


def test_a_logistic_table_is_differences_of_the_distribution() -> None:
    table = logistic_table(torch.tensor([0.2]), torch.tensor([-1.0]), 4)[0]
    edges = [-math.inf, -2 / 3, 0.0, 2 / 3, math.inf]
    cdf = [1 / (1 + math.exp(-(e - 0.2) / math.exp(-1.0))) if abs(e) < 9 else float(e > 0) for e in edges]
    assert torch.allclose(table, torch.tensor([b - a for a, b in pairwise(cdf)], dtype=torch.float64), atol=1e-7)


def test_whole_numbers_are_the_same_distribution_and_are_found() -> None:
    g = torch.Generator().manual_seed(0)
    for levels in (2, 6, 256):
        mean = torch.cat([torch.rand(200, generator=g) * 3 - 1.5, torch.tensor([-9.0, 9.0, 0.0, 0.0])])[:, None]
        log_scale = torch.cat([torch.rand(200, generator=g) * 6 - 7, torch.tensor([-7.0, -7.0, 1.0, -7.0])])[:, None]
        table = Logistic(mean, log_scale, levels)
        edges = torch.stack([table.below(torch.full((204,), k)) for k in range(levels + 1)], 1)
        sizes = edges.diff(dim=1) + LEAST
        assert (sizes >= LEAST).all()
        assert (edges[:, 0] == 0).all()
        assert (sizes.sum(1) == ONE).all()
        right = logistic_table(mean[:, 0], log_scale[:, 0], levels)
        assert (right * (right / (sizes / ONE)).clamp(min=1e-30).log()).sum(1).max() < 1.5e-3  # nats lost by rounding
        shared = levels * LEAST
        ends = (edges[:, 1::9].T + shared - 1).clamp(min=0)
        random = (torch.randint(0, ONE, (9, 204), generator=g), torch.randint(0, shared, (9, 204), generator=g))
        for counts in ((edges[:, :-1:9].T + shared).clamp(max=ONE - 1), ends, *random):
            for row in counts.double():
                symbols, within, found = table.find(row)
                assert ((within >= 0) & (within < found)).all()
                assert (found == sizes.gather(1, symbols[:, None])[:, 0]).all()
                # Each symbol has as many counts as it has places, and they are these: no two have one in common.
                assert (table.counts(symbols, table.below(symbols), within) == row).all()


@pytest.mark.parametrize("scale", [0.02, 0.5, 50.0])
def test_whole_numbers_take_the_entropy(scale: float) -> None:
    mean = torch.linspace(-1, 1, 5000)[:, None]
    table, stack = Logistic(mean, torch.full_like(mean, math.log(scale)), 256), Stack()
    p = logistic_table(mean[:, 0], torch.full((5000,), math.log(scale)), 256)
    symbols = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(0))
    stack.push_uniform(torch.randint(0, 2**20, (10_000,), generator=torch.Generator().manual_seed(1)), 2**20)
    before, content = stack.bits, stack.words
    stack.push_counts(symbols, table)
    bits = -p.gather(1, symbols).log2().sum().item()
    assert stack.bits - before == pytest.approx(bits, rel=2e-3, abs=64)
    assert torch.equal(stack.pop_counts(table), symbols)
    assert (stack.words == content).all()


@pytest.mark.parametrize("prior", ["uniform-codes", "transformer", "pixelcnn"])
def test_a_priors_steps_are_what_it_scores_and_draws(prior: str) -> None:
    model = token_model(prior)
    tokens = torch.randint(0, 5, (4, model.head.places), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = by_steps(model.prior.steps(4), tokens, lambda p: None)
        assert torch.allclose(found.float(), model.prior.log_prob_of(tokens), atol=1e-4)
        u = torch.rand(4, model.head.places)
        assert torch.equal(model.head.embed(inverted(model.prior.steps(4), u)), model.prior.sample(u))


def token_model(prior: str = "transformer") -> genzoo.Model:
    small = {"transformer": {"prior.width": 8, "prior.depth": 1, "prior.heads": 2},
             "pixelcnn": {"prior.width": 4, "prior.depth": 1, "prior.kernel": 3}}.get(prior, {})  # fmt: skip
    return genzoo.create("vq-vae", DataSpec.image(1, 8, 8), options={
        "prior": prior, "posterior.codes": 5, "latent.grid": 4, "latent.size": 2, **small})  # fmt: skip


@pytest.mark.parametrize("k", [3, 7])
def test_the_stack_takes_the_entropy(k: int) -> None:
    p = torch.softmax(torch.arange(k) * 0.7, 0)
    symbols = torch.multinomial(p, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    table, stack = rounded(p.expand(20_000, k)), Stack()
    stack.push(symbols, table)
    bits = -p[symbols].log2().sum().item()
    assert abs(stack.bits / bits - 1) < 2e-3
    assert torch.equal(Stack(stack.words).pop(table), symbols)


def test_a_popped_code_is_a_draw_and_costs_what_it_gave() -> None:
    mean, scale = torch.full((4000,), 0.3), torch.full((4000,), 0.5)
    stack = Stack(torch.randint(1, 2**31, (4000,), generator=torch.Generator().manual_seed(0)).numpy().astype("uint32"))
    before, words = stack.bits, stack.words
    cells = stack.pop_cells(mean, scale)
    assert abs(cells.double().mean() / CELLS - 0.3) < 0.03
    assert abs(cells.double().std() / CELLS - 0.5) < 0.03
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 0.25) + math.log2(CELLS)
    assert abs((before - stack.bits) / 4000 / entropy - 1) < 0.02
    stack.push_cells(cells, mean, scale)
    assert (stack.words == words).all()


@pytest.mark.parametrize("n", [1, 7, 70])
@pytest.mark.parametrize("name", PARTS)
def test_everything_comes_back(name: str, n: int) -> None:
    model = built(name, channels=3, classes=3)
    x = model.likelihood.symbols(observations(model, n)).view(n, *model.spec.shape).to(torch.uint8)
    labels = torch.arange(n) % 3
    content = model.compress(x, labels, portable=n == 7)
    assert torch.equal(model.decompress(content), x)


def test_net_bits_are_the_bound() -> None:
    model = built("discretized-logistic", spread=0.02)
    with torch.no_grad():
        model.generator.head.weight *= 0.1  # where codes say little, the bound has little variance
    x = (observations(model, 1000) + 1) / 2
    found = torch.stack([model.log_likelihood(x, samples=1, seed=s).values for s in range(8)])
    bound, error = -found.mean().item() / math.log(2), found.std(0).mean().item() / math.log(2) / math.sqrt(1000)
    assert error < 0.01 * bound / 3
    codec, stack = Codec(model), Stack()
    codec.push(stack, codec.symbols(x * 2 - 1, None), None)
    assert abs(codec.stack.bits / 1000 / bound - 1) < 0.01


def test_tokens_take_what_the_prior_says() -> None:
    model = token_model()
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    content = model.compress(x)
    assert torch.equal(model.decompress(content), (model.reconstruct(x) * 255).round().to(torch.uint8))
    tokens = model.tokens(x)
    with torch.no_grad():
        bits = -model.prior.log_prob_of(tokens).sum().item() / math.log(2)
    assert bits / 8 < len(content) < bits / 8 + 150


def test_a_small_file_has_a_header_of_fifteen_bytes() -> None:
    """Magic 2, facts 1, count 1 or 2, weights 3, name 1, checksum 4, and bits of the last byte."""
    spec = DataSpec("text", (9,), 15, facts={"tokens": "characters", "alphabet": "abcdefghinI "})
    model = genzoo.create("lm", spec, options={"likelihood.hidden": 4, "likelihood.embed": 4})
    for n in (1, 200):
        texts = ["bad face", "I", "", "aI da"] * (n // 4) or ["beg"]
        rows = of(spec).to_model(spec, of(spec).given(spec, texts))
        with torch.no_grad():
            params = model.generator(torch.empty(len(texts), 0), None)
            bits = -model.likelihood.log_prob(params, rows).double().sum().item() / math.log(2)
        assert bits / 8 + 12 < len(model.compress(texts)) < bits / 8 + 15.5


def test_what_is_damaged_is_refused() -> None:
    model = built("discretized-logistic")
    x = (observations(model, 9) + 1) / 2
    content = model.compress(x)
    for at in [*range(14), *range(14, len(content), 17)]:
        flipped = bytearray(content)
        flipped[at] ^= 4
        with pytest.raises(GenzooError):
            model.decompress(bytes(flipped))
        with pytest.raises(GenzooError):
            model.decompress(content[:at])
    many = model.compress(x[torch.arange(2100) % 9])  # which is no small file, and has a checksum of its bytes
    changed = many[:-5] + bytes([many[-5] ^ 1])
    with pytest.raises(GenzooError, match="was cut or changed; make it again"):
        model.decompress(changed + many[-4:])
    with pytest.raises(GenzooError, match="does not decode"):
        model.decompress(changed + zlib.crc32(changed).to_bytes(4, "little"))
    with pytest.raises(GenzooError, match="cut or changed"):
        model.decompress(many[:15] + zlib.crc32(many[:15]).to_bytes(4, "little"))
    other = built("discretized-logistic", **{"latent.size": 2})
    with pytest.raises(GenzooError, match="other weights"):
        other.decompress(content)


def test_what_cannot_be_compressed_says_why() -> None:
    grey = DataSpec.image(1, 8, 8)
    with pytest.raises(GenzooError, match="density"):
        genzoo.create("vae", grey, options={"likelihood": "gaussian"}).compress(torch.rand(2, 1, 8, 8))
    with pytest.raises(GenzooError, match="density of real numbers, or none"):
        genzoo.create("gan", grey).compress(torch.rand(2, 1, 8, 8))
    with pytest.raises(GenzooError, match="lie between"):
        genzoo.create("vae", grey).compress(torch.rand(2, 1, 8, 8))
    with pytest.raises(GenzooError, match="normal posterior"):
        genzoo.create("vae", grey, options={"prior": "mixture"}).compress(torch.zeros(2, 1, 8, 8))


def test_numbers_on_the_grid_agree() -> None:
    x = torch.randn(10_000, dtype=torch.float64)
    off = x + 1e-13 * torch.randn(10_000, dtype=torch.float64)
    assert torch.equal(snapped(x), snapped(off))
    assert (snapped(x) - x).abs().max() <= 2**-12


@pytest.mark.parametrize("name", ["vq-vae", "hyperprior"])
def test_a_rounded_code_takes_what_its_prior_says(name: str) -> None:
    model = token_model() if name == "vq-vae" else hyperprior()
    tokens = torch.randint(0, model.head.codes, (3, model.head.places), generator=torch.Generator().manual_seed(0))
    tokens = tokens if name == "vq-vae" else (tokens - 127) % 5 + 125
    with torch.no_grad():
        found = by_steps(model.prior.steps(3), tokens, lambda p: None)
        said = model.prior.log_prob_of(tokens)
    assert torch.allclose(found.float(), said, rtol=0.01)  # scales are the nearest of a table


def hyperprior() -> genzoo.Model:
    options = {"latent.grid": 4, "latent.size": 5, "prior.side": 2, "prior.width": 4}
    return genzoo.create("hyperprior", DataSpec.image(1, 8, 8), options=options)


def test_mixed_radix_takes_what_its_possibilities_take() -> None:
    g = torch.Generator().manual_seed(0)
    sizes = [1, 2, 10**18, *torch.randint(1, 1000, (3000,), generator=g).tolist()]
    digits = [0, 1, 10**18 - 1, *(int(torch.randint(s, (1,), generator=g)) for s in sizes[3:])]
    content = mixed_radix(digits, sizes)
    assert from_mixed_radix(content, sizes) == digits
    assert len(content) * 8 < sum(map(math.log2, sizes)) + 24


def test_every_character_of_texts_comes_back() -> None:
    texts = ["In the beginning", "", "x\u4e2dy", "long " * 40, "na\u00efve\n\r\0", "\U0001f600"]
    for tokens in ("characters", "bytes"):
        facts = {"tokens": tokens, "alphabet": "abcdefghinI " if tokens == "characters" else ""}
        spec = DataSpec("text", (9,), 15 if tokens == "characters" else 246, facts=facts)
        model = genzoo.create("lm", spec, options={"likelihood.hidden": 4, "likelihood.embed": 4})
        for some in (texts, texts[1:2], texts * 4):
            assert model.decompress(model.compress(some)) == some
    with pytest.raises(GenzooError, match="surrogate"):
        model.compress(["half a character \ud800"])


def test_steps_of_a_text_say_what_the_likelihood_says() -> None:
    spec = DataSpec("text", (6,), 7, facts={"tokens": "characters", "alphabet": "abc "})
    model = genzoo.create("lm", spec, options={"likelihood.hidden": 4, "likelihood.embed": 4})
    rows = model.likelihood.tokens(of(spec).to_model(spec, of(spec).given(spec, ["ab", "", "cabab"])))
    params = model.generator(torch.empty(3, 0), None).detach()
    with torch.no_grad():
        found = by_steps(model.likelihood.steps(params), rows, lambda p: None)
        assert torch.allclose(found.float(), model.likelihood.log_prob(params, from_levels(rows, 7)), atol=1e-4)


def test_every_cell_of_a_table_comes_back() -> None:
    pa = pytest.importorskip("pyarrow")
    spec = genzoo.load_data(table(pa, 300, 0)).spec
    model = genzoo.create("table-ar", spec, options={"likelihood.hidden": 8})
    coded = genzoo.create("vae", spec, options={**MLP, "generator.width": 8, "encoder.width": 8})
    few = table(pa, 5, 5)
    assert coded.decompress(coded.compress(few)).column("cat").to_pylist() == few.column("cat").to_pylist()
    for n in (1, 300):
        given = table(pa, n, n)
        back = model.decompress(model.compress(given))
        assert back.schema == given.schema
        for name in given.column_names:
            columns = [v.column(name) for v in (given, back)]
            if pa.types.is_timestamp(columns[0].type):
                columns = [c.cast(pa.int64()) for c in columns]
            assert str(columns[0].to_pylist()) == str(columns[1].to_pylist()), name
    with pytest.raises(GenzooError, match="more"):
        model.compress(given.append_column("more", given.column("id")))
    with pytest.raises(GenzooError, match="no column 'cat'"):
        model.compress(given.drop_columns(["cat"]))


def table(pa, n: int, seed: int):
    """Every type of column, with cells that are missing, and in other draws values that no other has."""
    g = np.random.default_rng(seed)
    gaps = lambda values, kind: pa.array([None if g.random() < 0.1 else v for v in values.tolist()], kind)  # noqa: E731
    return pa.table({
        "id": pa.array(range(1, n + 1)),
        "key": pa.array([f"u{v}" for v in g.permutation(n)]),
        "cat": gaps(g.choice(["a", "b ", " c", f"new {seed}"], n), pa.string()),
        "dictionary": gaps(g.choice(["x", "y"], n), pa.string()).dictionary_encode(),
        "bool": gaps(g.random(n) < 0.3, pa.bool_()),
        "small": gaps(g.integers(0, 9, n), pa.int8()),
        "whole": pa.array(g.integers(-(10**6), 10**6, n)),
        "large": pa.array(g.integers(-(2**62), 2**62, n)),
        "double": gaps(g.normal(size=n), pa.float64()),
        "float": pa.array(g.normal(size=n).astype("f4")),
        "cents": pa.array(np.round(g.exponential(50, n), 2)),
        "odd": pa.array([math.nan if v < 0.2 else -0.0 if v < 0.3 else v for v in g.random(n)]),
        "date": pa.array(g.integers(0, 3000, n).astype("i4"), pa.date32()),
        "time": pa.array(g.integers(0, 86400, n).astype("i4"), pa.time32("s")),
        "stamp": pa.array(g.integers(0, 2**60, n), pa.timestamp("ns")),
        "zone": pa.array(g.integers(0, 2**40, n), pa.timestamp("us", tz="UTC")),
        "decimal": pa.array([Decimal(int(v)).scaleb(-2) for v in g.integers(0, 10**7, n)], pa.decimal128(12, 2)),
        "same": pa.array(["k"] * n),
        "nothing": pa.nulls(n),
    })  # fmt: skip
