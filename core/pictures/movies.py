"""Pictures in time: GIF with Pillow alone, MP4 with an extra."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.pictures.grids import beside
from genzoo.core.storage.files import replacing, write_bytes

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
