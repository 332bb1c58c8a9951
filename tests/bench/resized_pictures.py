"""What saving and resizing do to a Fréchet distance, as docs/evaluation.md has it: a script without arguments.

1,500 training pictures of Fashion-MNIST against the next 1,500, made in another way, by the extractor `scattering`.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

import genzoo

N, SIDE = 1_500, (14, 14)
Way = Callable[[Tensor], Tensor]


def each(change: Callable[[Image.Image], Image.Image]) -> Way:
    """A change of every picture of ``(N, 1, H, W)`` bytes."""

    def changed(picture: Tensor) -> Tensor:
        return torch.from_numpy(np.array(change(Image.fromarray(picture.numpy()))))[None]

    return lambda x: torch.stack([changed(p) for p in x[:, 0]])


def jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75)
    return Image.open(file)


def smaller(by: Image.Resampling) -> Way:
    return each(lambda picture: picture.resize(SIDE, by))


def torchs(x: Tensor) -> Tensor:
    return interpolate(x.float(), SIDE, mode="bilinear", align_corners=False).round().byte()


def plain(x: Tensor) -> Tensor:
    return x


BICUBIC = smaller(Image.Resampling.BICUBIC)
ROWS: list[tuple[str, Way, str, Way]] = [
    ("as they are, 28×28", plain, "as they are", plain),
    ("as they are", plain, "saved as JPEG of quality 75", each(jpeg)),
    ("14×14 by Pillow's bicubic filter", BICUBIC, "the same", BICUBIC),
    ("the same", BICUBIC, "Pillow's Lanczos", smaller(Image.Resampling.LANCZOS)),
    ("the same", BICUBIC, "torch's bilinear, not antialiased", torchs),
    ("the same", BICUBIC, "Pillow's bilinear, antialiased", smaller(Image.Resampling.BILINEAR)),
    ("the same", BICUBIC, "nearest pixel", smaller(Image.Resampling.NEAREST)),
]


def main() -> None:
    x = genzoo.load_data("fashion-mnist").x[: 2 * N]
    print("| first | second | Fréchet distance |\n| --- | --- | --- |")
    for first, one, second, other in ROWS:
        a, b = one(x[:N]), other(x[N:])
        found = genzoo.evaluate(b, a, ["frechet"], extractor="scattering")["frechet"]
        print(f"| {first} | {second} | {found.text()} |", flush=True)


if __name__ == "__main__":
    main()
