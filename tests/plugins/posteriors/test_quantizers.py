"""Quantizers without averages: rounding, signs, and books that gradients move."""

import itertools
import math
from functools import partial

import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.metrics.code_use import use
from genzoo.plugins.posteriors.fsq import FSQ
from genzoo.plugins.posteriors.gradient_vq import GradientVQ, SimVQ
from genzoo.plugins.posteriors.gumbel import GumbelVQ
from genzoo.plugins.posteriors.hrq import HRQ
from genzoo.plugins.posteriors.lfq import BSQ, LFQ, bit_entropy, joint_entropy
from genzoo.plugins.posteriors.quantizer import Quantized, Quantizer, uniform_of
from genzoo.plugins.posteriors.residual_vq import ResidualVQ
from genzoo.plugins.posteriors.vq import VQ

GRID = Latent(4, 3)
HEADS = {
    "fsq": lambda: FSQ(GRID),
    "lfq": lambda: LFQ(GRID),
    "bsq": lambda: BSQ(GRID),
    "vq-gradient": lambda: GradientVQ(GRID, GradientVQ.Options(codes=11)),
    "simvq": lambda: SimVQ(GRID, SimVQ.Options(codes=11)),
    "vq": lambda: VQ(GRID, VQ.Options(codes=11)),
    "grouped": lambda: VQ(GRID, VQ.Options(codes=5, groups=2)),
    "residual-vq": lambda: ResidualVQ(GRID, ResidualVQ.Options(codes=7, depth=2)),
}

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.grid": 0,
         "latent.size": 8, "train.batch_size": 16, "train.validation": 0}  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", HEADS)
def test_codes_are_those_of_their_tokens_and_gradients_go_straight_through(name):
    head, z = HEADS[name](), torch.randn(6, 4, 3, 3, requires_grad=True)
    q = head(z)
    code = q.sample(torch.randn(6, *head.noise_shape))
    assert q.tokens.shape == (6, 9 * head.levels)
    assert 0 <= q.tokens.min() <= q.tokens.max() < head.codes
    torch.testing.assert_close(head.embed(q.tokens), code)
    assert torch.equal(q.drawn, q.tokens)
    if name != "residual-vq":  # whose sums know their tokens no more
        assert torch.equal(head.tokens_of(code), q.tokens)
    (through,) = torch.autograd.grad(code.sum(), z, retain_graph=True)
    if name in ("fsq", "bsq"):  # what is rounded is not z itself
        assert (through.abs().sum(1) > 0).all()
    else:
        torch.testing.assert_close(through, torch.ones_like(z))
    # A batch of twice the same has the same loss for each.
    twice = head(torch.cat([z, z]))
    twice.sample(torch.randn(12, *head.noise_shape))
    for term, value in q.cost.items():
        assert value.shape == (6,)
        torch.testing.assert_close(twice.cost[term], value.repeat(2), rtol=1e-4, atol=1e-5)


def test_a_drawn_code_moves_by_the_slopes_of_its_places_and_logits_by_a_softmaxs():
    """As with torch's hard Gumbel softmax times the book; a mean of all codes would move each by all places."""
    head = GumbelVQ(Latent(3, 2), GumbelVQ.Options(codes=5)).train()
    numbers = torch.randn(6, 5, 2, 2, requires_grad=True)
    eps, direction = torch.randn(6, *head.noise_shape), torch.randn(6, 3, 2, 2)
    (book,), q = head.books, head(numbers)
    code = q.sample(eps)
    by_book, by_logits = torch.autograd.grad((code * direction).sum(), [book, numbers])
    slopes, tokens = direction.flatten(2).transpose(1, 2).flatten(0, 1), q.drawn.flatten()
    torch.testing.assert_close(code.flatten(2).transpose(1, 2).flatten(0, 1), book[tokens])
    torch.testing.assert_close(by_book, torch.zeros(5, 3).index_add_(0, tokens, slopes))
    gumbel = -(-torch.special.ndtr(eps[:, 1:]).log()).log().view(24, 5)
    logits = numbers.detach().flatten(2).transpose(1, 2).flatten(0, 1).requires_grad_()
    soft = (logits + gumbel).softmax(-1) @ book.detach()
    (truth,) = torch.autograd.grad((soft * slopes).sum(), logits)
    torch.testing.assert_close(by_logits.flatten(2).transpose(1, 2).flatten(0, 1), truth, rtol=1e-4, atol=1e-5)


