"""Networks compute in bfloat16 where a run asks for it, and losses in float32 whatever they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genzoo.core.hardware import Hardware
from genzoo.core.math.penalties import input_gradient
from genzoo.core.mixed_precision import networks_in_bfloat16
from genzoo.core.networks import Critic, Ports
from genzoo.core.objective import Loss


class Small(Critic):
    """Says what arithmetic its layers computed in."""

    def __init__(self):
        super().__init__(Ports((3,), (1,)))
        self.first, self.head = nn.Linear(3, 4), nn.Linear(4, 1)
        self.dtypes = []

    def features(self, x, y=None):
        h = self.first(x)
        self.dtypes.append(h.dtype)
        return h

    def forward(self, x, y=None):
        h = self.head(self.features(x, y))
        self.dtypes.append(h.dtype)
        return h


def test_networks_in_bfloat16_give_float32_and_products_between_them_stay_in_it():
    critic, x = Small(), torch.randn(5, 3)
    with networks_in_bfloat16("cpu"):
        assert critic(x).dtype == torch.float32
        assert critic.features(x).dtype == torch.float32
        product = x @ x.T
        assert critic.dtypes == [torch.bfloat16] * 3
        with networks_in_bfloat16("cpu", active=False):
            critic(x)
        assert critic.dtypes[3:] == [torch.float32] * 2
        scores, gradient = input_gradient(critic, x)
        assert {scores.dtype, gradient.dtype, *critic.dtypes[5:]} == {torch.float32}
        assert critic(x).dtype == torch.float32
        assert critic.dtypes[-1] == torch.bfloat16
    assert torch.equal(product, x @ x.T)
    critic(x)
    assert critic.dtypes[-1] == torch.float32


def test_an_error_leaves_nothing_behind():
    critic, x = Small(), torch.randn(5, 3)
    with networks_in_bfloat16("cpu"):
        with pytest.raises(RuntimeError):
            critic(torch.randn(5, 4))
        critic(x)
        assert critic.dtypes[-1] == torch.bfloat16
    critic(x)
    assert critic.dtypes[-1] == torch.float32


@pytest.mark.parametrize("recipe", ["gan", "vae"])
def test_a_matrix_product_in_a_loss_is_exact_in_a_bfloat16_run(game, toy, recipe):
    """Pairwise squared distances of the batch, as kernels and repulsion take them: far from 0 bfloat16 has none."""
    from genzoo.core.training.trainer import Trainer

    found = {}
    for precision in ("float32", "bfloat16"):
        built = game(recipe, train__batch_size=8, train__steps=1, train__log_every=1)
        run = Trainer(built.objective, built.nets, toy(), built.config.train, hardware=Hardware(precision=precision))
        loss = run.objective.loss

        def paired(player, nets, batch, noise, loss=loss):
            found_loss, x = loss(player, nets, batch, noise), batch.x + 100
            square = (x @ x.T).diagonal() - x.square().sum(1)
            return Loss({**found_loss.terms, "pairs": square}, found_loss.weights)

        run.objective.loss = paired
        run.train()
        found[precision] = run.history[-1]
    name = next(k for k in found["float32"] if k.endswith("pairs"))
    assert abs(found["bfloat16"][name]) < 0.1  # in bfloat16 it is off by hundreds
    half = [k for k in found["float32"] if found["float32"][k] != found["bfloat16"][k]]
    assert half  # and the networks do compute in it


def test_it_compiles_as_one_graph():
    critic, x = Small(), torch.randn(5, 3)

    def turn(x):
        return critic(x).square().mean() + (x @ x.T).mean()

    critic.features(x)
    with networks_in_bfloat16("cpu"):
        expected = turn(x)
        compiled = torch.compile(turn, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), expected)
    assert torch.equal(compiled(x), turn(x))
    assert not torch.equal(turn(x), expected)
