"""Critics that put out features, between whose distributions a distance is taken: MMD GAN and Cramér GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.math.kernels import mmd_of_pairs, rational_quadratic, squared_distances
from genzoo.core.math.penalties import gradient_norm, input_gradient
from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


class FeatureCritic(Adversarial):
    """A critic h of features ``(B, d)``, for a distance whose witness function has slope 1 between the sides.

    A variant says the `distance` of features, ``(B,)``, which the generator minimizes and the critic maximizes, and the
    `witness` of features, ``(B,)``. ``other`` are features of second samples, where a variant draws them.
    """

    takes = frozenset({"augmentation"})
    penalized = True
    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        critic_steps: int = option(5, "turns of the critic for one of the generator", low=1)
        features: int = option(16, "numbers that the critic puts out", low=1)
        gp_weight: float = option(1.0, "weight λ of the gradient penalty", low=0)

    options: Options

    def distance(self, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        raise NotImplementedError

    def critic_distance(self, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        """What the critic maximizes."""
        return self.distance(real, fake, other)

    def witness(self, at: Tensor, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        raise NotImplementedError

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(critics=(self.critic_plan(spec, outputs=self.options.features),))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return super().draw(player, draws, model) | {"mix": draws.uniform(1)}

    def score(self, critic: Critic, x: Tensor, y: Tensor | None, beside: Tensor | None = None) -> Tensor:
        features: Tensor = critic(x, y)
        return features if features.dtype == torch.float64 else features.float()

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "generator" and torch.is_grad_enabled()):
            made, second = (nets.model.mean(noise[k], batch.y) if k in noise else None for k in ("z", "second"))
        assert made is not None
        real = self._outputs(nets.critic, batch.x, batch.y, noise, "real")
        fake = self._outputs(nets.critic, made, batch.y, noise, "fake")
        other = fake if second is None else self._outputs(nets.critic, second, batch.y, noise, "fake")
        if player == "generator":
            return self._loss(nets.critic, {"adversarial": self.distance(real, fake, other)})

        def witness(x: Tensor) -> Tensor:
            return self.witness(self._outputs(nets.critic, x, batch.y, noise, "real"), real, fake, other)

        between = torch.lerp(batch.x, made, noise["mix"].view(-1, *[1] * (made.dim() - 1)))
        off = gradient_norm(input_gradient(witness, between)[1]) - 1
        far = self.critic_distance(real, fake, other)
        terms = {"adversarial": -far, "penalty": self.options.gp_weight * off.square()}
        return self._loss(nets.critic, terms, {"distance": far.detach()}, ("penalty",) if self.coupled else ())


@declare.objective(
    "mmd-gan",
    paper="arXiv:1801.01401",
    tags=("gan",),
    recipe={
        "like": "gan",
        "options": {"train.lr": 1e-4, "train.betas": (0.5, 0.9)},
        "presets": {"image": {"critic.spectral_norm": False}, "vector": {"train.lr": 1e-3, "train.batch_size": 64}},
    },
)
class MMDGAN(FeatureCritic):
    """MMD GAN: an unbiased estimate of the maximum mean discrepancy of features, by a kernel on them.

    The critic h maximizes MMD²(h(x), h(G(z))) - λ (‖∇w(x̂)‖ - 1)², w the witness function of the batch at points on the
    lines between the sides; the generator minimizes MMD². The kernel is Σ (1 + ‖a - b‖² / 2α)^-α over α = .2, .5, 1, 2,
    5, plus the dot product a·b. The estimate is negative at times.

    When: a critic of few parameters, since much of the judging is the kernel's; large batches.

    Cost: five turns of the critic for one of the generator, with second derivatives. Parts of a batch are refused.
    """

    coupled = True

    def distance(self, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        return squared_mmd(all_gather(real), all_gather(fake)).expand(len(fake))

    def witness(self, at: Tensor, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        return kernel(at, all_gather(real)).mean(1) - kernel(at, all_gather(fake)).mean(1)


@declare.objective(
    "cramer-gan",
    paper="arXiv:1705.10743",
    tags=("gan",),
    recipe={
        "like": "gan",
        "options": {"train.lr": 1e-4, "train.betas": (0.5, 0.9)},
        "presets": {
            "image": {"critic.spectral_norm": False, "objective.gp_weight": 10.0},
            "vector": {"train.lr": 1e-3},
        },
    },
)
class CramerGAN(FeatureCritic):
    """Cramér GAN: the energy distance of features, by two samples for every real observation.

    With h the critic's features, x̃₁ and x̃₂ samples, the generator minimizes ‖h(x) - h(x̃₁)‖ + ‖h(x) - h(x̃₂)‖ -
    ‖h(x̃₁) - h(x̃₂)‖, whose mean has unbiased gradients. The critic maximizes u(x) - u(x̃₁) - λ (‖∇u(x̂)‖ - 1)² with
    u(x) = ‖h(x) - h(x̃₂)‖ - ‖h(x)‖.

    When: to compare with `wgan-gp`, whose gradients are biased by the critic's being trained on a batch.

    Cost: that of `wgan-gp` and a second sample for each observation.
    """

    @dataclass(frozen=True)
    class Options(FeatureCritic.Options):
        features: int = option(256, "numbers that the critic puts out", low=1)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return super().draw(player, draws, model) | {"second": model.prior.draw(draws)}

    def distance(self, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        return distances(real, fake) + distances(real, other) - distances(fake, other)

    def critic_distance(self, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        return self.witness(real, real, fake, other) - self.witness(fake, real, fake, other)

    def witness(self, at: Tensor, real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
        return distances(at, other) - distances(at, torch.zeros_like(at))


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Of rows ``(B, d)``, ``(B,)``; all derivatives are zero where a distance is, as those of a norm are not."""
    squared = (x - y).square().sum(1)
    apart = squared > 0
    return torch.where(apart, squared, torch.ones_like(squared)).sqrt() * apart


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Rational quadratic kernels and the dot product, of all pairs of ``(N, d)`` and ``(M, d)``: ``(N, M)``."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T + rational_quadratic(squared_distances(x, y))


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of ``(N, d)`` and ``(M, d)``, 0-d."""
    return mmd_of_pairs(x, y, kernel)
