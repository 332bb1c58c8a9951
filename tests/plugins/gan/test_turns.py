"""What the critic is shown in its turn, and where the gradient penalty looks."""

from types import SimpleNamespace

import torch
from torch import nn

from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.regularizers.slopes import Lipschitz


def test_points_between_real_and_fake_lie_on_the_whole_line():
    mix = Lipschitz().draw(Draws(20_000, "cpu").at(0, 0, 0), None)["mix"]
    assert mix.shape == (20_000, 1)
    assert mix.min() < 0.001  # a uniform number in [0, 1): no part of the line is left out
    assert mix.max() > 0.999
    assert abs(mix.mean().item() - 0.5) < 4 / (12 * 20_000) ** 0.5


class Recorder(nn.Module):
    """A critic that keeps what it is shown."""

    mixes = False
    ports = SimpleNamespace(per_observation=True)

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x, y=None):
        self.shown.append(x)
        return x.flatten(1).sum(1, keepdim=True)


class Doubled(nn.Module):
    """A model whose images are its outputs squashed."""

    def mean(self, z, y=None):
        return torch.tanh(self.output(z, y))

    def output(self, z, y=None):
        return 50 * z


def test_both_players_turns_are_on_squashed_images():
    critic, x = Recorder(), torch.zeros(6, 1, 2, 2)
    nets = SimpleNamespace(critic=critic, model=Doubled())
    z = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for player in ("critic", "generator"):
        GAN().loss(player, nets, Batch(x, None), {"z": z})
        assert torch.cat(critic.shown).abs().max() <= 1, player
        assert any(torch.equal(s[-6:], torch.tanh(50 * z)) for s in critic.shown), player
        critic.shown.clear()
