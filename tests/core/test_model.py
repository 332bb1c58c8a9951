"""What a model does for its user: samples, codes, paths, labels, and estimates that depend on their seed only."""

import numpy as np
import pytest
import torch
from scipy import stats

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec

IMAGE = DataSpec.image(1, 8, 8, classes=3)


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def vae(game):
    """A conditional one of 8×8 pixels, untrained."""
    return game("vae", IMAGE, conditional=True).nets.model


PIXELS = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10) % 3


def test_encoding_and_reconstruction_are_the_mean_unless_asked_to_sample(vae):
    codes = vae.encode(PIXELS, LABELS)
    q = vae.posterior(2 * PIXELS - 1, LABELS)
    torch.testing.assert_close(codes, q.mean.detach())
    assert torch.equal(codes, vae.encode(PIXELS, LABELS))
    again = vae.reconstruct(PIXELS, LABELS)
    assert torch.equal(again, vae.reconstruct(PIXELS, LABELS))
    torch.testing.assert_close(again, vae.decode(codes, LABELS))
    first, same, other = (vae.encode(PIXELS, LABELS, sample=True, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert (first - other).abs().min() > 0
    many = vae.encode(PIXELS[:1].expand(5000, 1, 8, 8), torch.zeros(5000, dtype=torch.int64), sample=True)
    sd = (q.log_var[0] / 2).exp().detach()
    z = (many - codes[0]) / sd
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    torch.testing.assert_close(vae.reconstruct(PIXELS, LABELS, sample=True, seed=1), vae.decode(first, LABELS))


def test_the_seed_alone_decides_what_is_drawn_from_the_posterior(vae):
    whole = vae.encode(PIXELS, LABELS, sample=True, seed=4)
    torch.testing.assert_close(vae.encode(PIXELS, LABELS, sample=True, seed=4, batch_size=3), whole)


def test_8_bit_and_floats_are_the_same_observations(vae):
    bytes_ = (PIXELS * 255).round().to(torch.uint8)
    torch.testing.assert_close(vae.encode(bytes_, LABELS), vae.encode(bytes_.float() / 255, LABELS))
    torch.testing.assert_close(vae.encode(bytes_.numpy(), LABELS.numpy()), vae.encode(bytes_, LABELS.tolist()))


def test_whole_numbers_are_8_bit_pixels_too(vae):
    bytes_ = (PIXELS * 255).round().to(torch.uint8)
    assert torch.equal(vae.encode(bytes_.long(), LABELS), vae.encode(bytes_, LABELS))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (PIXELS * 255, "floats in [0, 1]"),
        (PIXELS * 2 - 1, "floats in [0, 1]"),
        ((PIXELS * 1000).long(), "8-bit pixels"),
        (torch.full_like(PIXELS, torch.nan), "NaN"),
        (torch.full_like(PIXELS, torch.inf), "NaN or infinite"),
    ],
)
def test_what_is_no_image_is_not_encoded(vae, x, says):
    for use in (vae.encode, vae.reconstruct, vae.log_likelihood):
        with pytest.raises(UsageError) as e:
            use(x, LABELS)
        assert says in str(e.value)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("truncation", [None, 0.7])
def test_samples_depend_on_the_seed_and_their_index_only(vae, noise, truncation):
    def sample(n, **how):
        return vae.sample(n, seed=3, noise=noise, truncation=truncation, **how)

    many = sample(200)
    for n in (1, 5, 64, 65, 100, 130):
        torch.testing.assert_close(sample(n), many[:n])
    for size in (1, 64, 100, 128, 1000):
        torch.testing.assert_close(sample(200, batch_size=size), many)
    assert (many[:64] - many[64:128]).abs().max() > 0.01
    assert (vae.sample(200, seed=4, noise=noise, truncation=truncation) - many).abs().max() > 0.01
    batches = list(vae.sample_batches(200, seed=3, noise=noise, truncation=truncation, batch_size=64))
    assert [len(x) for x, _ in batches] == [64, 64, 64, 8]
    assert torch.cat([y for _, y in batches]).tolist() == [i % 3 for i in range(200)]
    assert sample(0).shape == (0, 1, 8, 8)


def test_samples_are_decoded_codes(vae):
    codes = vae.codes(0, 70, seed=9)
    torch.testing.assert_close(vae.sample(70, seed=9, labels=1), vae.decode(codes, [1] * 70))
    assert torch.equal(vae.codes(50, 20, seed=9), codes[50:])


def test_sampling_leaves_batch_norm_and_the_mode_alone(normed):
    before = {k: v.clone() for k, v in normed.state_dict().items()}
    x = normed.sample(20)
    assert normed.training
    assert all(torch.equal(v, before[k]) for k, v in normed.state_dict().items())
    torch.testing.assert_close(normed.sample(1), x[:1])  # nothing depends on the company
    normed.eval()
    torch.testing.assert_close(normed.sample(20), x)
    assert not normed.training


