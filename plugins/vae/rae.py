"""Regularized autoencoders: small codes, and a decoder that a penalty or its layers keep smooth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.math.penalties import squared_norm
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.autoencoder import Autoencoder
from genzoo.registry import declare

declare.recipe(
    "rae-l2",
    summary="Regularized autoencoder: small codes, and a decoder of small weights",
    paper="arXiv:1903.12436",
    tags=("vae", "autoencoder"),
    like="ae",
    objective="rae",
    options={"objective.decay": 1e-7},
    presets={"image": {"likelihood.value": 1.414214}, "vector": {"likelihood.value": 0.707107}},
)
declare.recipe(
    "rae-gp",
    summary="Regularized autoencoder: small codes, and a decoder of small slopes",
    paper="arXiv:1903.12436",
    tags=("vae", "autoencoder"),
    like="ae",
    objective="rae",
    options={"objective.slopes": 1e-6},
    presets={
        "image": {"likelihood.value": 1.414214, "generator.norm": "layer"},
        "vector": {"likelihood.value": 0.707107},
    },
)
declare.recipe(
    "rae-sn",
    summary="Regularized autoencoder: small codes, and a decoder of spectrally normalized layers",
    paper="arXiv:1903.12436",
    tags=("vae", "autoencoder"),
    like="ae",
    objective="rae",
    presets={
        "image": {"likelihood.value": 1.414214, "generator.norm": "none", "generator.spectral_norm": True},
        "vector": {"likelihood.value": 0.707107, "generator.spectral_norm": True},
    },
)


@declare.objective("rae", paper="arXiv:1903.12436", tags=("vae", "autoencoder"))
class RAE(Autoencoder):
    """Regularized autoencoder: -log p(x|z) + β ½ ‖z‖² + a penalty on the decoder, in place of noise on the codes.

    The penalty is λ ‖θ‖², θ the decoder's weights (``decay``, RAE-L2), or λ ‖∂G/∂z‖² over all pairs of an output and
    a code's number (``slopes``, RAE-GP), which one product vᵀ ∂G/∂z with normal v estimates without bias. Both are
    terms of the loss: a decay by the optimizer would be scaled by Adam's moments, and slopes are those of the decoder
    alone. A decoder of spectrally normalized layers (RAE-SN) needs neither. The recipes' σ makes -log p(x|z) the
    squared error of data units, as in the paper.

    When: `vae` blurs and samples matter more than a bound; with ``genzoo prior fit RUN --prior mixture`` afterwards.

    Cost: that of `ae`; with ``slopes`` about twice.
    """

    @dataclass(frozen=True)
    class Options(Autoencoder.Options):
        beta: float = option(1e-4, "β, weight of half the codes' squared norm", low=0)
        decay: float = option(0.0, "λ, weight of the decoder's squared weights", low=0)
        slopes: float = option(0.0, "λ, weight of the decoder's squared slopes", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), penalized=self.options.slopes > 0)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"v": draws.normal(*model.spec.shape)} if self.options.slopes else {}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The error, half the codes' squared norm, and what is penalized of the decoder."""
        model, o = nets.model, self.options
        z = model.posterior(batch.x, batch.y).mean
        params = model.generator(z, batch.y)
        found = self.scored(model, batch, params)
        terms = {**found.terms, "codes": squared_norm(z) / 2}
        weights: dict[str, float] = {"codes": o.beta, "decay": o.decay, "slopes": o.slopes}
        if o.decay:
            weighed = [p.square().sum() for p in model.generator.parameters() if p.dim() > 1]
            terms["decay"] = torch.stack(weighed).sum().expand(len(z))
        if o.slopes:
            terms["slopes"] = squared_norm(_slopes(model, z, batch.y, params, noise["v"]))
        return replace(found, terms=terms, weights={k: v for k, v in weights.items() if k in terms})


def _slopes(model: Model, z: Tensor, y: Tensor | None, params: Tensor, v: Tensor) -> Tensor:
    """The product vᵀ ∂G/∂z of each code, ``(B, *latent.shape)``, of a decoder whose outputs are ``params``."""
    if torch.compiler.is_compiling():  # autograd.grad with a double backward does not compile
        found: Tensor = torch.func.grad(lambda z: (model.mean(z, y) * v).sum())(z)
        return found
    return torch.autograd.grad((model.likelihood.mean(params) * v).sum(), z, create_graph=True)[0]
