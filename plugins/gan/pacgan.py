"""PacGAN: a critic of several observations at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.nets.blocks import one_hot
from genzoo.registry import declare


@declare.objective(
    "pacgan",
    paper="arXiv:1712.04086",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05"]}}},
)
class PacGAN(GAN):
    """The original GAN with packing: the critic judges m observations of one side, stacked along their first axis.

    A generator that drops modes makes packs with less variety than real ones, which is easier to see than in one.

    When: a GAN drops modes and gradient penalties are too dear; with them, packing adds little.

    Cost: that of `gan`. The batch must be a multiple of m.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        pack: int = option(2, "observations m that the critic judges at once", low=1, high=64)

    options: Options

    def __init__(self, options: GAN.Options | None = None) -> None:
        super().__init__(options)
        self.pack = self.options.pack

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        shape = (self.pack * spec.shape[0], *spec.shape[1:])
        return Plan(critics=(self.critic_plan(spec, inputs=shape, labels=False, beside=self.pack * classes),))

    def view(self, x: Tensor, noise: Mapping[str, Tensor], side: str) -> Tensor:
        if len(x) % self.pack:
            raise UsageError(f"a part of the batch ({len(x)}) must be a multiple of objective.pack ({self.pack}): "
                             f"--batch-size {64 // self.pack * self.pack} is one")  # fmt: skip
        return super().view(x, noise, side).reshape(len(x) // self.pack, -1, *x.shape[2:])

    def beside(self, noise: Mapping[str, Tensor], side: str) -> Tensor | None:
        if "labels" not in noise:
            return None
        told = noise["labels"].reshape(len(noise["labels"]) // self.pack, -1)
        return torch.cat([told, told]) if side == "both" else told

    def score(self, critic: Critic, x: Tensor, y: Tensor | None, beside: Tensor | None = None) -> Tensor:
        return super().score(critic, x, None, beside)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        if batch.y is not None:
            noise = {**noise, "labels": one_hot(batch.y, nets.critic.ports.beside // self.pack, batch.x)}
        return super().loss(player, nets, batch, noise)
