"""The Wasserstein autoencoder, with a maximum mean discrepancy between codes and prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec


class WAE(Objective):
    """Wasserstein autoencoder: minimize E_q[-log p(x|z)] + λ MMD²(q(z), p(z)).

    Where a VAE pulls the code of every single observation to the prior, this pulls only the codes of all
    of them together (Tolstikhin et al., arXiv:1711.01558).
    """

    @dataclass(frozen=True)
    class Options(Objective.Options):
        mmd_weight: float = option(1000.0, "weight λ of the discrepancy, in nats", low=0)

    options: Options

    def plan(self, spec: DataSpec) -> Plan:
        """An encoder and a likelihood."""
        return Plan(posterior="normal", likelihood=True)

    def players(self) -> tuple[Player, ...]:
        """Encoder, decoder and likelihood want the same."""
        return (Player("model", ("model",)),)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Noise of the codes, and codes from the prior to compare them with."""
        return {"eps": draws.normal(*model.latent.shape), "prior": model.prior.draw(draws)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """Reconstruction, and how far the batch's codes are from the prior."""
        model = nets.model
        z = model.posterior(batch.x, batch.y).sample(noise["eps"])
        nll = -model.likelihood.log_prob(model.generator(z, batch.y), batch.x)
        coupled = {"mmd": False, **({"nll": False} if model.likelihood.coupled else {})}
        gap = mmd(z, noise["prior"]).expand(len(z))
        return Loss({"nll": nll, "mmd": gap}, {"mmd": self.options.mmd_weight}, coupled)


def mmd(a: Tensor, b: Tensor, scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)) -> Tensor:
    """Unbiased estimate of MMD² between two sets of codes ``(N, D)`` each, 0-d; 0 in expectation where they agree.

    The kernel is Σ C / (C + ‖x - y‖²) over C = 2 D · scale: 2 D is what ‖x - y‖² is on average under the prior.
    """
    n, size = a.shape
    both = torch.cat([a, b])
    squared = both.square().sum(1)
    distance = (squared[:, None] + squared[None] - 2 * both @ both.T).clamp(min=0)
    kernel = sum(torch.reciprocal(1 + distance / (2 * size * s)) for s in scales)
    assert isinstance(kernel, Tensor)
    kernel = kernel - torch.diag(torch.diag(kernel))  # no code is compared with itself
    within = (kernel[:n, :n].sum() + kernel[n:, n:].sum()) / (n * max(n - 1, 1))
    return within - 2 * kernel[:n, n:].mean()
