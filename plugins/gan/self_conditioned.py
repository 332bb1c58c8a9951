"""Self-conditioned GAN: classes that nobody gave, found by k-means beside the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from genzoo.core.conditions import joined, labels_of
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
    """One of K clusters, by its share of the data or of its class, as one-hot numbers; then standard normal numbers.

    ``shares (C, K)`` are those of the C classes' clusters in the data, C = 1 without classes; they add up to one.
    """

    shares: Tensor

    def __init__(self, latent: Latent, clusters: int, classes: int = 0) -> None:
        if latent.size <= clusters:
            raise UsageError(
                f"{clusters} clusters leave no normal number in a code of {latent.size}: "
                f"--set latent.size={clusters + 64}, or fewer objective.clusters"
            )
        super().__init__(latent, InfoGAN.Options(categories=clusters, codes=1, uniform=0))
        self.told = (classes, 0)
        c = max(classes, 1)
        self.register_buffer("shares", torch.full((c, clusters), 1 / (c * clusters)))

    def rows(self, y: Tensor | None) -> Tensor:
        """Shares ``(B, K)`` of the classes of labels, or ``(1, K)`` of all data."""
        return self.shares.sum(0, keepdim=True) if y is None or not self.told[0] else self.shares[labels_of(y)]

    def log_shares(self, hot: Tensor, y: Tensor | None) -> Tensor:
        rows = self.rows(y)
        return ((hot[..., 0, :] * rows).sum(-1) / rows.sum(-1)).log().to(hot)

    def categories(self, uniform: Tensor, y: Tensor | None) -> Tensor:
        ends = self.rows(y).cumsum(1).to(uniform)
        before, end = ends[:, :-1], ends[:, -1:]
        reached: Tensor = (uniform * end >= before) & (before < end)  # what comes after the end has no share
        return reached.sum(1, keepdim=True)

    def of_class(self, z: Tensor, uniform: Tensor, y: Tensor) -> Tensor:
        """Codes whose clusters are drawn anew, by uniform numbers ``(B, 1)``, for labels."""
        hot = one_hot(self.categories(uniform, y)[:, 0], self.factors.categories).to(z)
        return torch.cat([hot, z[:, self.factors.categories :]], 1)


@declare.objective(
    "self-conditioned-gan",
    paper="arXiv:2006.10728",
    tags=("gan",),
    recipe={
        "like": "gan",
        "options": {"objective.clusters": 20},
        "presets": {
            "image": {
                "objective.clusters": 100,
                "latent.size": 164,
                "critic.spectral_norm": False,
                "regularizer": ["r1", "r2"],
                "regularizer.r1.every": 4,
                "regularizer.r2.every": 4,
                "train.lr": 2e-3,
                "train.betas": (0.0, 0.99),
                "train.schedule": "cosine",
            },
            "vector": {
                "objective.clusters": 100,
                "latent.size": 102,
                "critic.condition": "concat",
                "regularizer": ["r1=0.05"],
            },
        },
    },
)
class SelfConditioned(GAN):
    """A conditional GAN whose classes are clusters of the data; where it is told labels, clusters within each of them.

    Online k-means (MacQueen, 1967) finds K centres of the observations as they come. The code begins with a cluster,
    drawn by its share of the data; the critic is told the cluster of each observation, of a sample by its code and of a
    real one by its nearest centre. A generator that drops a cluster is seen to do so, and within one
    there are fewer modes to drop. The paper clusters features of its critic, and anew now and then; here pictures are
    compared as they are, at no more than 32 pixels a side.

    When: data are varied, with labels (``--conditional``) or without, or their samples are all alike. With labels take
    few clusters: every class has all of them.

    Cost: that of `gan`, and K distances for each real observation.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        clusters: int = option(100, "K, clusters of the data", low=2, high=4096)
        decay: float = option(0.999, "of the centres' moving averages, per step", low=0, high=1)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        k, self.conditions = self.options.clusters, len(spec.conditions)
        dim = prod(self.compared(torch.zeros(1, *spec.shape)).shape)
        book = BookOptions(codes=k, decay=self.options.decay, dead=0.0)
        critic = self.critic_plan(spec, classes=k * max(classes, 1))
        prior = partial(Clusters, clusters=k, classes=classes)
        return Plan(critics=(critic,), extras={"book": partial(Book, dim, book)}, prior=prior)

    def compared(self, x: Tensor) -> Tensor:
        """Numbers ``(B, 1, D)`` by which observations are compared."""
        if x.dim() == 4 and max(x.shape[2:]) > SIDE:
            x = adaptive_avg_pool2d(x, SIDE)
        return x.flatten(1)[:, None].float()

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise = {"of class": draws.uniform(1), "offers": draws.uniform(2)}
        return super().draw(player, draws, model) | noise

    def told(self, y: Tensor | None, noise: Mapping[str, Tensor], side: str) -> Tensor:
        """Clusters ``(B,)``, those of each class apart, and conditions beside them."""
        of = {"real": noise["cluster"], "fake": noise["z"][:, : self.options.clusters].argmax(1)}
        told = torch.cat([of["real"], of["fake"]]) if side == "both" else of[side]
        if y is None:
            return told
        numbers = None if y.dim() == 1 else y[:, y.shape[1] - self.conditions :]
        if y.dim() == 1 or y.shape[1] > self.conditions:
            told = labels_of(y) * self.options.clusters + told
        return joined(told, numbers)  # type: ignore[return-value]

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        book, prior = nets.critics["book"], nets.model.prior
        compared = self.compared(batch.x)
        clusters: Tensor = book.nearest(compared)  # type: ignore[operator]
        noise = {**noise, "cluster": clusters[:, 0]}
        if batch.labels is not None:
            noise["z"] = prior.of_class(noise["z"], noise["of class"], batch.labels)  # type: ignore[operator]
        loss = super().loss(player, nets, batch, noise)
        if player != "critic":
            return loss
        sums = book.sums(compared, clusters, noise["offers"])  # type: ignore[operator]
        which = clusters[:, 0] if batch.labels is None else batch.labels * self.options.clusters + clusters[:, 0]
        count = compared.new_zeros(prior.shares.numel())  # type: ignore[operator]
        sums["shares"] = count.index_add_(0, which, torch.ones_like(compared[:, 0, 0]))
        return replace(loss, sums={**loss.sums, **sums})

    @torch.no_grad()
    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            book: Book = nets.critics["book"]  # type: ignore[assignment]
            shares: Tensor = nets.model.prior.shares  # type: ignore[assignment]
            share = torch.maximum(1 / (book.steps + 1), torch.full_like(book.steps, 1 - self.options.decay))
            shares.lerp_((seen["shares"] / seen["shares"].sum()).view_as(shares), share)
            book.follow(seen)
