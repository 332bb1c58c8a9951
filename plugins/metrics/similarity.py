"""How alike two pictures are: PSNR, SSIM and MS-SSIM of reconstructions, and of samples of one label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import POPULATION
from genzoo.core.math.intervals import Estimate, mean, normal
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.labels import judge, unjudged
from genzoo.registry import declare

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_FLOOR = 1 / (12 * 255**2)  # mean squared error of rounding to 8 bits: what equal pictures cannot be told from


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images ``(N, C, H, W)`` in [0, 1], ``(N,)``; infinite for equal ones."""
    _same(x, y)
    return -10 * torch.log10((x.double() - y.double()).square().flatten(1).mean(1))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of images ``(N, C, H, W)`` in [0, 1], ``(N,)`` (Z. Wang et al., IEEE TIP 2004).

    Gaussian window of 11 × 11 and σ 1.5 wholly inside the image, mean over channels; 1 for equal images.
    """
    _same(x, y)
    whole, _ = _maps(x.float(), y.float())
    return whole.mean(1)


def ms_ssim(x: Tensor, y: Tensor, floor: float = 0.0) -> Tensor:
    """Multi-scale structural similarity of images ``(N, C, H, W)`` in [0, 1], ``(N,)`` (Z. Wang et al., Asilomar 2003).

    Each scale halves the image. There are the five of the paper, or as many as leave sides of 11 or more (two at 28
    pixels); with fewer, the weights of those that are left are scaled to sum to 1, and the number is another. Each
    scale counts as no less than ``floor``, which a loss sets above 0: one scale of 0 hides the slopes of all.

    Raises:
        UsageError: if the images are too small for the scales.
    """
    _same(x, y)
    scales = scales_of(*x.shape[-2:])
    weights = [w / sum(WEIGHTS[:scales]) for w in WEIGHTS[:scales]]
    x, y = x.float(), y.float()
    total = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    for i, weight in enumerate(weights):
        whole, contrast = _maps(x, y)
        total = total * (whole if i == scales - 1 else contrast).clamp(min=floor) ** weight
        if i < scales - 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return total.mean(1)


def scales_of(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales fit into an image."""
    side = min(height, width)
    if side < WINDOW:
        raise UsageError(f"SSIM needs images of at least {WINDOW}×{WINDOW}, not {height}×{width}")
    return min(int(math.log2(side / WINDOW)) + 1, len(WEIGHTS))


def over_pairs(
    number: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor | None = None, *, pairs: int = 1000, seed: int = 0
) -> Estimate:
    """Mean of a number of random pairs of observations ``(N, ...)`` of one label ``(N,)``; without labels of any.

    Raises:
        UsageError: if no label has two.
    """
    first, second = pairs_within(len(x), y, pairs, seed)
    chosen = zip(torch.split(first.to(x.device), 256), torch.split(second.to(x.device), 256), strict=True)
    return pairs_mean(torch.cat([number(x[a], x[b]) for a, b in chosen]), first, second, y)


def pairs_mean(values: Tensor, first: Tensor, second: Tensor, y: Tensor | None = None) -> Estimate:
    """The mean of a number of pairs ``(P,)``; its error minds that pairs share members.

    The variance sums products of all two pairs that have a member in common (P. Aronow et al., Political Analysis
    2015), each pair taken against the mean of its label. ``first`` and ``second`` are the indices of a pair's members,
    ``y`` the labels of the members, each of which has as many pairs.
    """
    v = values.double().cpu()
    if len(v) < 2:
        return Estimate(v.mean().item(), samples=(len(v),))
    label = torch.zeros_like(first) if y is None else y.cpu()[first]
    _, label = torch.unique(label, return_inverse=True)
    total = torch.zeros(int(label.max()) + 1, dtype=v.dtype).index_add_(0, label, v)
    rest = v - (total / torch.bincount(label))[label]
    each = torch.zeros(int(torch.maximum(first, second).max()) + 1, dtype=v.dtype)
    each.index_add_(0, first, rest).index_add_(0, second, rest)
    squares = rest.square().sum()
    variance = torch.maximum(each.square().sum() - squares, squares) / len(v) ** 2
    members = len(torch.unique(torch.cat([first, second])))
    return normal(v.mean().item(), variance.sqrt().item(), (len(v),), "pairs that share members", members - 1)


