"""Rate and distortion: codes that are short, and pictures that come back nearly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational
from genzoo.registry import declare

declare.recipe(
    "hyperprior",
    summary="Lossy compression: rounded codes whose scales are coded beside them, the rate against the distortion",
    paper="arXiv:1802.01436",
    tags=("vae", "quantizer", "compression"),
    modalities=("image",),
    objective="rate-distortion",
    generator="conv",
    encoder="conv",
    posterior="rounded",
    prior="scale-hyperprior",
    likelihood="gaussian",
    options={
        "latent.size": 20,
        "latent.grid": 7,
        "prior.side": 4,
        "generator.norm": "none",
        "encoder.norm": "none",
        "generator.activation": "silu",
        "encoder.activation": "silu",
        "train.validation": 0.05,
        "train.lr": 0.002,
        "train.schedule": "cosine",
        "train.clip": 100.0,
    },
)


@declare.objective("rate-distortion", paper="arXiv:1802.01436", tags=("vae", "compression"), modalities=("image",))
class RateDistortion(Variational):
    """Bits per pixel + λ · 255² · mean squared error, as Ballé et al. (2018) have it, in nats of a picture.

    The rate is -log p of the code by the prior. What is decoded is the likelihood's mean; its own scale is fitted
    beside, and moves nothing else. A λ ten times as large buys about half the error for half as many bits again.

    When: pictures may come back a little changed.

    Cost: one pass of encoder, decoder and prior for each step.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        trade: float = option(0.01, "λ: what a squared error of one level of 255 costs, in bits per pixel", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if not of(spec).pixels:
            raise UsageError("the rate-distortion objective is for images: its error is of pixels")
        return Plan(posterior="rounded", likelihood=True, prior="scale-hyperprior", posteriors=("rounded",), means=True)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model = nets.model
        q = model.posterior(batch.x, batch.y)
        z, rate = model.code(q, noise["eps"], batch.y)
        params = model.params(q, z, batch.y)
        error = (_units(model, model.likelihood.mean(params)) - _units(model, batch.x)).square().flatten(1).mean(1)
        pixels = math.prod(model.spec.shape[1:])
        weight = self.options.trade * 255**2 * pixels * math.log(2)
        fitted = -model.likelihood.log_prob(params.detach(), batch.x)  # for the likelihood's own scale
        return Loss({"rate": rate, "distortion": error, "scale": fitted}, {"distortion": weight},
                    shown={"bits per pixel": rate / math.log(2) / pixels})  # fmt: skip

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        found = self.loss("model", nets, batch, noise)
        return found.terms["rate"] + found.terms["distortion"] * found.weights["distortion"]


def _units(model: Model, x: Tensor) -> Tensor:
    """Model space to [0, 1], not cut off, so that what lies beyond has slopes."""
    return x * model.spec.scale[0] + model.spec.shift[0]
