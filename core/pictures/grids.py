"""Results as pictures: grids of images, points in the plane, and films (GIF with Pillow alone, MP4 with an extra)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.pictures.drawing import Dots, Drawing
from genzoo.core.storage.files import replacing, write_bytes

WIDEST = 1200  # pixels of a row of enlarged images
PAPER, QUIET = (255, 255, 255), (205, 208, 214)
HIGH, LOW = (255, 196, 120), (205, 190, 240)  # ends of a surface under points


def to_uint8(x: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images in [0, 1], ``(N, C, H, W)``, to 8-bit ``(N, H, W, C)``."""
    return x.detach().float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def image_of(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Image.Image:
    """8-bit ``(H, W, C)`` to a picture; two or more than four channels are shown as their mean."""
    channels = pixels.shape[2]
    if channels not in (1, 3, 4):
        pixels = pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def grid(x: Tensor, columns: int | None = None, *, gap: int = 2, least: int = 112, clear: bool = False) -> Image.Image:
    """Arrange images in rows.

    Args:
        x: ``(N, C, H, W)`` in [0, 1].
        columns: images per row; default makes the grid about square.
        gap: white pixels between images.
        least: images smaller than this are enlarged by a whole factor, so that they can be seen; to half of it where
            a row would be wider than a screen.
        clear: leave what is between images transparent, for a page that has a paper of its own.
    """
    if len(x) == 0:
        raise UsageError("there is nothing to draw: no images")
    pixels = to_uint8(x)
    columns, size = columns or math.ceil(math.sqrt(len(x))), max(pixels.shape[1:3])
    fitting = max(round(least / 2 / size), WIDEST // (columns * pixels.shape[2]))
    factor = max(1, min(round(least / size), fitting))
    images = [image_of(image) for image in pixels.repeat(factor, axis=1).repeat(factor, axis=2)]
    return beside(images, columns=columns, gap=gap, edge=gap, clear=clear)


def beside(
    pictures: Sequence[Image.Image], *, columns: int | None = None, gap: int = 8, edge: int = 0, clear: bool = False
) -> Image.Image:
    """Put pictures of one size next to each other, with ``gap`` pixels between them and ``edge`` around."""
    columns = columns or len(pictures)
    width, height = (max(p.size[i] for p in pictures) for i in (0, 1))
    rows = math.ceil(len(pictures) / columns)
    size = (columns * (width + gap) - gap + 2 * edge, rows * (height + gap) - gap + 2 * edge)
    canvas = Image.new("RGBA", size, (0, 0, 0, 0)) if clear else Image.new("RGB", size, PAPER)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        canvas.paste(picture, (edge + column * (width + gap), edge + row * (height + gap)))
    return canvas


def captioned(image: Image.Image, text: str) -> Image.Image:
    """Put a line of text above a picture."""
    top = 22
    canvas = Image.new("RGB", (image.width, image.height + top), PAPER)
    canvas.paste(image, (0, top))
    ImageDraw.Draw(canvas).text((4, 3), text, fill=(40, 40, 40), font_size=13)
    return canvas


def scatter(
    points: Tensor,
    behind: Tensor | None = None,
    *,
    size: int = 420,
    limit: float | None = None,
    title: str = "",
    under: Tensor | None = None,
) -> Image.Image:
    """Points in the plane (the first two coordinates), over reference points in grey.

    Args:
        points: ``(N, D)``, D ≥ 2.
        behind: reference points, or None.
        size: of the picture, in pixels.
        limit: half the width of the square shown; default fits the reference, or the points.
        title: one line above.
        under: a surface ``(H, W)`` over the square shown, its first row at the top: low is violet, high is orange.
    """
    limit = limit if limit is not None else reach(points if behind is None else behind)
    drawing = Drawing(size, size)
    for cloud, colour, width in ((behind, "#cdd0d6", 1.7), (points, "c1", 1.3)):
        if cloud is not None:
            places = (cloud[:, :2].detach().cpu().double() / limit * torch.tensor([1, -1]) + 1) / 2 * size
            inside = ((places > -width) & (places < size + width)).all(1)  # and a number
            drawing.marks.append(Dots([(x, y) for x, y in places[inside].tolist()], colour, width))
    canvas = drawing.image(1, None if under is None else _surface(under))
    ImageDraw.Draw(canvas).rectangle((0, 0, size - 1, size - 1), outline=QUIET)
    return captioned(canvas, title) if title else canvas


def plane(limit: float, steps: int) -> Tensor:
    """Points ``(steps * steps, 2)`` over the square that `scatter` shows, row by row from the top left."""
    line = torch.linspace(-limit, limit, steps)
    return torch.stack(torch.meshgrid(-line, line, indexing="ij")[::-1], -1).flatten(0, 1)


def reach(points: Tensor) -> float:
    """Half the width of the square that shows all these points, with a margin."""
    return 1.15 * float(points[:, :2].abs().max().clamp(min=1e-6)) if len(points) else 1.0


def _surface(values: Tensor) -> Image.Image:
    """Numbers as pale colours, from the second to the 98th of a hundred."""
    z = torch.nan_to_num(values.detach().double().cpu())
    low, high = (float(torch.quantile(z, q)) for q in (0.02, 0.98))
    t = ((z - low) / max(high - low, 1e-12) * 2 - 1).clamp(-1, 1)[..., None]
    paper, up, down = (torch.tensor(c, dtype=torch.float64) for c in (PAPER, HIGH, LOW))
    colours = paper + t.clamp(min=0) * (up - paper) + (-t).clamp(min=0) * (down - paper)
    return Image.fromarray(colours.round().byte().numpy())


def save(image: Image.Image, path: Path) -> None:
    """Write a picture whole, in the format that its name ends in; raises `GenzooError` if it cannot."""
    known = Image.registered_extensions()
    if path.suffix.lower() not in known:
        raise UsageError(f"{path} does not end like a picture: use .png")
    content = io.BytesIO()  # in memory first: Pillow is silent about some files that a full disk cut short
    image.save(content, format=known[path.suffix.lower()])
    write_bytes(path, content.getvalue())


MOVIES = (".gif", ".mp4")


def is_movie(path: Path) -> bool:
    """Whether a name ends like a moving picture's."""
    return path.suffix.lower() in MOVIES


def check_movie(path: Path) -> None:
    """Refuse what cannot be written before anything is computed.

    Raises:
        UsageError: if the name ends like no moving picture's.
        GenzooError: if what writes it is not installed.
    """
    if not is_movie(path):
        raise UsageError(f"a moving picture is written to a .gif or .mp4 file, not to {path.name!r}")
    if path.suffix.lower() == ".mp4":
        _encoder()


def save_movie(frames: Sequence[Image.Image], path: Path, *, fps: float = 8, hold: float = 1.5) -> None:
    """Write frames of one size as GIF (endless) or MP4, whole or not at all; the last one stays ``hold`` seconds.

    Raises:
        UsageError: if the name ends otherwise, there is no frame, or the rate is out of range.
        GenzooError: if it cannot be written, or an encoder of MP4 is not installed.
    """
    check_movie(path)
    if not frames:
        raise UsageError("there is nothing to show: no frames")
    if not 0.1 <= fps <= 100:
        raise UsageError(f"a moving picture has 0.1 to 100 frames a second, not {fps:g}")
    (_gif if path.suffix.lower() == ".gif" else _mp4)(frames, path, fps, hold)


def _gif(frames: Sequence[Image.Image], path: Path, fps: float, hold: float) -> None:
    duration = max(round(1000 / fps), 10)
    times = [duration] * (len(frames) - 1) + [max(round(1000 * hold), duration)]
    # One palette for all, or still parts would flicker: that of frames across the whole, side by side.
    some = [frames[i * (len(frames) - 1) // 4] for i in range(5)]
    palette = beside(some, gap=0).quantize(256, dither=Image.Dither.NONE)
    drawn = [f.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    content = io.BytesIO()  # Pillow is silent about some files that a full disk cut short
    drawn[0].save(content, format="GIF", save_all=True, append_images=drawn[1:], duration=times, loop=0, optimize=False)
    write_bytes(path, content.getvalue())


def _mp4(frames: Sequence[Image.Image], path: Path, fps: float, hold: float) -> None:
    ffmpeg = _encoder()
    width, height = frames[0].size
    size = (width + width % 2, height + height % 2)  # H.264 halves the colour's resolution
    still = max(round(hold * fps) - 1, 0)
    with replacing(path) as temporary:
        try:
            writer = ffmpeg.write_frames(
                str(temporary), size, fps=fps, macro_block_size=2, quality=None, output_params=["-crf", "18"]
            )
            writer.send(None)
            for frame in [*frames, *[frames[-1]] * still]:
                canvas = Image.new("RGB", size, "white")
                canvas.paste(frame.convert("RGB"), (0, 0))
                writer.send(canvas.tobytes())
            writer.close()
        except (OSError, RuntimeError) as e:
            raise GenzooError(f"{path} could not be encoded ({str(e).strip().splitlines()[0]}): use .gif") from None


def _encoder() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise GenzooError(
            "an .mp4 needs the imageio-ffmpeg package: pip install 'genzoo[movies]', or write a .gif"
        ) from None
    return imageio_ffmpeg
