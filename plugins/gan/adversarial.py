"""What every GAN shares: a critic that scores, a generator that wants good scores, and their turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Objective, Plan, Player
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Made, Regularizer
from genzoo.core.spec import DataSpec
from genzoo.plugins.nets.blocks import as_numbers

NO_PACKS = (
    "packs are for losses whose critic gives a score of observations and is told nothing but their classes: leave out "
    "objective.pack, or take another loss, such as gan or hinge"
)


class Adversarial(Objective):
    """A game of a critic against a generator.

    A variant says what both want of the scores, per observation: `critic_loss` and `generator_loss`; and perhaps
    `further` terms or a `penalty`. Scores are logits, ``(B,)``, real and fake observation of a pair under one index.
    Everything that the critic is shown goes through `view`, and everything that it says through `score`.
    """

    takes = frozenset({"regularizer", "augmentation"})
    penalized: bool = False  # gradients of the critic are, so that it may not mix observations; regularizers say it too
    paired: bool = False  # the generator's loss compares with real observations
    coupled: bool = False  # both losses compare with the whole batch: `genzoo.core.distributed.gather.all_gather`
    shift_invariant: bool = False  # a constant added to all scores changes nothing: their zero is anywhere
    takes_slopes: bool = False  # of scores in the generator's turn, so that no part may do so before
    generator_terms: bool = True  # its other turn ends in `made`, which adds the regularizers' terms

    @dataclass(frozen=True)
    class Options(Objective.Options):
        critic_steps: int = option(1, "turns of the critic for one of the generator", low=1)
        critic_lr: float | None = option(None, "the critic's learning rate, none for the run's (TTUR)", low=0)
        critic_betas: tuple[float, float] | None = option(
            None, "the critic's Adam decay rates, none for the run's", low=0, high=0.999999
        )
        critic_decay: float | None = option(None, "the critic's weight decay, none for the run's", low=0)
        pack: int = option(1, "observations that the critic judges as one (PacGAN)", low=1, high=64)

    options: Options

    @property
    def pack(self) -> int:
        """Observations that the critic judges as one."""
        return self.options.pack

    def generated(self, model: Model, noise: Mapping[str, Tensor], y: Tensor | None) -> Tensor:
        """Observations as the critic is shown them, of this turn's noise."""
        return model.mean(noise["z"], y)

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimizes, given its scores ``(B,)``."""
        raise NotImplementedError

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """What the generator minimizes; ``real`` is given if `paired`."""
        raise NotImplementedError

    def further(self, player: str, real: Tensor | None, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Further terms, weighted, ``(B,)`` each, of what `score` gave; ``real`` is None where it is not judged."""
        return {}

    def penalty(self, critic: Critic, real: Batch, fake: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further terms of the critic's loss, weighted, ``(B,)`` each."""
        return {}

    def view(self, x: Tensor, noise: Mapping[str, Tensor], side: str) -> Tensor:
        """What the critic is shown of observations ``(B, *shape)`` in model space: they go through the augmentations.

        The side is ``real``, ``fake``, or ``both``: real ones, then as many fake ones.
        """
        for name, augmentation in self._augmentations.items():
            sides = ("real", "fake") if side == "both" else (side,)
            x = augmentation(x, torch.cat([noise[f"{name}.{s}"] for s in sides]))
        return x

    def feature_distance(self, critic: Critic, batch: Batch, again: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """‖φ(x) - φ(x̂)‖² of observations and as many reconstructions, φ the features of the critic, ``(B,)``."""
        with torch.no_grad():
            truth = critic.features(self.view(batch.x, noise, "fake"), batch.y)
        found = critic.features(self.view(again, noise, "fake"), batch.y)
        return (truth.float() - found.float()).square().flatten(1).sum(1)

    def told(self, y: Tensor | None, noise: Mapping[str, Tensor], side: str) -> Tensor | None:
        """What the critic is told of classes and conditions of a side (see `view`), given the batch's."""
        return y

    def beside(self, noise: Mapping[str, Tensor], side: str) -> Tensor | None:
        """Numbers ``(B, k)`` that the critic is told with a side of observations (see `view`), if any."""
        return None

    def score(self, critic: Critic, x: Tensor, y: Tensor | None, beside: Tensor | None = None) -> Tensor:
        """Scores ``(B,)`` of what `view` gave; or ``(B, d)`` numbers whose first is the score."""
        scores: Tensor = (critic(x, y) if beside is None else critic(x, y, beside)).squeeze(1)
        return scores if scores.dtype == torch.float64 else scores.float()

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(critics=(self.critic_plan(spec),))

    def critic_plan(self, spec: DataSpec, **changes: Any) -> CriticPlan:
        """The plan of the one critic, after a look at the parts; ``changes`` are fields of `CriticPlan`."""
        for name, part in self.parts.items():
            if self.shift_invariant and part.reads_zero:
                raise UsageError(
                    f"{name!r} goes by the sign of the critic's scores, and this loss compares scores only, so that "
                    "their zero is anywhere: take another loss, such as gan or hinge, or leave it out"
                )
            if part.rank not in (0, len(spec.shape)):
                what = {2: "waveforms", 3: "images"}.get(part.rank, "other data")
                raise UsageError(f"{name!r} augments {what}, not {spec.modality} data of shape {spec.shape}")
            if self.takes_slopes and getattr(part, "rescales", False):
                raise UsageError(f"{name!r} takes slopes of what this loss takes slopes of: leave it out")
            if not self.generator_terms and "generator" in getattr(part, "plays", ()):
                raise UsageError(
                    f"{name!r} has a term in the generator's turn, and this objective adds none there: leave it out, "
                    "or take another loss, such as gan or hinge"
                )
            if getattr(part, "replaces", False) and ("beside" in changes or "classes" in changes):
                raise UsageError(
                    f"{name!r} lets samples stand for real observations, and this critic is told a code with each: "
                    "leave it out, or take another loss, such as gan or hinge"
                )
        if self.pack > 1 and (changes or not self.generator_terms):
            raise UsageError(NO_PACKS)
        penalized = self.penalized or any(r.penalized for r in self._regularizers.values())
        return CriticPlan(**{"penalized": penalized, "pack": self.pack, **changes})

    def players(self) -> tuple[Player, ...]:
        o = self.options
        critic = Player("critic", ("critic",), o.critic_steps, o.critic_lr, o.critic_betas, o.critic_decay)
        return critic, Player("generator", ("generator",))

    def draw_codes(self, draws: Draws, model: Model) -> Tensor:
        """Codes of generated observations, ``(B, *latent.shape)``."""
        return model.prior.draw(draws)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise = {"z": self.draw_codes(draws, model)}
        turn = "critic" if player == "critic" else "generator"
        for name, term in self._regularizers.items():
            if turn in term.plays and draws.step % term.options.every == 0:
                noise |= {f"{name}.{k}": v for k, v in term.draw(draws, model).items()}
                weight = term.weight(turn)
                if isinstance(weight, tuple):
                    noise[f"{name}.weight"] = draws.number(draws.scheduled(weight))
                if term.options.every > 1:  # what stands here tells the turn that the term is due
                    noise[f"{name}.every"] = draws.number(1.0)
        for name, augmentation in self._augmentations.items():
            noise |= {f"{name}.{side}": augmentation.draw(draws, model) for side in ("real", "fake")}
        return noise

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        if player == "critic":
            with torch.no_grad():
                fake = self.generated(nets.model, noise, batch.y)
            return self.judge(nets.critic, batch, fake, noise, nets)
        fake = self.generated(nets.model, noise, batch.y)
        made = self._outputs(nets.critic, fake, batch.y, noise, "fake")
        real = self._outputs(nets.critic, batch.x, batch.y, noise, "real") if self.paired else None
        terms = {"adversarial": self._by_packs(self.generator_loss, made, real)}
        terms |= self.further(player, None, made, batch.labels)
        return self.made(nets, batch, fake, made, noise, terms)

    def judge(
        self, critic: Critic, batch: Batch, fake: Tensor, noise: Mapping[str, Tensor], nets: Networks | None = None
    ) -> Loss:
        """The critic's turn; the networks are needed only by regularizers that make more of them."""
        for name, augmentation in self._augmentations.items():
            if augmentation.replaces:
                u = noise[f"{name}.real"]
                u = u if self.pack == 1 else u[:: self.pack].repeat_interleave(self.pack, 0)
                batch = replace(batch, x=augmentation.stand_in(batch.x, fake, u))

        def score(x: Tensor, side: str) -> Tensor:
            y = torch.cat([batch.y, batch.y]) if batch.y is not None and side == "both" else batch.y
            return self._said(critic, x, y, noise, side)

        due = self._due("critic", noise)
        sides = tuple(side for side in ("real", "fake") if any(side in r.slopes for r in due.values()))
        # A penalized critic judges observations one by one and sees both sides in one pass. Any other may have
        # batch norm, and sees them apart, each with its own statistics.
        together = critic.ports.per_observation and not critic.mixes
        judged = Judged(score, batch, fake, sides, together=together, pack=self.pack)
        judged.critic, judged.z = critic, noise["z"]
        if nets is not None:
            judged.nets = nets
        terms = {"adversarial": self._by_packs(self.critic_loss, judged.real_outputs, judged.fake_outputs)}
        terms |= self.further("critic", judged.real_outputs, judged.fake_outputs, batch.labels)
        terms |= self.penalty(critic, batch, fake, noise)
        for name, r in due.items():
            terms[name] = self._weighed("critic", name, judged, noise) * r.term(judged)
        shown = {"real": judged.real_score, "fake": judged.fake_score} | judged.shown
        return self._loss(critic, terms, shown, tuple(k for k, r in due.items() if r.coupled))

    def made(
        self,
        nets: Networks,
        batch: Batch,
        fake: Tensor,
        outputs: Tensor,
        noise: Mapping[str, Tensor],
        terms: dict[str, Tensor],
    ) -> Loss:
        """The generator's turn: to its terms come those of regularizers, given what it made and what was said of it."""
        due = self._due("generator", noise)
        if not due:
            return self._loss(nets.critic, terms)

        def view(x: Tensor, side: str) -> tuple[Any, ...]:
            return self._given(nets.critic, x, batch.y, noise, side)

        made = Made(nets, batch, noise["z"], fake, outputs, terms["adversarial"], view)
        for name, r in due.items():
            terms[name] = self._weighed("generator", name, made, noise) * r.generator_term(made)
        return self._loss(nets.critic, terms, made.shown, tuple(k for k, r in due.items() if r.coupled))

    def _due(self, turn: str, noise: Mapping[str, Tensor]) -> dict[str, Regularizer]:
        """The regularizers that have a term in a turn of this step."""
        every = self._regularizers.items()
        return {k: r for k, r in every if turn in r.plays and (r.options.every == 1 or f"{k}.every" in noise)}

    def _weighed(self, turn: str, name: str, found: Judged | Made, noise: Mapping[str, Tensor]) -> Any:
        """The factor of a regularizer's term, which is given its noise."""
        r = self._regularizers[name]
        found.noise = {k[len(name) + 1 :]: v for k, v in noise.items() if k.startswith(f"{name}.")}
        weight: Any = noise.get(f"{name}.weight", r.weight(turn))
        return weight * r.options.every

    def _said(self, critic: Critic, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor], side: str) -> Tensor:
        """What the critic says of observations, of each pack."""
        shown, *told = self._given(critic, x, y, noise, side)

        def scores(v: Tensor) -> Tensor:
            return self.score(critic, v, *told)

        asked: Callable[[Tensor], Tensor] = scores
        for r in self._regularizers.values():
            if r.rescales:
                asked = partial(r.rescaled, asked)
        return asked(shown)

    def _given(
        self, critic: Critic, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor], side: str
    ) -> tuple[Any, ...]:
        """What the critic is shown of observations, what it is told of classes and conditions, and numbers beside."""
        x, y, beside, m = self.view(x, noise, side), self.told(y, noise, side), self.beside(noise, side), self.pack
        if m == 1:
            return (x, y) if beside is None else (x, y, beside)
        if len(x) % m:
            raise UsageError(
                f"a part of the batch ({len(x)}) must be a multiple of objective.pack ({m}): "
                f"--batch-size {max(64 // m, 1) * m} is one"
            )
        packs = x.reshape(len(x) // m, -1, *x.shape[2:])
        if y is None:
            return packs, None
        width = critic.ports.beside // m
        conditions = 0 if y.dim() == 1 else y.shape[1] - (y.shape[1] != width)
        return packs, None, as_numbers(y, width - conditions, conditions, x).reshape(len(packs), -1)

    def _by_packs(self, loss: Callable[..., Tensor], *outputs: Tensor | None) -> Tensor:
        """A loss ``(B,)`` of outputs at each observation, which are computed of packs, each once."""
        if self.pack == 1:
            return loss(*outputs)
        of_packs = (v if v is None else v[:: self.pack] for v in outputs)
        return loss(*of_packs).repeat_interleave(self.pack, 0)

    def _outputs(self, critic: Critic, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor], side: str) -> Tensor:
        """The same at each observation."""
        said = self._said(critic, x, y, noise, side)
        return said if self.pack == 1 else said.repeat_interleave(self.pack, 0)

    def _loss(
        self,
        critic: Critic,
        terms: dict[str, Tensor],
        shown: Mapping[str, Tensor] | None = None,
        also: tuple[str, ...] = (),
    ) -> Loss:
        """Terms per observation, and which of them are coupled, with what the parts watch."""
        coupled = tuple(terms) if critic.mixes else (("adversarial",) if self.coupled else ()) + also
        shown, sums = dict(shown or {}), {}
        if "real" in shown and self._augmentations:
            watching = self.watching
            if "sign" in watching:
                shown["sign"] = shown["real"].detach().sign()
            if "images" in watching:
                sums["images"] = torch.full_like(shown["real"][0], len(shown["real"]))
        return Loss(terms, coupled=dict.fromkeys(coupled, True), shown=shown, sums=sums)

    @cached_property  # the module's own dict, which is asked many times in a step
    def _regularizers(self) -> dict[str, Regularizer]:
        return self.regularizers._modules  # type: ignore[return-value]

    @cached_property
    def _augmentations(self) -> dict[str, Augmentation]:
        return self.augmentations._modules  # type: ignore[return-value]
