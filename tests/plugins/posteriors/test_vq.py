"""The quantizer: straight-through gradients, a book that follows what falls to it, and codes that do not die."""

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.posteriors.quantizer import rotated
from genzoo.plugins.posteriors.residual_vq import ResidualVQ
from genzoo.plugins.posteriors.vq import VQ

SMALL = {"generator.width": 8, "encoder.width": 8, "posterior.codes": 16, "train.batch_size": 16}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def quantize(head, z):
    q = head(z)
    return q, q.sample(torch.randn(len(z), 2))


def test_gradients_go_straight_through_and_commitment_moves_the_encoder_only():
    head = VQ(Latent(3, 4), VQ.Options(codes=7))
    z = torch.randn(5, 3, 4, 4, requires_grad=True)
    q, code = quantize(head, z)
    direction = torch.randn_like(code)
    (through,) = torch.autograd.grad((code * direction).sum(), z, retain_graph=True)
    torch.testing.assert_close(through, direction)
    (pull,) = torch.autograd.grad(q.cost["commitment"].sum(), z)
    torch.testing.assert_close(pull, 2 * 0.25 * (z - code).detach())
    assert not any(p.requires_grad for p in head.parameters())
    # It is a sum over one observation's places: twice the batch is twice the observations, nothing else.
    twice = head(torch.cat([z, z])).cost["commitment"]
    torch.testing.assert_close(twice, q.cost["commitment"].repeat(2))


@pytest.mark.parametrize(("latent", "dim", "places"), [(Latent(3, 4), 0, 16), (Latent(6), 2, 3), (Latent(6), 0, 1)])
def test_every_place_gets_its_nearest_code(latent, dim, places):
    head = VQ(latent, VQ.Options(codes=9, dim=dim))
    z = torch.randn(4, *latent.shape)
    q, code = quantize(head, z)
    assert q.tokens.shape == (4, places)
    vectors = head.vectors(z)
    nearest = torch.cdist(vectors, head.books[0].codebook.expand(4, -1, -1)).argmin(-1)
    assert torch.equal(q.tokens, nearest)
    torch.testing.assert_close(code, head.embed(nearest))
    assert torch.equal(head.tokens_of(code.expand(2, 4, *latent.shape)), nearest.expand(2, -1, -1))
    torch.testing.assert_close(head.shaped(vectors), z)


def test_the_book_is_the_average_of_what_falls_to_each_code():
    head = VQ(Latent(2), VQ.Options(codes=5, decay=0.9, dead=0.0, start="normal"))
    (book,) = head.books
    before, count, total = book.codebook.clone(), book.count.clone(), book.total.clone()
    assert torch.equal(count, torch.ones(5))
    assert torch.equal(total, before)  # so that codes which nothing falls to stay where they are
    z = torch.randn(40, 2)
    q, _ = quantize(head, z)
    index = q.tokens[:, 0]
    head.after_step(q.sums)
    for k in range(5):
        fell = z[index == k]
        n = 0.9 * count[k] + 0.1 * len(fell)
        expected = (0.9 * total[k] + 0.1 * fell.sum(0)) / n
        torch.testing.assert_close(book.codebook[k], expected, rtol=1e-4, atol=1e-4)
        assert book.count[k].item() == pytest.approx(n.item())
    torch.testing.assert_close(book.total, 0.9 * total + 0.1 * torch.stack([z[index == k].sum(0) for k in range(5)]))


def test_unused_codes_stay_bounded_and_are_put_on_vectors_of_the_batch_with_averages_anew():
    head = VQ(Latent(2), VQ.Options(codes=64, decay=0.5, start="normal"))
    (book,) = head.books
    with torch.no_grad():
        book.codebook[1:] += 100  # everything falls to one code
        book.total.copy_(book.codebook)
    z, seen = 0.1 * torch.randn(256, 2), []
    for _ in range(60):
        q, _ = quantize(head, z)
        before, sums = book.count.clone(), q.sums
        head.after_step(sums)
        assert book.codebook.norm(dim=1).max() < 200  # sums and counts apart would divide by next to nothing
        moved = (before * 0.5 + 0.5 * sums["count 0"] < 0.1) & (sums["offers 0"] > 0)
        assert (book.count[moved] == 1).all()
        seen.append(len(q.tokens.unique()))
    assert seen[0] == 1
    assert seen[-1] > 30
    single = sums["offers 0"] == 1
    assert (torch.cdist(sums["offered 0"][single], z).amin(1) < 1e-3).all()  # a vector of the batch, not a mean


def test_sums_and_counts_that_start_apart_explode_as_pythae_s_do():
    """Its sums start as the codebook and its counts at 0: after one step an unused code is 1e5 times itself."""
    norms = []
    for count in (1.0, 0.0):
        head = VQ(Latent(4), VQ.Options(codes=512, dead=0.0, start="normal"))
        head.books[0].count.fill_(count)
        q, _ = quantize(head, torch.randn(64, 4))
        head.after_step(q.sums)
        norms.append(head.books[0].codebook.norm(dim=1).max().item())
    assert norms[0] < 10
    assert norms[1] > 1000


