"""Samples of images as files: class folders that are read back, and bringing them to the form of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from genzoo.core.data import Data
from genzoo.core.data.labels import known_words
from genzoo.core.data.rows import read
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.folder import parse_size

MODES = {1: "grey", 3: "colour"}  # by channels


def asked_for(found: Data, folder: Path, spec: DataSpec) -> Data:
    """Samples with the classes that their folders name, if there is one too; without, as `known_words` says."""
    if found.y is None and folder.is_dir():
        only = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
        if len(only) == 1:
            one = replace(found.spec, classes=1, class_names=(only[0],))
            found = replace(found, y=torch.zeros(len(found), dtype=torch.int64), spec=one)
    return known_words(found, spec)


def brought(samples: Data, options: Mapping[str, Any]) -> Data:
    """8-bit images of another size or colour, as ``size`` and ``mode`` say, by the rules of a folder's own options."""
    mode, size = options.get("mode", "auto"), parse_size(str(options.get("size", "none")))
    channels, *sides = samples.spec.shape
    if mode not in ("auto", *MODES.values()):
        raise UsageError(f"samples.mode is auto, grey or colour, not {mode!r}")
    wanted = next((n for n, m in MODES.items() if m == mode), channels)
    bigger = size is not None and tuple(sides) != size
    if (wanted == channels and not bigger) or channels not in MODES:
        return samples
    rows = read(samples.rows, "cpu")
    if rows.dtype != torch.uint8 or samples.spec.levels != 256:
        raise UsageError("only 8-bit images are brought to another size or colour: write the samples as pictures")
    out = []
    for row in rows.numpy():
        image = Image.fromarray(row[0] if channels == 1 else row.transpose(1, 2, 0))
        image = image.convert("RGB" if wanted == 3 else "L")
        if bigger and size is not None:
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BICUBIC)
        pixels = np.asarray(image, np.uint8)
        out.append(pixels[None] if wanted == 1 else pixels.transpose(2, 0, 1))
    whole = torch.from_numpy(np.stack(out))
    return replace(samples, rows=whole, spec=replace(samples.spec, shape=tuple(whole.shape[1:])))
