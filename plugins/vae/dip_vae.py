"""DIP-VAE: the covariance of codes is drawn to the identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.objective import Batch, Loss, Plan
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, Posterior
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.vae import VAE
from genzoo.plugins.vae.variational import DIAGONAL
from genzoo.registry import declare


@declare.objective("dip-vae", paper="arXiv:1711.00848", tags=("vae", "disentanglement"), recipe={"like": "vae"})
class DIPVAE(VAE):
    """DIP-VAE: the evidence lower bound less λ_od Σ_{i≠j} C_ij² + λ_d Σ (C_ii - 1)², C a covariance of codes.

    Form ``i`` takes the covariance of posterior means over the batch, ``ii`` that of codes: the same, and on the
    diagonal the mean posterior variance.

    When: each number of the code should stand for one thing, at a lower price in reconstructions than `beta-vae`'s.

    Cost: that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(VAE.Options):
        form: Literal["i", "ii"] = option("ii", "DIP-VAE-I or -II")
        apart: float = option(10.0, "λ_od, weight of the squared covariances of two numbers", low=0)
        spread: float | None = option(
            None, "λ_d, weight of the squared differences of variances to 1; none is 10 λ_od of form i, λ_od of ii",
            low=0,
        )  # fmt: skip

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), posteriors=DIAGONAL if self.options.form == "ii" else ())

    def bound(
        self, model: Model, batch: Batch, noise: Mapping[str, Tensor], q: Posterior, z: Tensor, kl: Tensor
    ) -> Loss:
        o, found = self.options, super().bound(model, batch, noise, q, z, kl)
        mean = all_gather(q.mean.flatten(1))
        centred = mean - mean.mean(0)
        covariance = centred.T @ centred / len(mean)
        variance = covariance.diagonal()
        apart = covariance.square().sum() - variance.square().sum()
        if o.form == "ii":
            assert isinstance(q, DiagonalNormal)  # as planned
            variance = variance + all_gather(q.log_var.flatten(1)).exp().mean(0)
        spread = o.spread if o.spread is not None else o.apart * (10 if o.form == "i" else 1)
        terms = {"covariances": apart, "variances": torch.square(variance - 1).sum()}
        return replace(
            found,
            terms={**found.terms, **{name: value.expand(len(z)) for name, value in terms.items()}},
            weights={**found.weights, "covariances": o.apart, "variances": spread},
            coupled={**found.coupled, **dict.fromkeys(terms, True)},
        )