def inertia(book, z):
    return (z - book(book.nearest(z))).square().sum(-1).mean().item()


def test_a_k_means_start_puts_codes_on_data_and_the_first_steps_are_turns_of_k_means():
    centres = 5 * torch.randn(16, 3)
    z = centres.repeat(20, 1) + 0.1 * torch.randn(320, 3)
    found = {}
    for start in ("k-means", "normal"):
        torch.manual_seed(1)
        head = VQ(Latent(3), VQ.Options(codes=16, start=start))
        found[start] = [inertia(head.books[0], z)]
        for _ in range(20):
            q, _ = quantize(head, z)
            head.after_step(q.sums)
            found[start].append(inertia(head.books[0], z))
    fell = found["k-means"]
    assert fell[1] < 0.5 * fell[0]
    assert fell[10] < fell[1]
    assert fell[-1] < 0.7 * found["normal"][-1]


def test_rotation_gives_the_code_to_the_bit_and_gradients_their_angle_to_it():
    z, e, g = torch.randn(3, 5, 7, 6).unbind(0)
    z.requires_grad_(True)
    torch.testing.assert_close(rotated(z, e), e, rtol=1e-5, atol=1e-5)
    (back,) = torch.autograd.grad((rotated(z, e) * g).sum(), z)
    stretch = e.norm(dim=-1) / z.norm(dim=-1)
    torch.testing.assert_close((back * z).sum(-1) / z.norm(dim=-1), stretch * (g * e).sum(-1) / e.norm(dim=-1),
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    torch.testing.assert_close(back.norm(dim=-1), stretch * g.norm(dim=-1), rtol=1e-4, atol=1e-5)
    head = VQ(Latent(3, 4), VQ.Options(codes=7, gradient="rotation"))
    q, code = quantize(head, torch.randn(5, 3, 4, 4))
    assert torch.equal(code, head.embed(q.tokens))
    vq = pytest.importorskip("vector_quantize_pytorch.vector_quantize_pytorch")
    theirs = vq.rotate_to(z, e)
    torch.testing.assert_close(rotated(z, e), theirs, rtol=1e-6, atol=1e-6)
    (other,) = torch.autograd.grad((theirs * g).sum(), z)
    torch.testing.assert_close(back, other, rtol=1e-5, atol=1e-5)


def test_one_group_is_vq_and_several_are_books_of_their_parts():
    latent, z = Latent(6, 4), torch.randn(5, 6, 4, 4)
    head = VQ(latent, VQ.Options(codes=9, groups=2))
    q, code = quantize(head, z)
    assert (q.tokens.shape, head.places, head.levels) == ((5, 32), 32, 2)
    alone = [VQ(Latent(3, 4), VQ.Options(codes=9)) for _ in range(2)]
    for own, book in zip(alone, head.books, strict=True):
        own.books[0].load_state_dict(book.state_dict())
    single = [quantize(own, part) for own, part in zip(alone, z.chunk(2, 1), strict=True)]
    torch.testing.assert_close(code, torch.cat([c for _, c in single], 1))
    torch.testing.assert_close(q.cost["commitment"], sum(p.cost["commitment"] for p, _ in single))
    assert torch.equal(q.tokens.view(5, 16, 2)[..., 1], single[1][0].tokens)
    assert torch.equal(head.tokens_of(code), q.tokens)


def test_cosine_codes_have_unit_length_and_stay_so():
    head = VQ(Latent(6, 4), VQ.Options(codes=9, groups=2, distance="cosine"))
    z = torch.randn(5, 6, 4, 4)
    for _ in range(3):
        q, code = quantize(head, z)
        torch.testing.assert_close(head.vectors(code).view(5, 16, 2, 3).norm(dim=-1), torch.ones(5, 16, 2))
        head.after_step(q.sums)
        torch.testing.assert_close(head.books[0].codebook.norm(dim=1), torch.ones(9))
    cosine = torch.nn.functional.cosine_similarity(head.vectors(z)[..., None, :3], head.books[0].codebook, dim=-1)
    assert torch.equal(quantize(head, z)[0].tokens.view(5, 16, 2)[..., 0], cosine.argmax(-1))


def residuals(**options):
    head = ResidualVQ(Latent(4, 4), ResidualVQ.Options(codes=16, depth=3, **options))
    z = torch.randn(32, 4, 4, 4)
    for _ in range(30):
        q = head(z)
        q.sample(torch.randn(len(z), 3))
        head.after_step(q.sums)
    return head, z


def test_every_level_of_residuals_brings_the_sum_nearer_and_is_quantized_for_itself():
    head, z = residuals()
    q = head.eval()(z)
    raw, total, errors = head.vectors(z), 0, []
    for i, book in enumerate(head.books):
        index = torch.cdist(raw - total, book.codebook.expand(32, -1, -1)).argmin(-1)
        assert torch.equal(q.tokens.view(32, 16, 3)[..., i], index)
        total = total + book(index)
        errors.append((raw - total).square().sum(-1).mean().item())
    assert errors[0] > 1.3 * errors[1] > 1.69 * errors[2]
    torch.testing.assert_close(head.vectors(q.mean), total)
    code = q.sample(torch.randn(2, 32, 3))
    assert q.drawn.shape == (2, 32, 48)
    torch.testing.assert_close(head.embed(q.drawn[0]), code[0])
    # A sum knows its tokens no more: what is nearest first need not be of the nearest sum, and a search finds most.
    sums, greedy = head.vectors(code[0]), torch.stack(head.ask(head.vectors(code[0]))[1], -1)
    right = [((head.look_up(t) - sums).abs().amax(-1) < 1e-5).float().mean() for t in (head.nearest(sums), greedy)]
    assert right[0] > 0.99 > 0.9 > right[1]


def test_residuals_trained_on_fewer_levels_pay_and_move_those_only():
    head, z = residuals(dropout=1.0)
    q = head.train()(z)
    code = q.sample(torch.randn(32, 3))
    assert set(q.kept.sum(1).int().tolist()) == {1, 2, 3}
    gaps = [(a - c).square().flatten(1).sum(1) for a, c in zip(q.asked, q.codes, strict=True)]
    torch.testing.assert_close(q.cost["commitment"], 0.25 * (torch.stack(gaps, 1) * q.kept).sum(1))
    first = q.kept.sum(1) == 1
    torch.testing.assert_close(head.vectors(code)[first], q.codes[0][first])
    for i in range(3):
        assert q.sums[f"count {i}"].sum() == 16 * q.kept[:, i].sum()
    torch.testing.assert_close(head.eval()(z).sample(torch.randn(32, 3)), head.embed(q.tokens))


def test_parts_of_a_batch_make_the_same_book(tmp_path):
    books = []
    for parts in (1, 2):
        run = genzoo.fit("vq-vae", "digits", tmp_path / str(parts), steps=20, device="cpu", progress=False,
                         options={**SMALL, "generator": "mlp", "encoder": "mlp", "latent.size": 4, "latent.grid": 2,
                                  "train.accumulate": parts, "train.validation": 0})  # fmt: skip
        assert run is not None
        books.append(genzoo.load(tmp_path / str(parts)).head.books[0].codebook)
    torch.testing.assert_close(*books, rtol=1e-4, atol=1e-5)
    assert (books[0] - torch.zeros_like(books[0])).abs().max() > 0


@pytest.mark.parametrize("conditional", [False, True])
def test_a_model_of_a_grid_of_codes_has_tokens_and_samples_score_like_data(tmp_path, conditional):
    genzoo.fit("vq-vae", "digits", tmp_path / "run", steps=30, device="cpu", progress=False,
               options={**SMALL, "latent.size": 4, "latent.grid": 7, "conditional": conditional,
                        "train.average": 100})  # fmt: skip
    model = genzoo.load(tmp_path / "run")
    data = genzoo.load_data("digits", split="test")
    x, y = data.x[:12], data.y[:12] if conditional else None
    tokens = model.tokens(x, y)
    assert tokens.shape == (12, 49)
    codes = model.encode(x, y)
    assert codes.shape == (12, 4, 7, 7)
    torch.testing.assert_close(model.head.embed(tokens), codes)
    found = model.log_likelihood(x, y, samples=3)
    assert (found.values < 0).all()  # a probability of 8-bit pixels, and of the code: a bound in nats
    torch.testing.assert_close(found.standard_error, torch.zeros_like(found.standard_error), atol=1e-4, rtol=0)
    kl = model.posterior_numbers(x, y)[1]
    torch.testing.assert_close(kl, torch.full_like(kl, 49 * torch.tensor(16.0).log().item()))
    own, labels = next(model.sample_batches(12, noise=True))
    assert torch.isfinite(model.log_likelihood(own, labels, samples=1).values).all()
    path = model.interpolate(codes[:2], codes[2:4], 3, labels=None if y is None else y[:2])
    assert path.shape == (2, 3, *model.spec.shape)
    with pytest.raises(UsageError, match="truncation"):
        model.sample(2, truncation=0.5)


def test_what_does_not_go_together_is_refused():
    spec = DataSpec.image(1, 16, 16)
    with pytest.raises(UsageError, match="codes are discrete"):
        genzoo.create("vq-vae", spec, options={"prior": "normal", "latent.grid": 4})
    with pytest.raises(UsageError, match="over tokens"):
        genzoo.create("vae", spec, options={"prior": "uniform-codes"})
    with pytest.raises(UsageError, match="grid of 8x8 or 4x4"):
        genzoo.create("vq-vae", spec, options={"latent.grid": 5})
    with pytest.raises(UsageError, match="no vectors of 4"):
        genzoo.create("vq-vae", spec, options={"latent.grid": 0, "latent.size": 6, "posterior.dim": 4})
    with pytest.raises(UsageError, match="has no tokens"):
        genzoo.create("vae", spec).tokens(torch.rand(2, 1, 16, 16))
