"""Pixel after pixel: that it is a distribution, that it looks back only, and that it finds a known one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.toys import Strings
from genzoo.plugins.likelihoods.pixelcnn import PixelCNN
from genzoo.plugins.likelihoods.row_made import RowMADE

SMALL = {PixelCNN: {"hidden": 6, "layers": 2}, RowMADE: {"hidden": 6, "above": 2, "features": 2}}
both = pytest.mark.parametrize("kind", SMALL)


def made(kind, c, h, w, levels, **options):
    torch.manual_seed(0)
    pixels = kind(DataSpec.image(c, h, w, levels=levels), kind.Options(**SMALL[kind] | options))
    for p in pixels.parameters():
        torch.nn.init.normal_(p, 0, 0.4)
    return pixels.eval(), torch.randn(1, *pixels.input_shape)


def every(c, h, w, levels):
    """All images there are, in model space."""
    numbers = itertools.product(range(levels), repeat=c * h * w)
    return torch.tensor(list(numbers)).view(-1, c, h, w) / (levels - 1) * 2 - 1


@both
@pytest.mark.parametrize("shape", [(1, 2, 2, 2), (2, 2, 1, 3), (3, 1, 2, 2), (1, 1, 8, 2)])
def test_it_sums_to_one_over_all_images(kind, shape):
    pixels, params = made(kind, *shape)
    images = every(*shape)
    log_p = pixels.log_prob(params.expand(len(images), *params.shape[1:]), images)
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert log_p.std() > 0.1  # and it is not the uniform one


@both
@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (3, 2, 3, 4)])
def test_a_place_sees_what_comes_before_it_and_nothing_else(kind, shape):
    pixels, params = made(kind, *shape)
    order, x = pixels.places(), torch.randn(1, *shape[:3], requires_grad=True)
    logits = pixels.logits(params, x)
    sees = set()
    for i, place in enumerate(order):
        (gradient,) = torch.autograd.grad(logits[(0, *place)].square().sum(), x, retain_graph=True)
        for j, other in enumerate(order):
            if gradient[(0, *other)] != 0:
                assert j < i, f"{place} sees {other}"
                sees.add((i, j))
    assert all((i, i - 1) in sees for i in range(1, len(order)) if order[i][2] or order[i][0])  # its neighbour too


@both
def test_drawing_place_by_place_is_the_teacher_forced_distribution(kind):
    pixels, params = made(kind, 2, 4, 5, 3)
    x = pixels.sample(params.expand(8, *params.shape[1:]), torch.Generator().manual_seed(0))
    logits = pixels.logits(params.expand(8, *params.shape[1:]), x)
    state, so_far = {}, torch.zeros_like(x)
    for place in pixels.places():
        alone = pixels.next_logits(params.expand(8, *params.shape[1:]), so_far, place, state)
        so_far[(slice(None), *place)] = x[(slice(None), *place)]
        torch.testing.assert_close(alone, logits[(slice(None), *place)], atol=1e-5, rtol=1e-5)


@both
def test_draws_have_the_probabilities(kind):
    pixels, params = made(kind, 1, 2, 2, 2)
    images, n = every(1, 2, 2, 2), 20_000
    p = pixels.log_prob(params.expand(len(images), *params.shape[1:]), images).double().exp()
    x = pixels.sample(params.expand(n, *params.shape[1:]), torch.Generator().manual_seed(1))
    which = ((x + 1) / 2).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])
    counts = torch.bincount(which.long(), minlength=16).double()
    chi2 = ((counts - n * p) ** 2 / (n * p)).sum().item()
    assert chi2 < 37.7  # 15 degrees of freedom, one in a thousand


@both
def test_the_same_uniform_numbers_give_the_same_draw(kind):
    pixels, params = made(kind, 1, 3, 3, 2)
    u = torch.rand(2, 1, 3, 3)
    both = params.expand(2, *params.shape[1:])
    assert torch.equal(pixels.sample(both, uniform=u)[1:], pixels.sample(params, uniform=u[1:]))
    assert torch.equal(pixels.mean(both)[0], pixels.mean(params)[0])


@both
def test_a_place_is_told_its_own_features(kind):
    pixels, params = made(kind, 1, 3, 4, 2)
    params.requires_grad_()
    logits = pixels.logits(params, torch.randn(1, 1, 3, 4))
    (gradient,) = torch.autograd.grad(logits[0, 0, 1, 2].square().sum(), params)
    assert (gradient[0, :, 1, 2] != 0).all()
    assert (gradient[0, :, 2] == 0).all()  # the row below


@both
def test_what_it_is_not_for(kind):
    with pytest.raises(UsageError, match="2 to 256 levels"):
        kind(DataSpec("vector", (2,)))


def test_a_kernel_has_a_middle():
    with pytest.raises(UsageError, match="odd"):
        PixelCNN(DataSpec.image(1, 2, 2, levels=2), PixelCNN.Options(kernel=4))


def test_rows_look_so_far_up_and_share_their_weights():
    pixels, _ = made(RowMADE, 1, 9, 5, 2, above=2)
    params, x = torch.randn(1, 2, 1, 5).expand(1, 2, 9, 5), torch.rand(1, 1, 3, 5)
    x = x.repeat(1, 1, 3, 1).requires_grad_()  # of three rows, again and again
    logits = pixels.logits(params, x)
    (slope,) = torch.autograd.grad(logits[0, 0, 6, 4].square().sum(), x)
    assert [bool((slope[0, 0, i] != 0).any()) for i in range(9)] == [4 <= i <= 6 for i in range(9)]
    torch.testing.assert_close(logits[:, :, 2:6], logits[:, :, 5:9])


@pytest.fixture(scope="module")
def strings(tmp_path_factory):
    options = {
        "likelihood.kernel": 3,
        "likelihood.hidden": 16,
        "likelihood.layers": 1,
        "train.lr": 1e-2,
        "train.schedule": "cosine",
    }
    return genzoo.fit("pixelcnn", "strings", tmp_path_factory.mktemp("runs") / "lm", steps=600, seed=0, options=options)


def test_an_exact_model_without_a_code_reaches_the_entropy(strings):
    test = genzoo.load_data("strings", split="test")
    found = strings.model.log_likelihood(test.x.float())
    entropy, error = Strings.entropy(8), found.mean_standard_error
    assert -found.mean == pytest.approx(entropy, abs=4 * error + 0.03)
    assert found.samples == 1
    assert (found.standard_error == 0).all()
    images = (every(1, 1, 8, 2) + 1) / 2
    assert strings.model.log_likelihood(images).values.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_it_samples_saves_and_is_evaluated(strings):
    x = strings.model.sample(2000, seed=0)
    assert torch.equal(x[:70], strings.model.sample(70, seed=0, batch_size=64))
    stay = (x[..., 1:] == x[..., :-1])[x[..., :-1] == 0].float().mean().item()
    assert stay == pytest.approx(0.9, abs=0.03)
    assert torch.equal(genzoo.load(strings.folder).sample(10, seed=1), strings.model.sample(10, seed=1))
    report = genzoo.evaluate(strings.folder, "strings", metrics=["log-likelihood"], n=200)
    (line,) = report
    assert line.details["estimator"] == "exact"
    assert line.value == pytest.approx(-Strings.entropy(8), abs=0.4)
    with pytest.raises(genzoo.GenzooError, match="no encoder"):
        strings.model.encode(x[:2])


def test_the_entropy_of_the_strings_is_counted_right():
    chain = {0: {0: 0.9, 1: 0.1}, 1: {1: 0.7, 0: 0.3}}
    total = 0.0
    for s in itertools.product((0, 1), repeat=4):
        p = 0.5 * math.prod(chain[a][b] for a, b in itertools.pairwise(s))
        total -= p * math.log(p)
    assert Strings.entropy(4) == pytest.approx(total)


def test_pixel_vae_sees_two_pixels_around_and_leaves_the_rest_to_the_code():
    model = genzoo.create("pixel-vae", DataSpec.image(1, 12, 12, levels=4))
    x = torch.rand(1, 1, 12, 12, requires_grad=True)
    params = torch.randn(1, *model.likelihood.input_shape)
    (slope,) = torch.autograd.grad(model.likelihood.logits(params, x)[0, 0, 6, 6].square().sum(), x)
    seen = slope[0, 0].abs() > 0
    assert seen[4:6, 4:9].all()
    assert seen[6, 4:6].all()
    assert seen.sum() == 12


@pytest.mark.slow
def test_pixel_vae_uses_its_code(tmp_path):
    options = {"generator.width": 8, "encoder.width": 8, "likelihood.hidden": 8, "data.limit": 1000}
    run = genzoo.fit("pixel-vae", "fashion-mini", tmp_path / "run", steps=150, batch_size=32, device="cpu",
                     progress=False, options=options)  # fmt: skip
    x = genzoo.load_data("fashion-mini", split="test").x[:50]
    assert run.model.posterior_numbers(x)[1].sum(1).mean() > 1


def test_rows_that_are_too_wide_for_memory_are_refused():
    with pytest.raises(UsageError, match=r"1,208 million weights for rows of 256 pixels of 3 channels"):
        RowMADE(DataSpec.image(3, 256, 256, levels=256))
    RowMADE(DataSpec.image(3, 32, 32, levels=256))


@pytest.mark.slow
def test_ten_levels_and_rows_are_better_than_ten_levels_and_use_their_code(tmp_path):
    """Binary pictures, 240 steps: pixels beside it say much that a code would have to."""
    options = {"data.binarize": "static", "data.limit": 3000, "train.validation": 0}
    test = genzoo.load_data("fashion-mini", split="test", options={"binarize": "static"}).take(slice(200))
    found = {}
    for recipe in ("ten-level-vae", "ten-level-pixel-vae"):
        run = genzoo.fit(recipe, "fashion-mini", tmp_path / recipe, epochs=4, batch_size=50, device="cpu",
                         progress=False, options=options)  # fmt: skip
        found[recipe] = run.model.log_likelihood(test.x, samples=20)
    numbers = run.model.posterior_numbers(test.x)[1].sum(1).mean()
    assert numbers > 1
    assert found["ten-level-pixel-vae"].mean > found["ten-level-vae"].mean + 10


@pytest.mark.parametrize(("levels", "least"), [(256, 49), (2, 1)])
def test_as_many_logits_are_held_at_a_time_as_a_picture_has_features(levels, least):
    """A bound by 100 samples on 28×28 pixels of 256 levels took 24 GB."""
    likelihood = PixelCNN(DataSpec.image(1, 28, 28, levels=levels))
    assert likelihood.heavy >= least
    assert 10_000 // likelihood.heavy * 28 * 28 * levels <= 10_000 * 2**12
