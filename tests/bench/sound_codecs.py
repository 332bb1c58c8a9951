"""Speech codecs beside `audio-codec`, on the same held-out files: codec2, Opus, µ-law, FLAC, and weights of the zoo.

``python tests/bench/sound_codecs.py FOLDER [WEIGHTS …]`` needs Debian's ``codec2`` and ``opus-tools``, and
``genzoo[audio,compress]``. FOLDER has sound files, of which genzoo holds out a tenth; ``WEIGHTS`` were trained on it.
Distances are `mr_stft` of whole files at RMS 1, after the delay that a codec has; rates are those of files, headers
included. Weights code windows one after another in one file, and the distance is that of what comes back.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import genzoo
from genzoo.plugins.datasets.clips import held_out
from genzoo.plugins.datasets.spoken_digits import of_mu_law, to_mu_law
from genzoo.plugins.modalities.fronts import mr_stft
from genzoo.plugins.modalities.sound_files import SUFFIXES, read_sound, to_int16

RATE, TRIED = 8000, 6  # files by which a codec's delay is found
DELAYS = range(-512, 513, 32)
Array = np.ndarray[Any, Any]
Coder = Callable[[Array, Path], tuple[Array, int]]  # int16 (T,) to what comes back, and bytes of the file


def run(*command: object) -> None:
    subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=600)


def codec2(mode: int) -> Coder:
    def code(x: Array, place: Path) -> tuple[Array, int]:
        x.astype("<i2").tofile(place / "in.raw")
        run("c2enc", mode, place / "in.raw", place / "a.c2")
        run("c2dec", mode, place / "a.c2", place / "out.raw")
        return np.fromfile(place / "out.raw", "<i2"), (place / "a.c2").stat().st_size

    return code


def opus(kilobits: int) -> Coder:
    def code(x: Array, place: Path) -> tuple[Array, int]:
        x.astype("<i2").tofile(place / "in.raw")
        run("opusenc", "--quiet", "--bitrate", kilobits, "--raw", "--raw-rate", RATE, "--raw-chan", 1,
            place / "in.raw", place / "a.opus")  # fmt: skip
        run("opusdec", "--quiet", "--force-wav", "--rate", RATE, place / "a.opus", place / "out.wav")
        back = read_sound(place / "out.wav", RATE, True)
        return to_int16(back)[0], (place / "a.opus").stat().st_size

    return code


def flac(x: Array, place: Path) -> tuple[Array, int]:
    import soundfile

    soundfile.write(place / "a.flac", x, RATE)
    return soundfile.read(place / "a.flac", dtype="int16")[0], (place / "a.flac").stat().st_size


def mu_law(x: Array, place: Path) -> tuple[Array, int]:
    return of_mu_law(to_mu_law(x)), len(x)


def delayed(y: Array, by: int, total: int) -> Array:
    """What comes ``by`` samples late, brought back, in the length of the original."""
    y = np.pad(y, (max(-by, 0), 0))[max(by, 0) :][:total]
    return np.pad(y, (0, total - len(y)))


def distance(x: Array, y: Array) -> float:
    a, b = (torch.from_numpy(v / 32768.0).float()[None, None] for v in (x, y))
    level = a.square().mean().sqrt()
    return float(mr_stft(a / level, b / level))


def judged(files: list[Array], back: list[Array]) -> float:
    """Mean distance at the delay that suits the first files."""
    pairs = list(zip(files, back, strict=True))
    by = min(DELAYS, key=lambda d: sum(distance(x, delayed(y, d, len(x))) for x, y in pairs[:TRIED]))
    return float(np.mean([distance(x, delayed(y, by, len(x))) for x, y in pairs]))


def of_weights(weights: str, files: list[Array], place: Path) -> tuple[list[Array], int]:
    """Windows one after another through ``genzoo compress``, and what comes back."""
    model = genzoo.load(weights, verbose=False)
    n = model.spec.facts["samples"]
    counts = [-(-len(x) // n) for x in files]
    rows = np.concatenate([np.pad(x, (0, c * n - len(x))).reshape(c, 1, n) for x, c in zip(files, counts, strict=True)])
    done = genzoo.compress(weights, genzoo.load_data((rows, None), options={"modality": "audio"}), place / "a.zoo")
    with np.load(genzoo.decompress(place / "a.zoo", place / "back.npz", weights)) as found:
        back = np.split(found["samples"].reshape(-1), np.cumsum(counts)[:-1] * n)
    return [y[: len(x)] for x, y in zip(files, back, strict=True)], done.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", nargs="*")
    given = parser.parse_args()
    names = sorted(p for p in given.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = [to_int16(read_sound(p, RATE, True))[0]
             for p, held in zip(names, held_out([str(p) for p in names]), strict=True) if held]  # fmt: skip
    seconds = sum(map(len, files)) / RATE
    print(f"{len(files)} held-out files, {seconds:.0f} s\n\n| codec | kbit/s | mr-stft |\n| --- | --- | --- |")
    coders: dict[str, Coder] = {f"codec2 {m}": codec2(m) for m in (1400, 2400, 3200)}
    coders |= {f"Opus {k}": opus(k) for k in (6, 12)} | {"µ-law": mu_law, "FLAC": flac}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, coder in coders.items():
            back, sizes = zip(*(coder(x, place) for x in files), strict=True)
            print(f"| {name} | {8 * sum(sizes) / seconds / 1000:.2f} | {judged(files, list(back)):.2f} |", flush=True)
        for name in given.weights:
            again, size = of_weights(name, files, place)
            print(f"| `{name}` | {8 * size / seconds / 1000:.2f} | {judged(files, again):.2f} |", flush=True)


if __name__ == "__main__":
    main()
