"""Clusters that a GAN finds: their shares in codes, their centres in the data, and what the critic is told of them."""

import math

import pytest
import torch

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.gan.self_conditioned import Clusters, SelfConditioned

SHARES = torch.tensor([0.5, 0.3, 0.2, 0.0])


def clusters():
    prior = Clusters(Latent(6), 4)
    prior.shares.copy_(SHARES[None])
    return prior


def test_codes_have_the_datas_shares():
    prior, n = clusters(), 20_000
    z = prior.sample(torch.rand(n, *prior.noise_shape, generator=torch.Generator().manual_seed(0)))
    hot = z[:, :4]
    assert (hot.sum(1) == 1).all()
    assert ((hot.mean(0) - SHARES).abs() <= 5 * (SHARES * (1 - SHARES) / n).sqrt()).all()  # none of the fourth
    torch.testing.assert_close(z[:, 4:].T.cov(), torch.eye(2), atol=0.04, rtol=0)
    ends = prior.sample(torch.tensor([[0.0, 0.5, 0.5], [0.9999999, 0.5, 0.5]]))
    assert ends[:, :4].argmax(1).tolist() == [0, 2]


def test_their_density_is_the_shares_times_the_normal_ones():
    prior = clusters()
    z = torch.cat([torch.eye(4), torch.full((4, 2), 0.5)], 1)
    normal = 2 * torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.5))
    torch.testing.assert_close(prior.log_prob(z), SHARES.log() + normal)
    assert prior.log_prob(torch.full((1, 6), 0.5)).tolist() == [-math.inf]


def test_a_class_has_its_own_shares():
    prior, n = Clusters(Latent(5), 3, 2), 20_000
    prior.shares.copy_(torch.tensor([[0.1, 0.3, 0.0], [0.0, 0.3, 0.3]]))
    uniform = torch.rand(n, *prior.noise_shape, generator=torch.Generator().manual_seed(0))
    for y, shares in enumerate([[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]]):
        labels = torch.full((n,), y)
        z = prior.sample(uniform, labels)
        torch.testing.assert_close(z[:, :3].mean(0), torch.tensor(shares), atol=0.015, rtol=0)
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 3:]).sum(1)
        known = torch.tensor(shares).log()[z[:, :3].argmax(1)] + normal
        torch.testing.assert_close(prior.log_prob(z, labels), known)
    assert prior.sample(uniform)[:, :3].mean(0).tolist() == pytest.approx([0.1, 0.6, 0.3], abs=0.015)


def blobs(n=4000):
    """Four of unlike size, each of a standard deviation of .1, three and more apart."""
    random = torch.Generator().manual_seed(1)
    which = torch.multinomial(torch.tensor([0.55, 0.25, 0.15, 0.05]), n, replacement=True, generator=random)
    centres = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [-3.0, -3.0]])
    return centres, which, centres[which] + 0.1 * torch.randn(n, 2, generator=random)


def test_centres_and_shares_come_to_be_those_of_the_data(trainer):
    centres, which, x = blobs()
    how = {"train__batch_size": 64, "train__steps": 400, "objective__clusters": 12, "latent__size": 14}
    made = trainer("self-conditioned-gan", Data(DataSpec("vector", (2,)), x, None, "blobs"), **how)
    made.train()
    book, shares = made.nets.critics["book"], made.nets.model.prior.shares[0]
    near = torch.cdist(x, book.codebook).argmin(1)
    for blob in range(4):
        mine = near[which == blob].unique()  # centres that any of its points is nearest to
        assert torch.cdist(book.codebook[mine], centres).argmin(1).tolist() == [blob] * len(mine)
        of = (which == blob).float().mean().item()
        assert shares[mine].sum().item() == pytest.approx(of, abs=0.02), blob


def test_the_critic_is_told_each_sides_own_cluster(game):
    """A critic that is told a sample's cluster beside a real one, or none, has another loss."""
    built = game("self-conditioned-gan", objective__clusters=3, latent__size=5)
    objective, nets = built.objective, built.nets
    nets.critics["book"].codebook.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]))
    x = torch.tensor([[0.1, 0.0], [1.8, 0.1], [0.2, 2.1], [2.2, -0.1]])
    noise = built.noise("critic", 4)
    z = noise["z"]
    fake = nets.model.mean(z).detach()
    real, made = torch.tensor([0, 1, 2, 1]), z[:, :3].argmax(1)
    loss = objective.loss("critic", nets, Batch(x), noise)
    torch.testing.assert_close(loss.shown["real"], nets.critic(x, real)[:, 0])
    torch.testing.assert_close(loss.shown["fake"], nets.critic(fake, made)[:, 0])
    torch.testing.assert_close(loss.sums["count"], torch.tensor([1.0, 2.0, 1.0]))
    torch.testing.assert_close(loss.sums["total"][1], x[1] + x[3])
    turned = objective.loss("generator", nets, Batch(x), noise)
    expected = torch.nn.functional.softplus(-nets.critic(fake, made)[:, 0])
    torch.testing.assert_close(turned.terms["adversarial"], expected)
    assert not turned.sums  # centres move once a step


def test_with_labels_clusters_of_each_class_are_apart(game):
    built = game("self-conditioned-gan", objective__clusters=3, latent__size=5, conditional=True)
    nets, y = built.nets, torch.tensor([0, 2, 1, 1])
    nets.critics["book"].codebook.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]))
    x = torch.tensor([[0.1, 0.0], [1.8, 0.1], [0.2, 2.1], [2.2, -0.1]])
    loss = built.objective.loss("critic", nets, Batch(x, y), built.noise("critic", 4))
    torch.testing.assert_close(loss.shown["real"], nets.critic(x, torch.tensor([0, 7, 5, 4]))[:, 0])
    uniform = torch.linspace(0.01, 0.99, 50)[:, None]
    with torch.no_grad():
        nets.model.prior.shares.copy_(torch.tensor([[0.2, 0.2, 0.0], [0.0, 0.1, 0.1], [0.2, 0.1, 0.1]]))
    z = nets.model.prior.of_class(torch.ones(50, 5), uniform, torch.arange(50) % 2)
    assert z[::2, :3].sum(0).tolist() == pytest.approx([12.5, 12.5, 0], abs=0.6)  # class 0 has none of the third
    assert z[1::2, 0].sum() == 0
    assert (z[:, 3:] == 1).all()
    assert loss.sums["shares"].nonzero().flatten().tolist() == [0, 4, 5, 7]


def test_large_pictures_are_compared_at_fewer_pixels():
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    compared = SelfConditioned().compared(x)
    assert compared.shape == (2, 1, 3 * 32 * 32)
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    torch.testing.assert_close(compared[:, 0], pooled.flatten(1))


def test_codes_that_do_not_fit_are_refused(game):
    with pytest.raises(UsageError, match=r"8 clusters leave no normal number in a code of 8: .*latent\.size.*72"):
        game("self-conditioned-gan", latent__size=8, objective__clusters=8)
    with pytest.raises(UsageError, match="packs"):
        game("self-conditioned-gan", latent__size=12, objective__clusters=8, objective__pack=2)
