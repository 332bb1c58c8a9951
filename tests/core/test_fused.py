"""Steps with less around them: the same bits as the optimizer's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genzoo.core.training.optimizers import FusedAdamStep


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 1))


def train(net, move, steps, start=0, frozen=None):
    for step in range(start, start + steps):
        x = torch.randn(7, 3, generator=torch.Generator().manual_seed(step))
        h = x
        for i, layer in enumerate(net):
            h = h if i == 2 and step == frozen else layer(h)
        h.square().mean().backward()
        move(step)


def by_stepper(optimizer):
    stepper = FusedAdamStep(optimizer)

    def move(step):
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        stepper()

    return move


def by_itself(optimizer):
    def move(step):
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return move


MADE = {
    "fused": lambda p: torch.optim.Adam(p, betas=(0.5, 0.9), fused=True),
    "decay": lambda p: torch.optim.Adam(p, weight_decay=0.1, fused=True),
    "not fused": lambda p: torch.optim.Adam(p, fused=False),
    "amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, momentum=0.5, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, foreach=True),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("frozen", [None, 0, 3])
def test_the_same_bits(name, frozen):
    """With a parameter that has no gradient in some step, the first one too."""
    if (name, frozen) == ("sgd", 0):
        pytest.skip("torch's fused SGD with momentum refuses it")
    nets, optimizers = [network(), network()], []
    for net, way in zip(nets, (by_stepper, by_itself), strict=True):
        optimizers.append(MADE[name](net.parameters()))
        train(net, way(optimizers[-1]), 6, frozen=frozen)
    for a, b in zip(*(n.parameters() for n in nets), strict=True):
        assert torch.equal(a, b)
        assert a.grad is b.grad is None
        for key, value in optimizers[1].state[b].items():
            assert value is None or torch.equal(torch.as_tensor(optimizers[0].state[a][key]), torch.as_tensor(value))


def test_state_that_is_loaded_is_what_moves_on():
    whole, net = network(), network()
    train(whole, by_itself(MADE["fused"](whole.parameters())), 6)
    optimizer = MADE["fused"](net.parameters())
    move = by_stepper(optimizer)
    train(net, move, 3)
    kept, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(net.state_dict())
    train(net, move, 2, start=3)  # a way that is given up
    net.load_state_dict(weights)
    optimizer.load_state_dict(kept)
    train(net, move, 3, start=3)
    for a, b in zip(whole.parameters(), net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_optimizers_own_step_is_left_out_only_where_it_may_be(monkeypatch):
    calls = {}
    for name, make in MADE.items():
        net = network()
        optimizer = make(net.parameters())
        own, calls[name] = type(optimizer).step, 0

        def counted(optimizer, name=name, own=own):
            calls[name] += 1
            return own(optimizer)

        with monkeypatch.context() as patch:
            patch.setattr(type(optimizer), "step", counted)
            train(net, by_stepper(optimizer), 4)
    assert calls == {name: 1 if name in ("fused", "decay") else 4 for name in MADE}


def test_a_step_that_is_hooked_or_replaced_is_the_one_that_is_made():
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    move, told = by_stepper(optimizer), []
    train(net, move, 2)
    handle = optimizer.register_step_post_hook(lambda *_: told.append("hook"))
    train(net, move, 1)
    handle.remove()
    train(net, move, 1)
    assert told == ["hook"]
    before = [p.clone() for p in net.parameters()]
    optimizer.step = lambda: told.append("replaced")
    train(net, move, 1)
    assert told == ["hook", "replaced"]
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