def pairs_within(n: int, y: Tensor | None, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices ``(P,)`` and ``(P,)`` of random pairs of one label, as many for each; never an index with itself."""
    y = torch.zeros(n, dtype=torch.long) if y is None else checks.labels(y, n, "labels").cpu()
    groups = [g for g in ((y == label).nonzero().flatten() for label in torch.unique(y)) if len(g) > 1]
    if not groups:
        raise UsageError("pairs are of one label, and no label has two observations")
    each = math.ceil(pairs / len(groups))
    first, second = [], []
    for i, group in enumerate(groups):
        g = generator(seed, i)
        a = torch.randint(len(group), (each,), generator=g)
        b = (a + 1 + torch.randint(len(group) - 1, (each,), generator=g)) % len(group)
        first.append(group[a])
        second.append(group[b])
    return torch.cat(first), torch.cat(second)


def _same(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or x.dim() != 4 or not x.is_floating_point() or not y.is_floating_point():
        raise UsageError(
            f"images to compare are two float arrays (N, C, H, W) in [0, 1] of one shape, "
            f"not {tuple(x.shape)} and {tuple(y.shape)}"
        )


def _maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast–structure part, each as mean over the image, ``(N, C)``."""
    scales_of(*x.shape[-2:])
    n, c = x.shape[:2]
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.softmax(-(at**2) / (2 * SIGMA**2), 0)
    stack = torch.cat([x, y, x * x, y * y, x * y]).flatten(0, 1)[:, None]
    stack = F.conv2d(F.conv2d(stack, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    mx, my, xx, yy, xy = stack.view(5, n, c, *stack.shape[-2:])
    contrast = (2 * (xy - mx * my) + C2) / (xx - mx * mx + yy - my * my + C2)
    whole = (2 * mx * my + C1) / (mx * mx + my * my + C1) * contrast
    return whole.mean((2, 3)), contrast.mean((2, 3))


class _Reconstruction(Metric):
    """Held-out images, encoded at the posterior mean and decoded."""

    covers = "the mean over unlimited data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "images", low=1)

    def measured(self, values: Tensor, evidence: Evidence, **details: float) -> Measured:
        """Mean over images, with the worst of them as a picture above what came back."""
        x, again = evidence.reconstructions(self.options.limit)
        worst = values.argsort()[:8]
        pictures = {"worst": torch.cat([x[worst], again[worst]])}
        return Measured(mean(values), {"worst": values.min().item(), **details}, pictures, n_real=len(x))


@declare.metric(
    "psnr",
    direction="higher",
    unit="dB",
    needs=("data", "images", "encoder"),
    modalities=("image",),
    tags=("default", "reconstruction"),
    rank=1,
)
class PSNR(_Reconstruction):
    """Peak signal-to-noise ratio of reconstructions of held-out images.

    Mean over images of -10 log₁₀ of the mean squared error of pixels in [0, 1]; equal images score 58.9 dB. Beside it
    the details tell the score of the data's mean image, which takes no code at all.
    """

    def measure(self, evidence: Evidence) -> Measured:
        x, again = evidence.reconstructions(self.options.limit)
        blank = psnr(x, x.mean(0, keepdim=True).expand_as(x))
        most = -10 * torch.log10(torch.tensor(_FLOOR, dtype=torch.float64))
        return self.measured(psnr(x, again).clamp(max=most), evidence, **{"of the mean image": blank.mean().item()})

    def title(self, evidence: Evidence) -> str:
        return "PSNR of reconstructions"


@declare.metric(
    "ssim",
    direction="higher",
    needs=("data", "images", "encoder"),
    paper="Wang et al., IEEE TIP 2004",
    modalities=("image",),
    tags=("default", "reconstruction"),
)
class SSIM(_Reconstruction):
    """Structural similarity of reconstructions of held-out images.

    Mean over images of SSIM with what the model makes of them; 1 is the same image.
    """

    def measure(self, evidence: Evidence) -> Measured:
        x, again = evidence.reconstructions(self.options.limit)
        parts = zip(torch.split(x, 500), torch.split(again, 500), strict=True)
        return self.measured(torch.cat([ssim(a, b) for a, b in parts]), evidence)

    def title(self, evidence: Evidence) -> str:
        return "SSIM of reconstructions"


def _distance(x: Tensor, y: Tensor) -> Tensor:
    distance: Tensor = (x - y).norm(dim=1)
    return distance


class _Diversity(Metric):
    """Pairs of one label, where there are labels: asked for, or as a classifier sees them."""

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        pairs: int = option(1000, "pairs, shared out over the labels", low=1)
        resamples: int = option(200, "0 for no interval", low=0)

    def groups(self, evidence: Evidence) -> tuple[Tensor | None, Tensor | None]:
        """Labels of the samples and of the data, or neither."""
        if evidence.labels is None:
            return None, None
        if evidence.asked is not None:
            return evidence.asked.cpu(), evidence.labels.cpu()
        if evidence.extractor is None or unjudged(evidence):
            return None, None
        judged = judge(evidence)
        return judged.fake, judged.real

    def shown(self, found: Estimate) -> Estimate:
        return found if self.options.resamples else Estimate(found.value, samples=found.samples)


@declare.metric(
    "ms-ssim",
    direction="none",
    needs=("samples", "data", "images"),
    paper="arXiv:1610.09585",
    modalities=("image",),
    tags=("diversity",),
)
class Likeness(_Diversity):
    """Likeness of samples of one label, to be read beside that of the data: higher is less diverse.

    Mean MS-SSIM of pairs of samples of one label. The details give the data's: well above it is collapse.
    """

    def measure(self, evidence: Evidence) -> Measured:
        fake, real = self.groups(evidence)
        pairs, seed = self.options.pairs, evidence.seed
        found = self.shown(over_pairs(ms_ssim, evidence.samples, fake, pairs=pairs, seed=seed))
        usual = self.shown(over_pairs(ms_ssim, evidence.real, real, pairs=pairs, seed=seed))
        details = {
            "of the data": usual.value,
            "interval of the data": [usual.low, usual.high],
            "scales": scales_of(*evidence.spec.shape[1:]),
            "labels": "none" if fake is None else "asked for" if evidence.asked is not None else "classified",
        }
        return Measured(found, details)


@declare.metric("diversity", needs=("samples", "data", "features"), paper="arXiv:1801.03924", tags=("diversity",))
class FeatureDiversity(_Diversity):
    """Distance between features of samples of one label, over that of the data: 1 is the data's own.

    Below 1 the samples are too alike. What LPIPS measures for perceptual features, here on any extractor's. Noise
    raises it.
    """

    def measure(self, evidence: Evidence) -> Measured:
        apart, usual = (
            over_pairs(_distance, x, y, pairs=self.options.pairs, seed=evidence.seed)
            for x, y in zip(checks.both(evidence), self.groups(evidence), strict=True)
        )
        base = max(usual.value, 1e-30)
        value = apart.value / base
        error = math.hypot(apart.high - apart.value, value * (usual.high - usual.value)) / base  # the delta method
        found = Estimate(value, value - error, value + error, apart.samples, apart.interval)
        return Measured(self.shown(found), {"distance between data": usual.value})
