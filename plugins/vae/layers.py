"""The KL of a code's parts: what of it is free, and how layers of a hierarchy share it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.objective import Loss
from genzoo.core.posterior import Posterior
from genzoo.plugins.nets.hierarchy import Hierarchy


def layers(model: Model) -> list[int]:
    """How many numbers of the code each layer of a hierarchy has; of other generators the whole code is one."""
    shapes = model.generator.shapes if isinstance(model.generator, Hierarchy) else [model.latent.shape]
    return [math.prod(shape) for shape in shapes]


def by_layer(model: Model, each: Tensor) -> Tensor:
    """The KL of each layer ``(B, layers)``, of those of all numbers."""
    return torch.stack([part.sum(1) for part in torch.split(each, layers(model), 1)], 1)


def balanced(found: Loss, model: Model, q: Posterior, active: Tensor) -> Loss:
    """The same with a KL of Σ_l γ_l KL_l while ``active``: γ_l as the layer's mean KL over its size, 1 on average.

    The one layer of a flat code has a γ of 1. Raises `UsageError` for several whose KL has no closed form.
    """
    if len(layers(model)) == 1:
        return found
    if not model.closed(q):
        raise UsageError(
            "objective.kl_balance weighs the KL of layers, which this posterior does not have in closed form"
        )
    each, sizes = by_layer(model, q.kl()), layers(model)
    means = all_gather(each).mean(0).detach() + 0.01
    shares = torch.stack([m * (min(sizes) / n) for m, n in zip(means, sizes, strict=True)])
    gamma = torch.where(active, shares / shares.mean(), torch.ones_like(shares))
    kl = (each * gamma).sum(1)
    return replace(found, terms={**found.terms, "kl": kl}, coupled={**found.coupled, "kl": True})


def spared(found: Loss, model: Model, q: Posterior, kl: Tensor, free: float, by: str) -> Loss:
    """The same with so many nats of KL free for each number: those of a number, channel, layer or code together.

    Means over the batch are what is compared (arXiv:1606.04934); ``kl (B,)`` is shown as it is.
    """
    each, by = (q.kl(), by) if model.closed(q) else (kl[:, None], "code")
    if by == "channel":
        each = each.view(len(kl), model.latent.size, -1).sum(2)
    elif by == "layer":
        each = by_layer(model, each)
    elif by == "code":  # as a whole, as where its KL does not come apart
        each = each.sum(1, keepdim=True)
    means = all_gather(each).mean(0)
    if by == "layer":  # of which each has numbers of its own
        paid = torch.stack([m.clamp(min=free * n) for m, n in zip(means, layers(model), strict=True)])
    else:
        paid = means.clamp(min=free * (model.latent.numbers / len(means)))
    paid = paid.sum().expand(len(kl))
    return replace(found, terms={**found.terms, "kl": paid}, shown={"raw kl": kl},
                   coupled={**found.coupled, "kl": True})  # fmt: skip
