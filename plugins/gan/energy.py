"""Energy-based GANs: the critic is an autoencoder, which judges up to a margin or in balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import NO_PACKS, Adversarial
from genzoo.registry import declare


class Energy(Adversarial):
    """A critic of two halves, ``coder`` and ``decoder``, built like encoder and generator.

    An observation's energy is the mean absolute error of its reconstruction, over all dimensions. A variant says what
    the generator minimizes, given energies ``(B,)`` and codes ``(B, hidden)``: `wanted`; and the critic: `judged`.
    """

    takes = frozenset()

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        hidden: int = option(32, "numbers between the halves of the critic", low=1)

    options: Options

    def wanted(self, fake: Tensor, code: Tensor) -> Loss:
        return Loss({"adversarial": fake})

    def judged(self, real: Tensor, fake: Tensor) -> Loss:
        raise NotImplementedError

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if self.pack > 1:
            raise UsageError(NO_PACKS)
        code = (self.options.hidden,)
        halves = (
            CriticPlan("coder", code, kind="encoder"),
            CriticPlan("decoder", spec.shape, inputs=code, kind="generator"),
        )
        return Plan(critics=halves)

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()
        return replace(critic, moves=("coder", "decoder")), generator

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "generator" and torch.is_grad_enabled()):
            made = nets.model.mean(noise["z"], batch.y)
        fake, code = self.energy(nets, made, batch.y)
        if player == "generator":
            return self.wanted(fake, code)
        return self.judged(self.energy(nets, batch.x, batch.y)[0], fake)

    def energy(self, nets: Networks, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Energies ``(B,)`` and codes ``(B, hidden)`` of observations in model space."""
        code = nets.critics["coder"](x, y)
        decoder: Generator = nets.critics["decoder"]  # type: ignore[assignment]
        error = nets.model.likelihood.mean(decoder(code, y)) - x
        return error.abs().flatten(1).float().mean(1), code.float()


@declare.objective(
    "began",
    paper="arXiv:1703.10717",
    tags=("gan", "energy"),
    recipe={
        "options": {"latent.size": 64, "train.lr": 2e-4, "train.betas": (0.5, 0.999), "train.average": 10_000},
        "presets": {
            "image": {"generator": "conv", "generator.norm": "none", "encoder": "conv", "encoder.norm": "none"},
            "vector": {
                "generator": "mlp",
                "encoder": "mlp",
                "latent.size": 2,
                "objective.hidden": 1,
                "train.lr": 1e-3,
                "train.batch_size": 256,
                "train.schedule": "cosine",
                "train.average": 0,
            },
            "text": {"generator": "mlp", "encoder": "mlp"},
        },
    },
)
class BEGAN(Energy):
    """Boundary equilibrium GAN: E is the error of an autoencoder, k keeps E[E(G(z))] = γ E[E(x)].

    The critic minimizes E(x) - k E(G(z)), the generator E(G(z)), and after each turn of the critic
    k moves by rate · (γ E[E(x)] - E[E(G(z))]), within [0, 1].

    When: smooth pictures of one kind, such as faces, where sharpness may be traded for diversity by γ. In the plane it
    ends in few modes: `r3gan` is for those.

    Cost: a critic of two networks, without second derivatives.
    """

    watched = ("real", "fake")

    @dataclass(frozen=True)
    class Options(Energy.Options):
        gamma: float = option(
            0.75, "energy of samples over energy of data: less is sharper, more is more diverse", low=0
        )
        rate: float = option(0.001, "of k, per turn of the critic", low=0)

    options: Options
    k: Tensor

    def __init__(self, options: Energy.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("k", torch.zeros(()))

    def judged(self, real: Tensor, fake: Tensor) -> Loss:
        return Loss({"real": real, "fake": fake}, {"fake": -self.k}, shown={"k": self.k.clone()})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            self.k.add_(self.options.rate * (self.options.gamma * seen["real"] - seen["fake"])).clamp_(0, 1)


@declare.objective("ebgan", paper="arXiv:1609.03126", tags=("gan", "energy"), recipe={"like": "began"})
class EBGAN(Energy):
    """Energy-based GAN with pulling away: E is the error of an autoencoder, fakes count up to a margin m.

    The critic minimizes E(x) + relu(m - E(G(z))), the generator E(G(z)) + pull · PT, where PT is the mean squared
    cosine between the codes of different samples of a batch.

    When: to compare with `began`; the margin needs a look at the data's energies (``real`` in the log), above which it
    should lie.

    Cost: a critic of two networks, without second derivatives. Parts of a batch are refused (``train.accumulate``).
    """

    @dataclass(frozen=True)
    class Options(Energy.Options):
        margin: float = option(1.0, "energy m above which samples are ignored, a mean per dimension", low=0)
        pull: float = option(0.1, "weight of the pulling-away term", low=0)

    options: Options

    def wanted(self, fake: Tensor, code: Tensor) -> Loss:
        pull = pulling_away(all_gather(code)).expand(len(fake))
        return Loss({"adversarial": fake, "pull": pull}, {"pull": self.options.pull}, {"pull": True})

    def judged(self, real: Tensor, fake: Tensor) -> Loss:
        return Loss({"real": real, "fake": (self.options.margin - fake).relu()}, shown={"energy": fake})


def pulling_away(codes: Tensor) -> Tensor:
    """Mean squared cosine of different codes ``(B, d)``, 0-d: 0 where all are orthogonal, 1 where all are parallel."""
    with torch.autocast(codes.device.type, enabled=False):
        s, n = normalize(codes, dim=1), len(codes)
        return ((s @ s.T).square().sum() - s.square().sum(1).square().sum()) / max(n * (n - 1), 1)
