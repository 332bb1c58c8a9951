"""Training with differential privacy: Poisson batches, a clipped gradient of each observation, noise, an accountant.

DP-SGD (Abadi et al., arXiv:1607.00133): every step draws each of N observations by itself with the chance q = B/N,
scales its gradient to a norm of at most C, and moves by (Σ_i clip(g_i) + σ C · N(0, I)) / B. σ is the least with which
the accountant of Opacus (Rényi divergences of the subsampled Gaussian mechanism) stays within ε at δ over all steps.
"""

from __future__ import annotations

import math
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from genzoo.core.errors import MissingPackage, UsageError
from genzoo.core.noise import Order
from genzoo.core.objective import Loss

if TYPE_CHECKING:
    from genzoo.core.training.trainer import Trainer

CHUNK = 64  # observations whose gradients are held at a time
OVERFLOW = 1e-3  # share of δ for what it costs that a batch may have more observations than are taken


def _random() -> np.random.Generator:
    """Random numbers that nobody can draw again: who knows the seed could take the noise off."""
    return np.random.default_rng(secrets.randbits(256))


@dataclass(frozen=True)
class Private:
    """What a private run draws and spends."""

    epsilon: float
    delta: float
    rate: float  # q, the chance of an observation to be in a batch
    expected: int  # B, observations in a batch on average
    most: int  # and at most
    sigma: float
    clip: float
    random: np.random.Generator = field(default_factory=_random, repr=False, compare=False)

    @classmethod
    def of(cls, epsilon: float, delta: float, n: int, batch: int, steps: int, clip: float) -> Private:
        """Find the noise for so many steps on ``n`` observations."""
        if batch > n:
            raise UsageError(f"train.private draws batches of {batch} on average, and there are {n} observations: "
                             "--batch-size of fewer")  # fmt: skip
        if delta > 1 / n:
            raise UsageError(f"train.delta={delta:g} is more than one in the {n:,} observations: it would allow to "
                             f"publish some; --set train.delta={0.1 / n:.0e}")  # fmt: skip
        rate, most = batch / n, batch
        # A sampler that is another one with the chance η costs (1 + e^ε) η of δ.
        room = math.log(OVERFLOW * delta / steps) - float(np.logaddexp(0.0, epsilon))
        while most < n and _log_beyond(most, n, rate) > room:
            most += max(most // 100, 1)
        utils = _opacus("accountants.utils")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that the bound could be a little tighter
                sigma = utils.get_noise_multiplier(
                    target_epsilon=epsilon, target_delta=delta * (1 - OVERFLOW), sample_rate=rate, steps=steps,
                    epsilon_tolerance=min(0.01, epsilon / 100), accountant="rdp",
                )  # fmt: skip
        except ValueError as e:
            raise UsageError(f"no noise gives train.private={epsilon:g} over {steps:,} steps ({e}): allow more, or "
                             "take fewer steps") from None  # fmt: skip
        return cls(epsilon, delta, rate, batch, min(most, n), float(sigma), clip)

    def spent(self, steps: int) -> float:
        """ε at δ after so many steps."""
        if not steps:
            return 0.0
        accountant = _opacus("accountants").RDPAccountant()
        accountant.history = [(self.sigma, self.rate, steps)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return float(accountant.get_epsilon(self.delta * (1 - OVERFLOW)))

    def said(self, steps: int) -> dict[str, Any]:
        """What the record of a run says."""
        return {
            "epsilon": self.spent(steps), "delta": self.delta, "sigma": self.sigma, "clip": self.clip,
            "sampling rate": self.rate, "steps": steps, "accountant": f"RDP, opacus {_opacus('').__version__}",
        }  # fmt: skip


def _opacus(module: str) -> Any:
    try:
        return import_module(f"opacus.{module}".rstrip("."))
    except ModuleNotFoundError:
        raise MissingPackage("training with differential privacy needs opacus: pip install 'genzoo[private]'") from None


def _log_beyond(most: int, n: int, rate: float) -> float:
    """Log of a bound on the chance that Binomial(n, rate) exceeds ``most`` (Chernoff)."""
    a = most / n
    if a >= 1:
        return -math.inf
    return -n * (a * math.log(a / rate) + (1 - a) * math.log((1 - a) / (1 - rate))) if rate < 1 else 0.0


class PoissonOrder(Order):
    """Batches in which every observation is by itself with the same chance; each `take` is a new one."""

    def __init__(self, n: int, private: Private, device: torch.device | str = "cpu") -> None:
        super().__init__(n, 0, device)
        self.private, self.count = private, 0

    def take(self, start: int, count: int) -> Tensor:
        """Numbers of the observations, of which the first `count` are the batch and the others fill it up."""
        random = self.private.random
        chosen = random.permutation(np.flatnonzero(random.random(self.n) < self.private.rate))[:count]
        self.count = len(chosen)
        return torch.from_numpy(np.pad(chosen, (0, count - len(chosen)))).to(self.device)


class PrivateTurn(nn.Module):
    """A turn whose gradient is private: what it returns to be minimized has the noisy gradient, and no other."""

    def __init__(self, turn: nn.Module, parameters: list[nn.Parameter], private: Private, order: PoissonOrder) -> None:
        super().__init__()
        self.turn, self.private, self.order = turn, private, order
        own = {id(p) for p in parameters}
        self.names = {name: p for name, p in turn.named_parameters() if id(p) in own}

    def forward(
        self, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor], weight: Tensor | None = None
    ) -> tuple[Tensor, Loss]:
        private, n = self.private, self.order.count
        held = {name: p.detach() for name, p in self.names.items()}
        total, found, losses = {name: torch.zeros_like(p) for name, p in held.items()}, [], []
        for start in range(0, max(n, 1), CHUNK):
            part = slice(start, max(min(start + CHUNK, n), 1))
            some = {k: v[part] if v.dim() and len(v) == len(x) else v for k, v in noise.items()}
            each, value, terms = self._each(held, x[part], None if y is None else y[part], some, len(x))
            norm = torch.stack([g.flatten(1).square().sum(1) for g in each.values()]).sum(0).sqrt()
            factor = (private.clip / norm.clamp(min=1e-12)).clamp(max=1.0) * (n > 0)
            good = torch.isfinite(norm)
            for name, g in each.items():
                kept = torch.where(good.view(-1, *[1] * (g.dim() - 1)), g, 0.0)
                total[name] += torch.tensordot(torch.where(good, factor, 0.0), kept, 1)
            found.append(terms)
            losses.append(value)
        moved = x.new_zeros(())
        for name, p in self.names.items():
            drawn = torch.from_numpy(private.random.standard_normal(p.shape, dtype=np.float32)).to(p)
            moved = moved + (p * ((total[name] + private.sigma * private.clip * drawn) / private.expected)).sum()
        loss = torch.cat(losses).mean()
        terms = {k: torch.cat([t[k] for t in found]).flatten() for k in found[0]}
        return moved - moved.detach() + loss, Loss(terms)

    def _each(
        self, held: dict[str, Tensor], x: Tensor, y: Tensor | None, noise: dict[str, Tensor], whole: int
    ) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """Gradients ``(B, *)`` of each observation, its loss ``(B,)``, and the terms of it."""
        apart = {k: 0 if v.dim() and len(v) == len(x) else None for k, v in noise.items()}

        def one(own: dict[str, Tensor], x: Tensor, y: Tensor | None, noise: dict[str, Tensor]) -> Any:
            given = {k: v[None] if apart[k] == 0 else v for k, v in noise.items()}
            total, loss = functional_call(self.turn, own, (x[None], None if y is None else y[None], given))
            if loss.coupled or loss.sums:
                names = ", ".join({**loss.coupled, **loss.sums})
                raise UsageError(f"train.private needs a loss of each observation by itself, and {names} is of the "
                                 "whole batch: table-ar and table-vae have one")  # fmt: skip
            return total, {k: v.detach() for k, v in {**loss.terms, **loss.shown}.items()}

        axes = (None, 0, None if y is None else 0, apart)
        try:
            grads, (value, terms) = vmap(grad_and_value(one, has_aux=True), axes, randomness="different")(
                held, x, y, noise
            )
        except UsageError:
            raise
        except RuntimeError as e:
            raise UsageError(f"gradients of each observation cannot be had of this model ({str(e).splitlines()[0]}): "
                             "train.private works with table-ar and table-vae") from None  # fmt: skip
        return grads, value, terms


def with_private(epsilon: float | None, options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Options of a run that is asked to spend ``epsilon``, where that is not None."""
    if epsilon is None:
        return options or {}
    if not epsilon > 0:
        raise UsageError(f"private is an ε above 0, such as 3, not {epsilon:g}")
    if (options or {}).get("train.private", epsilon) != epsilon:
        raise UsageError("train.private was given twice, in options and beside them: give it once")
    held_out = {"train.validation": 0, "train.patience": 0, "train.clip": 1.0}
    return {**held_out, **(options or {}), "train.private": epsilon}


def private_run(trainer: Trainer, n: int) -> Private | None:
    """What a trainer's options ask for; `UsageError` for what would not be private, or would look so and is not."""
    o, nets, players = trainer.options, trainer.nets, trainer.objective.players()
    if not o.private:
        return None
    wrong: tuple[tuple[Any, str], ...] = (
        (len(players) > 1 or players[0].turns > 1,
         f"it is for models of one player, and {', '.join(p.name for p in players)} play here (a game is not "
         "accounted for): take table-ar or table-vae"),
        (trainer.held_out is not None or o.patience,
         "rows that are held out decide when training ends, and nothing covers them: --private EPS holds none out, or "
         "--set train.validation=0 --set train.patience=0"),
        (trainer.record.get("init"), "what the weights of --init know of rows is not accounted for: leave it out"),
        (not o.clip, "each gradient needs a bound: --set train.clip=1"),
        (o.sampling != "uniform", "every row is drawn with one chance: leave out train.sampling"),
        (o.class_weights != "none", "every row weighs the same: leave out train.class_weights"),
        (o.accumulate > 1, "gradients are computed in parts already: leave out train.accumulate"),
        (o.skip_above or trainer.on_nan != "stop", "a turn that is left out or done again is not accounted for: leave "
         "out train.skip_above and on_nan"),
        (trainer.runtime.size > 1, "it runs on one process: leave out --devices"),
        (trainer.hardware.compile, "leave out --compile"),
        (trainer.objective.watching, "what follows a turn's numbers is not noisy: take table-ar or table-vae"),
        (any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in nets.modules()),
         "batch norm ties the rows of a batch together: another norm in each network that has it, such as --set "
         "generator.norm=layer --set encoder.norm=layer"),
        (any(getattr(m, "averaged", ()) for m in nets.modules()), "a codebook that averages move is not noisy"),
    )  # fmt: skip
    for is_so, why in wrong:
        if is_so:
            raise UsageError(f"train.private: {why}")
    return Private.of(o.private, o.delta, n, o.batch_size, trainer.steps, o.clip)


def make_private(trainer: Trainer) -> None:
    """Let the player's turns have private gradients."""
    playing, private = trainer.player_states[0], trainer.private
    order = trainer.feed.order
    assert private is not None
    assert isinstance(playing.turn, nn.Module)
    if not isinstance(order, PoissonOrder) or not trainer.feed.resident:
        raise UsageError("train.private: rows are drawn anew at every step, so they must fit in memory: leave out "
                         "--data-memory")  # fmt: skip
    playing.turn = PrivateTurn(playing.turn, playing.parameters, private, order)
