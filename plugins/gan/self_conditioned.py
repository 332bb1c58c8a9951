"""Self-conditioned GAN: classes that nobody gave, found by k-means beside the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.infogan import Factors, InfoGAN
from genzoo.plugins.posteriors.book import Book, BookOptions
from genzoo.registry import declare

SIDE = 32  # pictures are compared at no more pixels a side


class Clusters(Factors):
    """One of K clusters, by its share of the data, as one-hot numbers; then standard normal numbers."""

    shares: Tensor

    def __init__(self, latent: Latent, clusters: int) -> None:
        if latent.size <= clusters:
            raise UsageError(
                f"{clusters} clusters leave no normal number in a code of {latent.size}: "
                f"--set latent.size={clusters + 64}, or fewer objective.clusters"
            )
        super().__init__(latent, InfoGAN.Options(categories=clusters, codes=1, uniform=0))
        self.register_buffer("shares", torch.full((clusters,), 1 / clusters))

    def log_shares(self, hot: Tensor) -> Tensor:
        return (hot[..., 0, :] @ self.shares.to(hot)).log()

    def categories(self, uniform: Tensor) -> Tensor:
        ends = self.shares.double().cumsum(0)
        return torch.searchsorted(ends[:-1].contiguous(), uniform.double() * ends[-1], right=True)


@declare.objective(
    "self-conditioned-gan",
    paper="arXiv:2006.10728",
    tags=("gan",),
    recipe={
        "like": "gan",
        "presets": {
            "image": {"latent.size": 114, "train.lr": 1e-3, "train.schedule": "cosine"},
            "vector": {"latent.size": 52, "regularizer": ["r1=0.05"]},
            "table": {"latent.size": 114},
        },
    },
)
class SelfConditioned(GAN):
    """A conditional GAN whose classes are clusters of the data, so that it needs no labels.

    Online k-means (MacQueen, 1967) finds K centres of the observations as they come. The code begins with a cluster,
    drawn by its share of the data; the critic is told the cluster of each observation, of a sample by its code and of a
    real one by its nearest centre. A generator that drops a cluster is seen to do so, and within one
    there are fewer modes to drop. The paper clusters features of its critic, and anew now and then; here pictures are
    compared as they are, at no more than 32 pixels a side.

    When: data are varied and have no labels, or their samples are all alike. With labels, `gan --conditional` is told
    more.

    Cost: that of `gan`, and K distances for each real observation.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        clusters: int = option(50, "K, clusters of the data", low=2, high=4096)
        decay: float = option(0.999, "of the centres' moving averages, per step", low=0, high=1)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if classes:
            raise UsageError("this objective finds classes by itself: leave out --conditional, or take --objective gan")
        k = self.options.clusters
        dim = prod(self.compared(torch.zeros(1, *spec.shape)).shape)
        book = BookOptions(codes=k, decay=self.options.decay, dead=0.0)
        critic = self.critic_plan(spec, classes=k)
        return Plan(critics=(critic,), extras={"book": partial(Book, dim, book)}, prior=partial(Clusters, clusters=k))

    def compared(self, x: Tensor) -> Tensor:
        """Numbers ``(B, 1, D)`` by which observations are compared."""
        if x.dim() == 4 and max(x.shape[2:]) > SIDE:
            x = adaptive_avg_pool2d(x, SIDE)
        return x.flatten(1)[:, None].float()

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return super().draw(player, draws, model) | {"offers": draws.uniform(2)}

    def told(self, y: Tensor | None, noise: Mapping[str, Tensor], side: str) -> Tensor:
        of = {"real": noise["cluster"], "fake": noise["z"][:, : self.options.clusters].argmax(1)}
        return torch.cat([of["real"], of["fake"]]) if side == "both" else of[side]

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        book: Book = nets.critics["book"]  # type: ignore[assignment]
        compared = self.compared(batch.x)
        clusters = book.nearest(compared)
        loss = super().loss(player, nets, batch, {**noise, "cluster": clusters[:, 0]})
        sums = book.sums(compared, clusters, noise["offers"]) if player == "critic" else {}
        return replace(loss, sums={**loss.sums, **sums})

    @torch.no_grad()
    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            book: Book = nets.critics["book"]  # type: ignore[assignment]
            book.follow(seen)
            nets.model.prior.shares.copy_(book.count / book.count.sum())  # type: ignore[union-attr]