def test_codes_follow_the_prior_and_its_truncation(vae):
    codes = vae.codes(0, 20_000).flatten().numpy()
    assert stats.kstest(codes, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(codes[::2], codes[1::2])[0, 1]) < 4 / np.sqrt(20_000)
    for bound in (0.1, 0.7, 2.0):
        codes = vae.codes(0, 20_000, truncation=bound).flatten().numpy()
        assert abs(codes).max() <= bound * (1 + 1e-6)
        assert abs(codes).max() > bound * 0.99
        assert stats.kstest(codes, stats.truncnorm(-bound, bound).cdf).pvalue > 1e-3


def test_truncation_must_be_positive(vae):
    for wrong in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="truncation is a positive"):
            vae.sample(2, truncation=wrong)


# Paths, labels and bad input


def test_interpolation_decodes_the_path(vae):
    a, b = randn(2, 2), randn(2, 2, seed=1)
    x = vae.interpolate(a, b, 5, path="straight", labels=[0, 2])
    assert x.shape == (2, 5, 1, 8, 8)
    torch.testing.assert_close(x[:, 2], vae.decode((a + b) / 2, [0, 2]))
    torch.testing.assert_close(vae.interpolate(a, b, 2, labels=[0, 2]), x[:, [0, 4]])
    with pytest.raises(UsageError, match="at least 2 steps"):
        vae.interpolate(a, b, 1, labels=0)
    with pytest.raises(UsageError, match="two sets of codes"):
        vae.interpolate(a, b[:1], labels=0)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (3, "label 3 is out of range: the classes are 0 to 2"),
        (-1, "label -1 is out of range"),
        ([0, 1], r"4 labels are needed.*\(2,\)"),
        ([0.0, 1, 2, 0], "labels are whole numbers from 0 to 2"),
        (torch.tensor([True] * 4), "labels are whole numbers"),
        (["a", "b", "c", "d"], "no class 'a': its classes are numbers from 0 to 2"),
        (torch.zeros(4, 1, dtype=torch.int64), "4 labels are needed"),
    ],
)
def test_labels_that_are_refused(vae, labels, says):
    with pytest.raises(UsageError, match=says):
        vae.sample(4, labels=labels)
    with pytest.raises(UsageError, match=says):
        vae.encode(PIXELS[:4], labels)


def test_what_else_is_refused(vae, game):
    with pytest.raises(UsageError, match="conditional: give the labels of its 3 classes"):
        vae.encode(PIXELS)
    with pytest.raises(UsageError, match=r"takes data of shape \(N, 1, 8, 8\), not \(10, 8, 8\)"):
        vae.encode(PIXELS[:, 0], LABELS)
    with pytest.raises(UsageError, match="takes data of shape"):
        vae.encode(PIXELS[:0], LABELS[:0])
    with pytest.raises(UsageError, match=r"takes codes of shape \(N, 2\)"):
        vae.decode(torch.zeros(3, 5), 0)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        vae.log_likelihood(PIXELS, LABELS, samples=0)
    gan = game("gan", IMAGE).nets.model
    with pytest.raises(UsageError, match="not conditional"):
        gan.sample(2, labels=1)
    for call in (gan.encode, gan.reconstruct, gan.log_likelihood, gan.active_units):
        with pytest.raises(GenzooError, match="'gan' has no encoder"):
            call(PIXELS)


# Likelihood estimates


def test_log_likelihood_depends_on_the_seed_but_not_on_the_budget(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.2)
    x = oracle.data(7)
    whole = oracle.model.log_likelihood(x, samples=50, seed=1)
    for budget in (1, 7, 10, 49, 50, 101, 170, 350):
        part = oracle.model.log_likelihood(x, samples=50, seed=1, budget=budget)
        np.testing.assert_allclose(part.values, whole.values, atol=1e-4)
        np.testing.assert_allclose(part.effective_samples, whole.effective_samples, rtol=1e-3)
    other = oracle.model.log_likelihood(x, samples=50, seed=2)
    assert (other.values - whole.values).abs().min() > 1e-5


def test_log_likelihood_takes_each_label_with_its_observation(vae):
    whole = vae.log_likelihood(PIXELS, LABELS, samples=20, budget=60)
    assert whole.levels == 256
    swapped = vae.log_likelihood(PIXELS, (LABELS + 1) % 3, samples=20)
    assert (whole.values - swapped.values).abs().min() > 1e-3
    first = vae.log_likelihood(PIXELS[:1], LABELS[:1], samples=20)
    torch.testing.assert_close(first.values, whole.values[:1], atol=1e-2, rtol=1e-6)


def test_active_units_counts_dimensions_that_vary(linear_gaussian):
    oracle = linear_gaussian()
    x = oracle.data(500)
    assert oracle.model.active_units(x) == 2
    oracle.model.encoder.a[1] = 0
    assert oracle.model.active_units(x) == 1
    assert oracle.model.active_units(x[:1].expand(9, 4)) == 0
