"""Wasserstein autoencoders: codes are points, and all of them together are drawn to the prior."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from genzoo.core.distributed.gather import all_gather
from genzoo.core.math.kernels import KERNELS, unbiased_mmd
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.autoencoder import Autoencoder
from genzoo.plugins.vae.info_vae import PRIOR
from genzoo.registry import declare


class Drawn(Autoencoder):
    """Base of autoencoders whose codes are drawn to a prior by a distance between sets of codes."""

    @dataclass(frozen=True)
    class Options(Autoencoder.Options):
        strength: float = option(10.0, "λ, weight of the distance between codes and prior", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), prior="normal")

    @abstractmethod
    def distance(self, z: Tensor, prior: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """How far codes ``(B, D)`` are from those of the prior ``(B, D)``, 0-d."""

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes of the prior."""
        return {PRIOR: model.prior.draw(draws).detach()}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The error, and the distance."""
        model = nets.model
        z = model.posterior(batch.x, batch.y).mean
        found = self.scored(model, batch, model.generator(z, batch.y))
        far = self.distance(all_gather(z.flatten(1)), all_gather(noise[PRIOR].flatten(1)), noise)
        return replace(found, terms={**found.terms, "distance": far.expand(len(z))},
                       weights={"distance": self.options.strength},
                       coupled={**found.coupled, "distance": True})  # fmt: skip


@declare.objective(
    "wae",
    paper="arXiv:1711.01558",
    tags=("vae", "autoencoder"),
    recipe={
        "like": "ae",
        "prior": "normal",
        "presets": {"image": {"likelihood.value": 6.324555}, "vector": {"likelihood.value": 3.162278}},
    },
)
class WAE(Drawn):
    """Wasserstein autoencoder: c ‖x - x̂‖² + λ MMD²(q(z), p(z)), the squared discrepancy unbiased.

    The first term is -log p(x|z) of a Gaussian whose σ is fixed: c = 1/2σ², in data units .05 as in the paper's code.
    The kernels are inverse multiquadrics of seven scales, or a Gaussian.

    When: samples and reconstructions should be as sharp as an autoencoder's. It has no bound on the likelihood.

    Cost: that of `ae`.
    """

    @dataclass(frozen=True)
    class Options(Drawn.Options):
        kernel: Literal["imq", "rbf"] = option("imq", "inverse multiquadrics, or a Gaussian")

    options: Options

    def distance(self, z: Tensor, prior: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return unbiased_mmd(z, prior, KERNELS[self.options.kernel])


@declare.objective("swae", paper="arXiv:1804.01947", tags=("vae", "autoencoder"), recipe={"like": "wae"})
class SWAE(Drawn):
    """Sliced Wasserstein autoencoder: c ‖x - x̂‖² + λ mean_θ W₂²(θᵀz, θᵀz_p) over random directions θ.

    On a line W₂² is the mean squared difference of sorted numbers. There are as many directions as observations in a
    batch, drawn anew in each step.

    When: as `wae`, without a kernel to choose.

    Cost: that of `ae`, and B directions of a batch of B to sort.
    """

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes of the prior, and directions."""
        return {**super().draw(player, draws, model), "directions": draws.normal(model.latent.numbers)}

    def distance(self, z: Tensor, prior: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        directions = normalize(all_gather(noise["directions"]), dim=1).T
        return ((z @ directions).sort(0).values - (prior @ directions).sort(0).values).square().mean()
