"""Our quantizers against vector-quantize-pytorch's on equal networks: ``python tests/bench/quantizers.py``.

Encoder and decoder of a recipe are the same on both sides, with the same start, batches and optimizer; only what is
between them differs. Reconstructions are those of held-out pictures, codes are counted there. State that moves inside
of their ``forward`` moves as it does there. vector-quantize-pytorch may lie anywhere on the path: it is no dependency.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genzoo
from genzoo.core.math.intervals import mean
from genzoo.core.spec import Latent
from genzoo.plugins.apps.bench.bench_report import Table, keep, machine, sentence
from genzoo.plugins.posteriors.quantizer import Quantized, Quantizer

COMMITMENT = 0.25


class Theirs(Quantizer):
    """Their module in the place of our posterior, with our weight of the commitment."""

    def __init__(self, latent: Latent, module: nn.Module, levels: int = 1, committed: bool = True) -> None:
        super().__init__(latent, levels=levels)
        self.module, self.committed = module, committed

    def quantized(self, raw: Tensor) -> Quantized:
        value, tokens, *_ = self.module(raw)
        cost = {"commitment": COMMITMENT * (raw - value.detach()).square().flatten(1).sum(1)}
        return Quantized(tokens.flatten(1), self.shaped(value), cost if self.committed else {})

    nearest = look_up = None  # type: ignore[assignment]


def sides(codes: int) -> dict[str, tuple[str, dict[str, Any], Callable[[Any, Latent], nn.Module]]]:
    """Name to our recipe, its options, and what stands in its posterior's place."""
    ema = {"decay": 0.99, "threshold_ema_dead_code": 1, "kmeans_init": True}
    eight = {"latent.size": 4, "posterior.levels": (8, 5, 5, 5)}
    return {
        "vq": (
            "vq-vae", {"latent.size": 16, "posterior.codes": codes},
            lambda their, latent: Theirs(latent, their.VectorQuantize(dim=16, codebook_size=codes, **ema)),
        ),
        "vq, rotation trick": (
            "vq-vae", {"latent.size": 16, "posterior.codes": codes, "posterior.gradient": "rotation"},
            lambda their, latent: Theirs(
                latent, their.VectorQuantize(dim=16, codebook_size=codes, rotation_trick=True, **ema)
            ),
        ),
        "residual, 4 levels": (
            "residual-vq-vae", {"latent.size": 16, "posterior.codes": codes, "posterior.depth": 4},
            lambda their, latent: Theirs(
                latent, their.ResidualVQ(dim=16, num_quantizers=4, codebook_size=codes, **ema), levels=4
            ),
        ),
        "fsq": (
            "fsq-vae", eight, lambda their, latent: Theirs(latent, their.FSQ(levels=[8, 5, 5, 5]), committed=False),
        ),
    }  # fmt: skip


def measured(name: str, asked: argparse.Namespace, seed: int, their: Any) -> tuple[float, float]:
    """Decibels of reconstructions, and the perplexity of codes, both held out; ours where ``their`` is None."""
    recipe, options, other = sides(asked.codes)[name]
    data, held = genzoo.load_data("fashion-mini"), genzoo.load_data("fashion-mini", split="test")
    x, test = (d.x[: asked.pictures].float() / 127.5 - 1 for d in (data, held))
    torch.manual_seed(seed)
    networks = {"generator.width": 16, "encoder.width": 16, "likelihood": "gaussian", "train.batch_size": 64}
    model = genzoo.create(recipe, data.spec, options=networks | options)
    assert model.encoder is not None
    if their is not None:
        model.head = other(their, model.latent)
    head: Any = model.head
    moved = [*model.generator.parameters(), *model.encoder.parameters(), *head.parameters()]
    optimizer, random = torch.optim.Adam(moved, 1e-3), torch.Generator().manual_seed(seed)
    for _ in range(asked.steps):
        batch = x[torch.randint(len(x), (64,), generator=random)]
        q = head(model.encoder(batch))
        z = q.sample(torch.randn(64, *head.noise_shape, generator=random))
        error = (model.generator(z) - batch).square().flatten(1).sum(1)
        optimizer.zero_grad()
        sum(q.cost.values(), error).mean().backward()
        optimizer.step()
        head.after_step(q.sums)
    model.eval()
    with torch.no_grad():
        q = head(model.encoder(test))
        error = (model.generator(q.mean) - test).square().flatten(1).mean(1)
    shares = [torch.bincount(t.flatten()).float() for t in q.tokens.view(len(test), -1, head.levels).unbind(-1)]
    entropies = [-(s / s.sum()).clamp(min=1e-12).log().mul(s / s.sum()).sum().item() for s in shares]
    return (10 * torch.log10(4 / error)).mean().item(), math.exp(statistics.mean(entropies))


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(sides(1)), help="some of them, as a;b", type=str)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--codes", type=int, default=128)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    their: Any = __import__("vector_quantize_pytorch")
    torch.set_num_threads(1)
    rows, numbers = [], []
    for name in sides(1):
        if name not in asked.only:
            continue
        found = [[measured(name, asked, seed, side) for seed in range(asked.seeds)] for side in (None, their)]
        gap = [a[0] - b[0] for a, b in zip(*found, strict=True)]
        apart = mean(torch.tensor(gap))
        verdict = "ours" if apart.low > 0 else "theirs" if apart.high < 0 else "within its noise"
        means = [[statistics.mean(column) for column in zip(*side, strict=True)] for side in found]
        rows.append((name, *(f"{m[0]:.2f}" for m in means), f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]",
                     verdict, *(f"{m[1]:.0f}" for m in means)))  # fmt: skip
        numbers.append({"quantizer": name, "ours": found[0], "theirs": found[1]})
        print(*rows[-1], sep="  ", flush=True)
    heading = ("quantizer", "PSNR, dB", "theirs", "difference", "better", "perplexity of codes", "theirs")
    table, about = Table(heading, rows), machine("cpu", 1)
    print(f"\n{table.markdown()}\n\n{sentence(about)}")
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        keep(asked.out, "quantizers", {"lines": numbers}, table.markdown(), about)


if __name__ == "__main__":
    main()
