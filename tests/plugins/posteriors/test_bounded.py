"""Normal posteriors that cannot become the prior."""

import math

import pytest
import torch

from genzoo.core.posterior import normal_kl
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.bounded import BatchNormal, BoundedNormal, largest_variance


@pytest.mark.parametrize(("delta", "d"), [(1.0, 2), (0.1, 4), (8.0, 16), (3.0, 1)])
def test_the_least_kl_of_a_bounded_normal_is_delta_for_the_whole_code(delta, d):
    head = BoundedNormal(Latent(d), BoundedNormal.Options(least=delta))
    mean = torch.linspace(-2, 2, 41)
    raw = torch.cat([torch.linspace(-6, 40, 200), torch.tensor([1e4])])
    grid = torch.cartesian_prod(mean, raw)
    numbers = torch.cat([grid[:, :1].expand(-1, d), grid[:, 1:].expand(-1, d)], 1)
    kl = head(numbers).kl().double().sum(1)
    assert kl.min().item() == pytest.approx(delta, abs=1e-5 * max(delta, 1))
    # A bound solved for the sum, and not for each number, is d times too strong.
    wrong = math.log(largest_variance(delta))
    assert d == 1 or normal_kl(torch.zeros(()), torch.tensor(wrong)).item() * d > 1.9 * delta
    v = largest_variance(delta / d)
    assert 0.5 * (v - 1 - math.log(v)) == pytest.approx(delta / d, abs=1e-9)


@pytest.mark.parametrize("latent", [Latent(3), Latent(2, 4)])
def test_means_are_normalized_over_the_batch_so_that_the_kl_is_no_less(latent):
    head, gamma = BatchNormal(latent, BatchNormal.Options(spread=0.5)), 0.5
    numbers = torch.randn(64, *head.input_shape, generator=torch.Generator().manual_seed(0)) * 7 + 3
    q = head(numbers)
    by_channel = q.mean.transpose(0, 1).flatten(1)
    torch.testing.assert_close(by_channel.mean(1), torch.zeros(latent.size), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_channel.std(1, correction=0), torch.full((latent.size,), gamma), rtol=1e-3, atol=0)
    assert q.kl().sum(1).mean() >= latent.numbers * gamma**2 / 2 - 1e-4
    with torch.no_grad():
        head.shift.add_(1.0)
    torch.testing.assert_close(head(numbers).mean.flatten(1).mean(), torch.tensor(1.0))
    for _ in range(200):
        head(numbers)
    head.eval()  # by running statistics, which are no part of a batch
    torch.testing.assert_close(head(numbers[:3]).mean, head(numbers).mean[:3])
    assert head(numbers).mean.std().item() == pytest.approx(gamma, rel=0.05)
    assert {"norm.running_mean", "norm.running_var"} <= head.state_dict().keys()
