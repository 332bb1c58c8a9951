"""The Wasserstein autoencoder as pythae has it (``WAE_MMD``), for a comparison of equals."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Plan, Player
from genzoo.core.spec import DataSpec

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
WEIGHT = 3e-2


class WAE(Objective):
    """Squared error + λ MMD²(codes, prior) with deterministic codes and the inverse multiquadric kernel.

    Tolstikhin et al., arXiv:1711.01558; kernel Σ C / (C + ‖x - y‖²) over C = 2 d · scale.
    """

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        """An encoder, whose mean is the code, and a likelihood."""
        return Plan(posterior="normal", likelihood=True)

    def players(self) -> tuple[Player, ...]:
        """One."""
        return (Player("model", ("model",)),)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes from the prior."""
        return {"prior": model.prior.draw(draws)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """Reconstruction and discrepancy."""
        model = nets.model
        z = model.posterior(batch.x).mean
        nll = -model.likelihood.log_prob(model.generator(z), batch.x)
        gap = mmd(z, noise["prior"]).expand(len(z))
        return Loss({"nll": nll, "mmd": gap}, {"mmd": WEIGHT}, ("mmd",))


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """MMD² between codes ``(N, d)`` each, 0-d, from one matrix of distances."""
    n, size = a.shape
    both = torch.cat([a, b])
    squared = both.square().sum(1)
    distance = torch.addmm(squared[:, None] + squared[None], both, both.T, alpha=-2).clamp(min=0)
    constants = 2 * size * distance.new_tensor(SCALES)[:, None, None]
    kernel = (constants / (constants + distance)).sum(0)
    within = kernel[:n, :n].sum() + kernel[n:, n:].sum() - kernel.diagonal().sum()
    return within / (n * (n - 1)) - 2 * kernel[:n, n:].mean()