def drawn_model(**options):
    """Two places of three codes, or one of two levels: all codes can be enumerated."""
    given = SMALL | {"latent.size": 2, "posterior.codes": 3, "prior": "uniform-codes"} | options
    model = genzoo.create("vae", DataSpec("vector", (3,)), options=given)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.5)
    return model.eval()


@pytest.mark.parametrize("posterior", ["gumbel-vq", "hrq"])
@torch.no_grad()
def test_drawn_codes_have_the_chances_that_log_q_says_and_weights_average_to_the_evidence(posterior):
    own = {"posterior.dim": 1} if posterior == "gumbel-vq" else {"posterior.depth": 2}
    model, x, n = drawn_model(posterior=posterior, **own), torch.randn(1, 3), 20_000
    words = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    codes = model.head.embed(words)
    q = model.posterior(x)
    _, log_q = q.sample_with_log_prob(torch.randn(n, 1, *model.head.noise_shape))
    every = q.log_prob(codes[:, None])[:, 0].double().exp()
    assert every.sum().item() == pytest.approx(1, abs=1e-5)
    index = (q.drawn[:, 0] * torch.tensor([3, 1])).sum(1)
    share = torch.bincount(index, minlength=9).double() / n
    assert ((share - every).abs() < 5 * (every * (1 - every) / n).sqrt() + 1e-4).all()
    torch.testing.assert_close(log_q[:, 0].exp(), every[index].float())
    assert every.max() > 0.15
    weights = model.log_weights(x, None, torch.randn(n, 1, *model.head.noise_shape)).double().exp()[:, 0]
    truth = model.likelihood.log_prob(model.generator(codes), x.expand(9, -1)).double().exp().mean()
    assert abs(weights.mean() / truth - 1) < 5 * weights.std() / truth / math.sqrt(n)


@pytest.mark.parametrize("posterior", ["gumbel-vq", "hrq"])
def test_in_training_the_kl_of_drawn_codes_has_no_noise_but_that_of_levels_above(posterior):
    own = {"posterior.dim": 1} if posterior == "gumbel-vq" else {"posterior.depth": 1, "posterior.dropout": 0.0}
    model, x = drawn_model(posterior=posterior, **own).train(), torch.randn(4, 3)
    found = []
    for _ in range(2):
        q = model.posterior(x)
        z, kl = model.code(q, torch.randn(4, *model.head.noise_shape))
        torch.testing.assert_close(model.head.embed(q.drawn), z)
        found.append(kl)
    torch.testing.assert_close(*found)
    logits = model.head.logits(model.head.books[0], q.numbers)
    p = logits.softmax(-1)
    torch.testing.assert_close(found[0], (p * (3 * p).log()).sum((1, 2)))  # Σ q log(q K), not KL(uniform ‖ q)
    (slope,) = torch.autograd.grad(kl.sum(), q.numbers, retain_graph=True)
    assert (slope.abs().sum() > 0).item()
    before = [t.item() for t in model.head.temperatures]
    for _ in range(3):
        model.head.after_step({})
    assert [t.item() for t in model.head.temperatures] == pytest.approx([t * math.exp(-0.003) for t in before])
    model.head.steps.fill_(1e6)
    assert model.head.temperatures[0].item() == model.head.options.temperature[1]


