"""The quantizer: straight-through gradients, a book that follows what falls to it, and codes that do not die."""

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec, Latent
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
    nearest = torch.cdist(vectors, head.codebook.expand(4, -1, -1)).argmin(-1)
    assert torch.equal(q.tokens, nearest)
    torch.testing.assert_close(code, head.embed(nearest))
    assert torch.equal(head.tokens_of(code.expand(2, 4, *latent.shape)), nearest.expand(2, -1, -1))
    torch.testing.assert_close(head.shaped(vectors), z)


def test_the_book_is_the_average_of_what_falls_to_each_code():
    head = VQ(Latent(2), VQ.Options(codes=5, decay=0.9, dead=0.0))
    before, count, total = head.codebook.clone(), head.count.clone(), head.total.clone()
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
        torch.testing.assert_close(head.codebook[k], expected, rtol=1e-4, atol=1e-4)
        assert head.count[k].item() == pytest.approx(n.item())
    torch.testing.assert_close(head.total, 0.9 * total + 0.1 * torch.stack([z[index == k].sum(0) for k in range(5)]))


def test_unused_codes_stay_bounded_and_are_put_on_vectors_of_the_batch_with_averages_anew():
    head = VQ(Latent(2), VQ.Options(codes=64, decay=0.5))
    with torch.no_grad():
        head.codebook[1:] += 100  # everything falls to one code
        head.total.copy_(head.codebook)
    z, seen = 0.1 * torch.randn(256, 2), []
    for _ in range(60):
        q, _ = quantize(head, z)
        before = head.count.clone()
        head.after_step(q.sums)
        assert head.codebook.norm(dim=1).max() < 200  # sums and counts apart would divide by next to nothing
        moved = (before * 0.5 + 0.5 * q.sums["count"] < 0.1) & (q.sums["offers"] > 0)
        assert (head.count[moved] == 1).all()
        seen.append(len(q.tokens.unique()))
    assert seen[0] == 1
    assert seen[-1] > 30
    single = q.sums["offers"] == 1
    assert (torch.cdist(q.sums["offered"][single], z).amin(1) < 1e-3).all()  # a vector of the batch, not a mean


def test_parts_of_a_batch_make_the_same_book(tmp_path):
    books = []
    for parts in (1, 2):
        run = genzoo.fit("vq-vae", "digits", tmp_path / str(parts), steps=20, device="cpu", progress=False,
                         options={**SMALL, "generator": "mlp", "encoder": "mlp", "latent.size": 4, "latent.grid": 2,
                                  "train.accumulate": parts, "train.validation": 0})  # fmt: skip
        assert run is not None
        books.append(genzoo.load(tmp_path / str(parts)).head.codebook)
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
    with pytest.raises(UsageError, match=r"posterior\.dim must divide"):
        genzoo.create("vq-vae", spec, options={"latent.grid": 0, "latent.size": 6, "posterior.dim": 4})
    with pytest.raises(UsageError, match="has no tokens"):
        genzoo.create("vae", spec).tokens(torch.rand(2, 1, 16, 16))
