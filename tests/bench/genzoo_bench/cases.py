"""What `genzoo bench train` trains: recipes, with the hand-written loop that equals each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.hardware import Hardware
from genzoo.core.objective import Networks, Objective
from genzoo.core.training.trainer import Trainer
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize
from genzoo_bench import bounds, hand

MLP = {"generator": "mlp", "encoder": "mlp"}
SQUARED = {"likelihood": "gaussian", "likelihood.sigma": "fixed", "train.validation": 0}
MMD_WEIGHT = 3e-2  # pythae's default
TINY = {"generator.width": 32, "generator.depth": 1, "encoder.width": 32, "encoder.depth": 1, "latent.size": 2}


class SquaredVAE(hand.VAE):
    """A VAE with squared error, as pythae has it."""

    def nll(self, x: Tensor, out: Tensor) -> Tensor:
        """Half the squared error."""
        return 0.5 * (x - out).square().sum()


@dataclass(frozen=True)
class Case:
    """A training that both sides do.

    Attributes:
        title: for the table.
        recipe: genzoo's.
        options: over the recipe's.
        data: the data set.
        loop: the hand-written loop.
        rivals: further libraries that it is measured against: ``pythae``, ``torchgan``, ``mimicry``.
        wanted: rival to the ratio that is wanted.
        reduced: whether genzoo is measured in bfloat16 too, which the rivals don't have on the CPU.
    """

    title: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = "fashion-mini"
    loop: type[hand.Loop] | None = None
    rivals: tuple[str, ...] = ()
    wanted: Mapping[str, float] = field(default_factory=dict)
    reduced: bool = False


HAND = {"hand": 0.97}
NARROW = {"generator.width": 16, "critic.width": 16}
R3 = {"generator": "r3gan", "critic": "r3gan", "generator.blocks": 1, "critic.blocks": 1}
CASES: dict[str, Case] = {
    "vae-mlp": Case("VAE-MLP", "vae", MLP, loop=hand.PixelVAE, wanted=HAND),
    "vae-conv": Case("VAE-conv", "vae", loop=hand.PixelVAE, wanted=HAND),
    "wgan-gp-conv": Case("WGAN-GP-conv", "wgan-gp", loop=hand.WGANGP, wanted=HAND),
    "gan-mlp": Case(
        "GAN-MLP", "gan", {"generator": "mlp", "critic": "mlp", "critic.spectral_norm": False},
        loop=hand.GAN, wanted=HAND,
    ),
    "gan-plane": Case("GAN-MLP in the plane", "gan", data="ring8", loop=hand.GAN, wanted=HAND),
    "dcgan": Case(
        "DCGAN", "gan", {"critic.norm": "batch", "critic.spectral_norm": False, "train.average": 0},
        loop=hand.GAN, rivals=("torchgan", "mimicry"), reduced=True,
        wanted={**HAND, "torchgan": 1.0, "mimicry": 1.0, "torchgan/bfloat16": 1.25, "mimicry/bfloat16": 1.25},
    ),
    "sngan": Case("SNGAN", "sngan", {"objective.critic_steps": 1, **NARROW}, loop=hand.Hinge, wanted=HAND),
    "sngan-labels": Case(
        "SNGAN told the class", "sngan", {"objective.critic_steps": 1, "conditional": True, **NARROW},
        loop=hand.HingeLabels, wanted=HAND,
    ),
    "hinge-ada": Case("Hinge loss, ADA", "hinge", {"augmentation": ["ada"]}, loop=hand.HingeADA, wanted=HAND),
    "wgan-gp-pack": Case(
        "WGAN-GP, packs of 2", "wgan-gp", {"objective.pack": 2, "objective.critic_steps": 1},
        loop=hand.PackedWGANGP, wanted=HAND,
    ),
    "r3gan-net": Case("R3GAN's networks", "r3gan", {**R3, **NARROW}, loop=hand.R3GAN, wanted=HAND),
    "stylegan2": Case(
        "StyleGAN2's networks", "gan", {"generator": "stylegan2", "critic": "stylegan2", "critic.group": 1, **NARROW},
        loop=hand.GAN, wanted=HAND,
    ),
    "vae-mlp-squared": Case(
        "VAE-MLP, squared error", "vae", {**MLP, **SQUARED}, loop=SquaredVAE, rivals=("pythae",),
        wanted={**HAND, "pythae": 1.4},
    ),
    **{
        recipe: Case(recipe, recipe, {**MLP, **SQUARED, **options}, loop=loop, wanted=HAND)
        for recipe, loop, options in (
            ("beta-vae", bounds.BetaVAE, {}),
            ("iwae", bounds.IWAE, {}),
            ("miwae", bounds.MIWAE, {"objective.samples": 4, "objective.bounds": 2}),
            ("ciwae", bounds.CIWAE, {"objective.samples": 5}),
            ("beta-tc-vae", bounds.BetaTCVAE, {}),
            ("dip-vae", bounds.DIPVAE, {}),
            ("info-vae", bounds.InfoVAE, {}),
        )
    },
    "vae-tiny": Case(
        "VAE-tiny, squared error", "vae", {**MLP, **SQUARED, **TINY}, loop=SquaredVAE, rivals=("pythae",),
        wanted={**HAND, "pythae": 2.0},
    ),
    "wae-tiny": Case(
        "WAE-tiny", "wae", {**MLP, **SQUARED, **TINY, "likelihood.value": 1.0, "objective.strength": MMD_WEIGHT},
        rivals=("pythae",), wanted={"pythae": 2.0},
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case with its data, config, and networks in their initial state."""

    case: Case
    config: Config
    data: Data
    objective: Objective
    nets: Networks

    def fresh(self) -> Networks:
        """A copy of the networks."""
        return copy.deepcopy(self.nets)

    def trainer(self, precision: str = "float32", *, compile_turns: bool = False) -> Trainer:
        """The trainer of genzoo over a copy of the networks."""
        return Trainer(
            copy.deepcopy(self.objective), self.fresh(), self.data, self.config.train,
            hardware=Hardware(precision=precision, compile=compile_turns),
        )  # fmt: skip


def prepare(case: Case, device: torch.device, batch_size: int | None = None) -> Prepared:
    """Load a case's data, in whole batches, and build its networks."""
    from genzoo.registry.verbs.load import load_data

    data = load_data(case.data)
    options = {"train.validation": 0, "train.steps": 2**30, "train.schedule": "constant", **case.options}
    if batch_size:
        options["train.batch_size"] = batch_size
    config = compose(the_registry(), data.spec, case.recipe, options)
    size = config.train.batch_size
    data = data.take(slice(len(data) // size * size)).to(device)
    objective, nets = initialize(config, 0)
    return Prepared(case, config, data, objective, nets.to(device))