@torch.no_grad()
def test_with_nothing_left_to_chance_hrq_is_a_residual_quantizer_and_long_codes_below_pay():
    head, z = HRQ(GRID, HRQ.Options(codes=7, depth=3)).eval(), torch.randn(6, 4, 3, 3)
    plain = ResidualVQ(GRID, ResidualVQ.Options(codes=7, depth=3)).eval()
    for own, book in zip(plain.books, head.books, strict=True):
        own.codebook.copy_(book)
    torch.testing.assert_close(head(z).mean, plain(z).mean)
    assert torch.equal(head(z).tokens, plain(z).tokens)
    for book, length in zip(head.books, (4.0, 2.0, 2.0), strict=True):
        book.mul_(length / book.norm(dim=1, keepdim=True))
    torch.testing.assert_close(head(z).cost["norm"], torch.full((6,), 0.25))  # of the third level: 1.5 over 1
    head = HRQ(GRID, HRQ.Options(codes=7, depth=3, dropout=1.0)).train()
    q, eps = head(z), torch.randn(6, *head.noise_shape)
    codes, log_q = q.sample_with_log_prob(eps)
    first = head.kept(uniform_of(eps[:, 0])).sum(1) == 1
    top = head.logits(head.books[0], q.numbers).log_softmax(-1)
    alone = (top.exp() * top).sum((1, 2)) - 2 * 9 * math.log(7)  # as sure as the prior of what is left out
    torch.testing.assert_close(log_q[first], alone[first])
    assert 0 < first.sum() < 6
    outline = head.shaped(torch.nn.functional.embedding(q.drawn.view(6, 9, 3)[..., 0], head.books[0]))
    torch.testing.assert_close(codes[first], outline[first])


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2, 3), (7, 4, 6), (5,)])
def test_numbers_and_codes_of_fsq_are_one_to_one(levels):
    head = FSQ(Latent(len(levels)), FSQ.Options(levels=levels))
    every = torch.arange(head.codes)[:, None]
    codes = head.embed(every)
    assert head.codes == math.prod(levels) == len(codes.unique(dim=0))
    assert torch.equal(head.tokens_of(codes), every)
    for i, count in enumerate(levels):
        values = codes[:, i].unique()
        torch.testing.assert_close(values, (torch.arange(count) - count // 2) / (count // 2))
    line = torch.linspace(-4, 4, 41)
    reached = [head(line[:, None].expand(-1, len(levels))).mean[:, i].unique().numel() for i in range(len(levels))]
    assert reached == list(levels)
    far = head(torch.full((1, len(levels)), 1e6)).mean
    torch.testing.assert_close(far, codes.amax(0, keepdim=True))


def test_fsq_and_entropies_are_vector_quantize_pytorch_s():
    theirs = pytest.importorskip("vector_quantize_pytorch")
    for levels in ((8, 5, 5, 5), (7, 4, 6)):
        z = 2 * torch.randn(64, len(levels), requires_grad=True)
        q = FSQ(Latent(len(levels)), FSQ.Options(levels=levels))(z)
        codes, tokens = theirs.FSQ(list(levels))(z[None])
        torch.testing.assert_close(q.mean, codes[0], rtol=1e-6, atol=1e-6)
        assert torch.equal(q.tokens[:, 0], tokens[0].long())
        own, other = (torch.autograd.grad(c.square().sum(), z)[0] for c in (q.mean, codes))
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    z = torch.randn(128, 8)
    head = LFQ(Latent(8), LFQ.Options(entropy=1.0, temperature=2.0, commitment=0.0))
    lfq = theirs.LFQ(dim=8, entropy_loss_weight=1.0, commitment_loss_weight=0.0, diversity_gamma=1.0)
    loss = lfq(z[None], inv_temperature=0.5, return_loss_breakdown=True)[1]
    expected = loss.per_sample_entropy - loss.batch_entropy
    torch.testing.assert_close(head.train()(z).cost["entropy"].mean(), expected, rtol=1e-4, atol=1e-4)


def test_entropies_of_bits_are_those_of_all_words():
    p = torch.rand(20, 8, dtype=torch.float64)
    words = torch.tensor(list(itertools.product([0, 1], repeat=8)))
    chances = torch.where(words == 1, p[:, None], 1 - p[:, None]).prod(-1)
    torch.testing.assert_close(chances.sum(1), torch.ones(20, dtype=torch.float64))
    own = -(chances * chances.log()).sum(1)
    torch.testing.assert_close(bit_entropy(torch.logit(p)).sum(1), own)
    mean = chances.mean(0)
    torch.testing.assert_close(joint_entropy(p), -(mean * mean.log()).sum())
    assert joint_entropy(p) < sum(joint_entropy(p[:, i : i + 1]) for i in range(8))  # BSQ's, an upper bound
    assert torch.isfinite(bit_entropy(torch.tensor([-1e4, 0.0, 1e4]))).all()
    sure = torch.tensor([[40.0, 0.5], [60.0, -2.0]], requires_grad=True)  # words that no observation has, to rounding
    joint_entropy(torch.sigmoid(sure)).backward()
    free = sure.detach()[:, 1].requires_grad_()
    slope = torch.autograd.grad(joint_entropy(torch.sigmoid(free)[:, None]), free)[0]
    torch.testing.assert_close(sure.grad, torch.stack([torch.zeros(2), slope], 1))
    head, z = LFQ(Latent(8), LFQ.Options(entropy=1.0)), torch.randn(20, 8)
    each = torch.sigmoid(4 * z)
    expected = bit_entropy(4 * z).sum(1) - joint_entropy(each)
    torch.testing.assert_close(head(z).cost["entropy"], expected)


def test_codes_on_the_sphere_have_unit_length_and_are_no_further_than_half_its_width():
    head, z = BSQ(Latent(9, 2)), 100 * torch.randn(50, 9, 2, 2)
    code = head(z).mean
    torch.testing.assert_close(code.norm(dim=1), torch.ones(50, 2, 2))
    gap = head(z).cost["commitment"] / 0.25 / 4
    assert (gap < 2).all()
    torch.testing.assert_close(head(0.01 * z).mean, code)


def test_each_gradient_of_a_learned_book_has_its_own_weight():
    head = GradientVQ(Latent(3, 4), GradientVQ.Options(codes=7, commitment=0.25))
    z = torch.randn(5, 3, 4, 4, requires_grad=True)
    q = head(z)
    loss = sum(q.cost.values()).sum()
    of_z, of_book = torch.autograd.grad(loss, [z, head.vectors_of_book])
    torch.testing.assert_close(of_z, 2 * 0.25 * (z - q.mean).detach())
    raw, expected = head.vectors(z).detach().flatten(0, 1), torch.zeros(7, 3)
    for k in range(7):
        fell = raw[q.tokens.flatten() == k]
        expected[k] = 2 * (head.vectors_of_book[k].detach() - fell).sum(0)
    torch.testing.assert_close(of_book, expected, rtol=1e-4, atol=1e-4)  # not a quarter of it: the swapped weight


def test_gradients_of_simvq_reach_the_map_only_and_move_every_code():
    head = SimVQ(Latent(3, 4), SimVQ.Options(codes=50))
    assert [name for name, _ in head.named_parameters()] == ["map.weight"]
    before = head.codebook.detach().clone()
    sum(head(torch.randn(2, 3, 4, 4)).cost.values()).sum().backward()
    with torch.no_grad():
        head.map.weight -= 0.01 * head.map.weight.grad
    assert ((head.codebook - before).abs().amax(1) > 0).all()


def test_numbers_that_do_not_fit_are_refused_with_those_that_do():
    with pytest.raises(UsageError, match=r"latent\.size.{,4}4"):
        FSQ(Latent(32, 7))
    with pytest.raises(UsageError, match="too many to count"):
        FSQ(Latent(3, 7), FSQ.Options(levels=(4096, 4096, 4096)))
    with pytest.raises(UsageError, match="at most 20 bits"):
        LFQ(Latent(32, 7))
    with pytest.raises(UsageError, match="no vectors of 4"):
        FSQ(Latent(6))
    with pytest.raises(UsageError, match=r"posterior\.groups must divide"):
        VQ(Latent(4, 7), VQ.Options(groups=3))


@pytest.mark.parametrize(
    "recipe", ["fsq-vae", "simvq-vae", "residual-vq-vae", "gumbel-vq-vae", "hrq-vae", "lfq-vae", "bsq-vae"]
)
def test_every_recipe_trains_and_parts_of_a_batch_are_the_whole(recipe, tmp_path):
    fit = partial(genzoo.fit, recipe, "digits", steps=3, device="cpu", progress=False)
    if recipe in ("lfq-vae", "bsq-vae"):
        with pytest.raises(UsageError, match="entropy depend on the whole batch"):
            fit(tmp_path / "parts", options=SMALL | {"train.accumulate": 2})
    models = []
    for parts in (1,) if recipe in ("lfq-vae", "bsq-vae") else (1, 2):
        fit(tmp_path / str(parts), options=SMALL | {"train.accumulate": parts})
        models.append(genzoo.load(tmp_path / str(parts)))
    for (name, a), b in zip(models[0].state_dict().items(), models[-1].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name} {m}")
    x = genzoo.load_data("digits", split="test").x[:4]
    assert models[0].tokens(x).shape == (4, models[0].head.places)
    own = models[0].sample(4, noise=True)
    assert torch.isfinite(models[0].log_likelihood(own, samples=1).values).all()


def two_grids(size=16, **options):
    given = {"generator.width": 4, "encoder.width": 4, "generator.dim": 3, "posterior.features": 5} | options
    return genzoo.create("vq-vae-2", DataSpec.image(1, size, size), options=given | {"posterior.codes": 6})


def test_the_fine_grid_goes_by_the_coarse_one_and_its_gradient_reaches_both():
    model = two_grids()
    head, features = model.head, torch.randn(2, 5, 8, 8, requires_grad=True)
    assert (model.latent.shape, head.places) == ((3 * (16 + 64),), 80)
    q = head(features)
    code = q.sample(torch.randn(2, 2))
    torch.testing.assert_close(head.embed(q.tokens), code)
    assert torch.equal(head.tokens_of(code), q.tokens)
    fine = q.asked[1]
    (reached,) = torch.autograd.grad(fine.sum(), head.coarse[0].weight, retain_graph=True)
    assert reached.abs().sum() > 0  # straight through the coarse codes
    with torch.no_grad():
        head.books[0].codebook.add_(1)
        assert (head(features).asked[1] - fine).abs().max() > 1e-3
        head.after_step(q.sums)
    assert q.sums["count 0"].sum() == 2 * 16
    assert q.sums["count 1"].sum() == 2 * 64
    gaps = [(z - e).square().sum() for z, e in zip(q.asked, q.codes, strict=True)]
    torch.testing.assert_close(q.cost["commitment"].sum(), 0.25 * sum(gaps))
    assert torch.isfinite(model.log_likelihood(model.sample(2, noise=True), samples=1).values).all()
    assert two_grids(9).head.places == 2 * 16
    with pytest.raises(UsageError, match="two grids"):
        genzoo.create("vq-vae-2", DataSpec.image(1, 16, 16), options={"generator": "conv"})


@pytest.mark.parametrize("recipe", ["residual-vq-vae", "fsq-vae", "hrq-vae"])
@torch.no_grad()
def test_a_transformer_scores_the_tokens_that_were_drawn_also_of_several_levels(recipe):
    tiny = {"prior": "transformer", "prior.width": 8, "prior.depth": 1, "prior.heads": 2}
    model = genzoo.create(recipe, DataSpec("vector", (3,)), options=SMALL | tiny).eval()
    x, places = torch.randn(5, 3), model.head.places
    assert places == {"residual-vq-vae": 4, "fsq-vae": 2, "hrq-vae": 4}[recipe]
    q = model.posterior(x)
    z, log_q = q.sample_with_log_prob(torch.randn(2, 5, *model.head.noise_shape))
    assert q.drawn.shape == (2, 5, places)
    log_p = model.prior.log_prob_of(q.drawn)
    torch.testing.assert_close(log_p[1], model.prior.log_prob_of(q.drawn[1]))
    torch.testing.assert_close(model.kl(q, z, log_q), log_q - log_p)
    sample = model.prior.sample(torch.rand(3, *model.prior.noise_shape))
    assert sample.shape == (3, *model.latent.shape)


def test_code_use_and_perplexity_are_of_the_tokens_of_each_level():
    tokens = torch.tensor([[[0, 3]], [[1, 3]], [[2, 3]], [[3, 3]]])
    used, perplexity = use(tokens, 8)
    assert used.tolist() == [4, 1]
    torch.testing.assert_close(perplexity, torch.tensor([4.0, 1.0]).double())
    data = genzoo.load_data("digits", split="test").take(slice(40))
    model = genzoo.create("residual-vq-vae", data.spec, options=SMALL | {"posterior.codes": 4, "posterior.depth": 2})
    report = genzoo.evaluate(model, data, "code-use,code-perplexity")
    expected = [torch.bincount(t, minlength=4) for t in model.tokens(data.x).view(-1, 2).T]
    assert report["code-use"].value == pytest.approx(sum((c > 0).sum().item() for c in expected) / 8)
    shares = [c.double() / c.sum() for c in expected]
    entropy = sum(torch.special.entr(s).sum().item() for s in shares) / 2
    assert report["code-perplexity"].value == pytest.approx(math.exp(entropy))
    plain = genzoo.create("vae", data.spec, options={"generator": "mlp", "encoder": "mlp"})
    with pytest.raises(GenzooError, match="no quantizer"):
        genzoo.evaluate(plain, data, "code-use")


class Theirs(Quantizer):
    """vector-quantize-pytorch's quantizer on our networks, with our weight of the commitment."""

    def __init__(self, module):
        super().__init__(Latent(16, 7))
        self.module, self.codes = module, 128

    def quantized(self, raw):
        value, tokens, *_ = self.module(raw)
        cost = {"commitment": 0.25 * (raw - value.detach()).square().flatten(1).sum(1)}
        return Quantized(tokens, self.shaped(value), cost)

    nearest = look_up = None


@pytest.mark.slow
def test_reconstructions_are_as_good_as_vector_quantize_pytorch_s_on_equal_networks():
    theirs = pytest.importorskip("vector_quantize_pytorch")
    data, held = (genzoo.load_data("fashion-mini", split=s).x for s in ("train", "test"))
    data, held = (x[:2000].float() / 127.5 - 1 for x in (data, held))
    found = {}
    for name in ("ours", "theirs"):
        for seed in range(2):
            torch.manual_seed(seed)
            options = {"latent.size": 16, "posterior.codes": 128, "generator.width": 16, "encoder.width": 16}
            model = genzoo.create("vq-vae", DataSpec.image(1, 28, 28), options=options | {"likelihood": "gaussian"})
            if name == "theirs":
                book = theirs.VectorQuantize(dim=16, codebook_size=128, decay=0.99, threshold_ema_dead_code=1,
                                             kmeans_init=True)  # fmt: skip
                model.head = Theirs(book)
            optimizer = torch.optim.Adam([*model.generator.parameters(), *model.encoder.parameters()], 1e-3)
            random = torch.Generator().manual_seed(seed)
            for _ in range(200):
                x = data[torch.randint(len(data), (64,), generator=random)]
                q = model.head(model.encoder(x))
                z = q.sample(torch.randn(64, *model.head.noise_shape, generator=random))
                error = (model.generator(z) - x).square().flatten(1).sum(1)
                optimizer.zero_grad()
                (error + sum(q.cost.values())).mean().backward()
                optimizer.step()
                model.head.after_step(q.sums)
            with torch.no_grad():
                again = model.eval().generator(model.head(model.encoder(held)).mean)
            found[name, seed] = (again - held).square().mean().item()
    ours, others = ([found[name, seed] for seed in range(2)] for name in ("ours", "theirs"))
    assert sum(ours) < 1.05 * sum(others)
