"""Contrastive critics of classes: observations compared with proxies of classes and with the rest of the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from genzoo.core.distributed.gather import all_gather, own_part
from genzoo.core.objective import Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Made, Regularizer
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.acgan import Classifying
from genzoo.plugins.gan.hinge import Hinge
from genzoo.registry import declare


class Contrast(Regularizer):
    """A term of both players, of what the critic says after the score: embeddings, on the sphere as proxies are."""

    plays = ("critic", "generator")
    coupled = True

    def __init__(self, objective: Contrastive) -> None:
        super().__init__(Regularizer.Options(weight=objective.options.weight))
        self.of = (objective.contrast,)

    def _term(self, nets: Networks, outputs: Tensor, y: Tensor | None) -> Tensor:
        assert y is not None  # the plan refuses what has no labels
        proxies: nn.Embedding = nets.critics["proxies"]  # type: ignore[assignment]
        with torch.autocast(outputs.device.type, enabled=False):
            f, w = (all_gather(normalize(v.float(), dim=1)) for v in (outputs[:, 1:], proxies(y)))
            return own_part(self.of[0](f, w, all_gather(y)), len(outputs))

    def term(self, judged: Judged) -> Tensor:
        return self._term(judged.nets, judged.real_outputs, judged.real.labels)

    def generator_term(self, made: Made) -> Tensor:
        return self._term(made.nets, made.outputs, made.real.labels)


class Contrastive(Classifying):
    """A hinge loss with a `Contrast` term: real embeddings' in the critic's turn, samples' in the generator's."""

    @dataclass(frozen=True)
    class Options(Hinge.Options):
        dim: int = option(512, "numbers of an embedding", low=1)
        weight: float = option(1.0, "weight λ of the contrast", low=0)

    options: Options

    def __init__(self, options: Hinge.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["contrast"] = Contrast(self)

    def contrast(self, f: Tensor, w: Tensor, y: Tensor) -> Tensor:
        """The term ``(B,)`` of embeddings and of their classes' proxies ``(B, d)``, all of length 1, and of labels."""
        raise NotImplementedError

    def more(self, classes: int) -> int:
        return self.options.dim

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        extras = {"proxies": partial(nn.Embedding, classes, self.options.dim)}
        return replace(super().plan(spec, classes), extras=extras)

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()
        return replace(critic, moves=("critic", "proxies")), generator


@declare.objective(
    "contragan", paper="arXiv:2006.12681", tags=("gan", "conditional"), recipe={"like": "hinge", "conditional": True}
)
class ContraGAN(Contrastive):
    """ContraGAN: embeddings f of one class attract each other and their proxy w, and repel all others.

    Both players add λ times the 2C loss, - log [(e^(f·w/τ) + Σ_same e^(f·f'/τ)) / (e^(f·w/τ) + Σ_all e^(f·f'/τ))], sums
    over the others of the batch: the critic of real observations, the generator of samples.

    When: to compare with `reacgan`, which came after it.

    Cost: that of `hinge`, and a matrix of all pairs of the batch. Parts of it are refused (``train.accumulate``).
    """

    @dataclass(frozen=True)
    class Options(Contrastive.Options):
        temperature: float = option(1.0, "τ", low=1e-3)

    options: Options

    def contrast(self, f: Tensor, w: Tensor, y: Tensor) -> Tensor:
        pairs, same, self_ = f @ f.T / self.options.temperature, y[:, None] == y, torch.eye(len(y), device=f.device)
        own = (f * w).sum(1, keepdim=True) / self.options.temperature
        others = pairs.masked_fill(self_.bool(), -math.inf)
        kin = others.masked_fill(~same, -math.inf)
        return torch.cat([own, others], 1).logsumexp(1) - torch.cat([own, kin], 1).logsumexp(1)


@declare.objective(
    "reacgan", paper="arXiv:2111.01118", tags=("gan", "conditional"), recipe={"like": "hinge", "conditional": True}
)
class ReACGAN(Contrastive):
    """Rebooted ACGAN: embeddings f on a sphere, near their class's proxy w and away from those of other classes.

    Both players add λ times the data-to-data cross-entropy p + log(e^(-p) + Σ e^(n)), p = relu(m - f·w)/τ, n =
    relu(f·f' - (1 - m))/τ over the observations of other classes: the critic of real ones, the generator of samples.
    Easy ones, p = 0 or n = 0, have no gradient, which keeps ACGAN's from exploding.

    When: many classes, or an `acgan` that collapses.

    Cost: that of `hinge`, and a matrix of all pairs of the batch. Parts of it are refused (``train.accumulate``).
    """

    @dataclass(frozen=True)
    class Options(Contrastive.Options):
        weight: float = option(0.5, "weight λ of the cross-entropy", low=0)
        temperature: float = option(0.5, "τ", low=1e-3)
        margin: float = option(0.98, "m: cosine to the proxy from which on an observation is easy", low=-1, high=1)

    options: Options

    def contrast(self, f: Tensor, w: Tensor, y: Tensor) -> Tensor:
        t, m = self.options.temperature, self.options.margin
        p = (m - (f * w).sum(1)).relu() / t
        n = ((f @ f.T - (1 - m)).relu() / t).masked_fill(y[:, None] == y, -math.inf)
        return p + torch.cat([-p[:, None], n], 1).logsumexp(1)
