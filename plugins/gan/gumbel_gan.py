"""GANs of texts by draws that have slopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import to_levels
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.gan.relativistic import RpGAN
from genzoo.plugins.likelihoods.sequence import SequenceLikelihood
from genzoo.registry import declare

BESIDE = (
    "Read this beside the curve of a language model over temperatures, which no GAN of texts is known to beat "
    "(arXiv:1811.02549): 'genzoo bench text' measures it on these data, and the page on texts shows one."
)


def text_likelihood(model: Model) -> SequenceLikelihood:
    """The likelihood of a model of texts, by which a GAN of texts draws."""
    if not isinstance(model.likelihood, SequenceLikelihood):
        raise UsageError("a GAN of texts draws token after token: use --likelihood ar-gru, ar-transformer or ar-conv")
    return model.likelihood


def one_hot(x: Tensor, levels: int) -> Tensor:
    """Texts in model space ``(B, L)`` as one-hot vectors ``(B, L, levels)``."""
    return F.one_hot(to_levels(x, levels), levels).to(x.dtype)


def text_shape(spec: DataSpec) -> tuple[int, int]:
    """What a critic of texts is shown, ``(L, levels)``; raises `UsageError` where the data is no text."""
    if "alphabet" not in spec.facts:
        raise UsageError(f"this GAN is for texts, not for {spec.modality} data: take another, such as gan or r3gan")
    assert spec.levels is not None
    return spec.shape[0], spec.levels


@declare.objective(
    "gumbel-gan",
    paper="arXiv:1611.01144",
    tags=("gan", "text", "relativistic"),
    modalities=("text",),
    recipe={
        "generator": "constant",
        "critic": "text-conv",
        "likelihood": "ar-gru",
        "regularizer": ["r1=4"],
        "options": {
            "latent.size": 0,
            "train.validation": 0.05,
            "train.batch_size": 64,
            "train.lr": 3e-4,
            "train.betas": (0.0, 0.99),
            "train.schedule": "cosine",
            "train.clip": 1.0,
        },
    },
)
class GumbelGAN(RpGAN):
    """Relativistic GAN of texts that are drawn by Gumbel-softmax, so that slopes of the critic reach the generator.

    A token is one-hot(argmax(l + g)), l logits and g Gumbel noise: an exact draw, with the slopes of
    softmax((l + g) / τ); τ falls by the same factor at every step. As in RelGAN the loss
    compares pairs. The likelihood stays exact, so that it is measured as that of `lm` is.

    When: to study adversarial training of texts. By maximum likelihood `lm` is better and cheaper: start from it,
    ``--init RUN``, and hold the curve of ``genzoo bench text`` beside it.

    Cost: length-many steps of the likelihood, one after another, twice for each step.
    """

    takes = frozenset({"regularizer"})
    compare_with = BESIDE

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        tau: float = option(1.0, "temperature τ of the slopes at first", low=0.01)
        tau_end: float = option(0.3, "the same at the end", low=0.01)
        critic_first: float = option(0.0, "share of training in which only the critic learns", low=0, high=0.9)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(likelihood=True, critics=(self.critic_plan(spec, inputs=text_shape(spec)),))

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()
        return critic, replace(generator, moves=("generator", "likelihood"))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise, o = super().draw(player, draws, model), self.options
        noise["gumbel"] = draws.uniform(*text_shape(model.spec))
        noise["tau"] = draws.number(o.tau * (o.tau_end / o.tau) ** draws.progress)
        noise["on"] = draws.number(float(draws.progress >= o.critic_first))
        return noise

    def generated(self, model: Model, noise: Mapping[str, Tensor], y: Tensor | None) -> Tensor:
        params = model.generator(noise["z"], y)
        return text_likelihood(model).relaxed(params, noise["gumbel"], noise["tau"])

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        levels = text_shape(nets.model.spec)[1]
        found = super().loss(player, nets, replace(batch, x=one_hot(batch.x, levels)), noise)
        return replace(found, weights={"adversarial": noise["on"]}) if player == "generator" else found

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """-log p(x) in nats, exact without a code; with one, of a code from the prior, it is an upper bound."""
        params = nets.model.generator(noise["z"], batch.y)
        return -nets.model.likelihood.log_prob(params, batch.x)
