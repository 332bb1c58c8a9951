"""Sound of any length through a model of clips: in parts that overlap by all that networks hear, so that none shows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.conditions import given
from genzoo.core.errors import UsageError
from genzoo.core.joint import evaluating
from genzoo.core.model import Model
from genzoo.plugins.modalities.sound_files import SUFFIXES, BadSound, read_sound
from genzoo.plugins.modalities.sound_forms import heard, seen
from genzoo.plugins.nets.wave import Wave

PART = 2**16  # samples at a time, beside what overlaps


def hears(model: Model) -> tuple[int, int]:
    """How many samples around one of them its reconstruction may go by, and of how many lengths are multiples.

    `UsageError` where codes are of whole clips, so that there is no such number.
    """
    encoder, generator = model.encoder, model.generator
    if not (isinstance(encoder, Wave) and isinstance(generator, Wave) and encoder.local and generator.local):
        raise UsageError(
            f"{model.called} has codes of whole clips of {model.spec.facts['samples']:,} samples, and takes no longer "
            "ones: train with --set generator.code=frames --set encoder.code=frames, or the recipe audio-codec"
        )
    facts = model.spec.facts
    lapped = facts.get("front") == "mdct"  # networks hear frames, of whose windows each has twice as many samples
    unit = facts["bands"] if lapped else 1
    hop = unit * max(encoder.hop, generator.hop)
    reach = unit * (encoder.reach + generator.reach + 4 * lapped)
    return -(-reach // hop) * hop, hop


@torch.no_grad()
def reconstruct(model: Model, x: Tensor, labels: Tensor | None = None, *, part: int = PART) -> Tensor:
    """Waveforms ``(B, C, T)`` in [-1, 1] of any length, encoded and decoded, so many samples at a time.

    The result does not depend on ``part``: each part comes with all around it that its samples go by.
    """
    reach, hop = hears(model)
    part, total = -(-part // hop) * hop, x.shape[-1]
    padded = F.pad(x.float(), (reach, reach + -total % part))
    y = given(model, labels, None, len(x))
    y, out = None if y is None else y.to(model.device), []
    with evaluating(model):
        for start in range(0, total, part):
            piece = padded[..., start : start + part + 2 * reach].to(model.device)
            code = model.posterior(seen(model.spec, piece), y).mean
            again = heard(model.spec, model.mean(code, y))
            out.append(again[..., reach : reach + part])
    return torch.cat(out, -1)[..., :total]


def whole(model: Model, source: object, out: Path) -> Tensor | None:
    """A sound file reconstructed in one piece, where source and result are such files and the model can; else None."""
    path = Path(source).expanduser() if isinstance(source, (str, Path)) else None
    if path is None or path.suffix.lower() not in SUFFIXES or not path.is_file() or out.suffix.lower() not in SUFFIXES:
        return None
    if model.classes or model.encoder is None:
        return None
    try:
        hears(model)
    except UsageError:
        return None
    facts = model.spec.facts
    try:
        x = torch.from_numpy(read_sound(path, facts["rate"], facts["channels"] == 1))
    except BadSound as e:
        raise UsageError(f"{path} cannot be read: {e}") from None
    if len(x) != facts["channels"]:
        raise UsageError(f"{path} has {len(x)} channels, and {model.called} takes {facts['channels']}")
    return reconstruct(model, x[None])
