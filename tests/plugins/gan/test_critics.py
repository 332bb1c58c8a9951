"""Critics of anything: what a plan may ask for, and what networks make of it."""

from dataclasses import replace

import pytest
import torch

from genzoo.core.build import build
from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Ports
from genzoo.core.objective import CriticPlan, Objective, Plan, Player
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.nets.conv import ConvCritic
from genzoo.plugins.nets.mlp import MLPCritic
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver

IMAGE = DataSpec.image(2, 8, 8, classes=3)


class Plans(GAN):
    """Everything that a plan may say of critics."""

    def plan(self, spec, classes=0):
        return Plan(
            critics=(
                CriticPlan(),
                CriticPlan("of-codes", outputs=2, inputs="codes"),
                CriticPlan("of-pairs", beside="codes", labels=False),
                CriticPlan("of-packs", outputs=(3, 2), inputs=(4, 8, 8)),
                CriticPlan("coder", outputs=5, kind="encoder"),
                CriticPlan("decoder", outputs=spec.shape, inputs=(5,), kind="generator"),
            ),
            extras={"proxies": lambda: torch.nn.Embedding(3, 4)},
        )

    def players(self):
        first, second = super().players()
        return replace(first, moves=("critic", "proxies")), second


def built(network="mlp", classes=True, critics=True):
    given = {"generator": network, "critic": network, "encoder": network, "latent.size": 6, "conditional": classes}
    given = {k: v for k, v in given.items() if k != "encoder"}
    config = compose(the_registry(), IMAGE, "gan", given)
    encoder = replace(config.parts["critic"], name=network, options={})
    config = replace(config, parts={**config.parts, "encoder": encoder})
    find = resolver(the_registry(), None)
    return build(config, lambda kind, name: Plans if kind == "objective" else find(kind, name), critics=critics)


def test_a_plan_is_built_as_it_says():
    _, nets = built()
    ports = {name: critic.ports for name, critic in nets.critics.items() if name != "proxies"}
    assert ports == {
        "critic": Ports((2, 8, 8), (1,), 3),
        "of-codes": Ports((6,), (2,), 3),
        "of-pairs": Ports((2, 8, 8), (1,), 0, beside=6),
        "of-packs": Ports((4, 8, 8), (3, 2), 3),
        "coder": Ports((2, 8, 8), (5,), 3),
        "decoder": Ports((5,), (2, 8, 8), 3),
    }
    assert nets.part("proxies").weight.shape == (3, 4)
    x, y, z = torch.randn(4, 2, 8, 8), torch.tensor([0, 1, 2, 0]), torch.randn(4, 6)
    assert nets.critics["of-codes"](z, y).shape == (4, 2)
    assert nets.critics["of-pairs"](x, None, z).shape == (4, 1)
    assert nets.critics["of-packs"](torch.cat([x, x], 1), y).shape == (4, 3, 2)
    assert nets.critics["decoder"](nets.critics["coder"](x, y), y).shape == x.shape
    assert not built(critics=False)[1].critics


@pytest.mark.parametrize("make", [MLPCritic, ConvCritic])
def test_numbers_beside_an_input_matter_with_it(make):
    torch.manual_seed(0)
    critic = make(Ports((2, 8, 8), (1,), beside=6), make.Options(width=8))
    x, z = torch.randn(5, 2, 8, 8), torch.randn(5, 6)
    scores = critic(x, None, z)
    assert (scores - critic(x, None, z.flip(0))).abs().max() > 1e-4
    # Not x and z alone: what z adds depends on x.
    added = scores - critic(x, None, torch.zeros_like(z))
    other = critic(x.flip(0), None, z) - critic(x.flip(0), None, torch.zeros_like(z))
    assert (added - other).abs().max() > 1e-5
    features = critic.features(x, None, z)
    torch.testing.assert_close(critic.head(features), scores)


class Deaf(Critic):
    Options = ConvCritic.Options

    def __init__(self, ports, options=None):
        super().__init__(ports, options)
        self.head = torch.nn.Linear(ports.input_size, ports.output_size)

    def forward(self, x, y=None):
        return self.head(x.flatten(1))


def test_a_critic_that_takes_no_numbers_is_refused_and_need_not_have_features():
    with pytest.raises(UsageError, match="has no features"):
        Deaf(Ports((2,), (1,))).features(torch.zeros(1, 2))
    config = compose(the_registry(), IMAGE, "ali", {"latent.size": 6})
    find = resolver(the_registry(), config)
    with pytest.raises(UsageError, match=r"'ali' tells its critic 6 numbers beside each input, and critic 'conv'"):
        build(config, lambda kind, name: Deaf if kind == "critic" else find(kind, name))


class Old(Objective):
    """An objective as plugins of 0.1 wrote them."""

    def plan(self, spec):
        return Plan(critics=(CriticPlan(outputs=spec.size),))

    def players(self):
        return (Player("critic", ("critic",)),)

    def draw(self, player, draws, model):
        return {}

    def loss(self, player, nets, batch, noise):
        raise NotImplementedError

    def after_step(self, player, nets):
        self.told = (player, nets)


def test_objectives_of_the_first_version_are_called_as_they_were():
    objective = Old()
    assert objective.plan(IMAGE, 3).critics[0].outputs == 128
    assert objective.plan(IMAGE).critics[0].outputs == 128
    objective.follow("critic", "networks", {"real": torch.zeros(())})
    assert objective.told == ("critic", "networks")
