"""What a model makes from a fixed seed, as a few numbers: whether it still is that model, here and on other hardware.

A hash tells that nothing changed, and breaks with the last bit of a sum; so beside the hash of what is made there
are projections of it, which tell how far two models that are not the same to the bit are apart.
"""

from __future__ import annotations

import base64
import hashlib
import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genzoo.core.data.observations import to_model
from genzoo.core.errors import GenzooError
from genzoo.core.modality import of
from genzoo.core.model import Model

VERSION, COUNT, PROJECTIONS = 2, 16, 16
# A grey level of 8 bits, in model space, where an image spans 2 and a vector's numbers have deviation 1: what nobody
# sees. Chosen; rounding on other processors stays far below it, but where phases of sound are looked for (.003).
NEAR = 0.008

Verdict = Literal["same bytes", "within tolerance", "different"]
Numbers = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Comparison:
    """``samples`` or ``reconstructions`` against what was recorded of them: ``within tolerance`` is up to `NEAR`.

    The distance is the estimated root mean square difference in model space; 0 for the same bytes.
    """

    what: str
    verdict: Verdict
    distance: float


def hardware(device: torch.device) -> dict[str, Any]:
    """What computes: device, its name, threads of the CPU, version of torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": device.type, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def take(model: Model, seed: int = 0) -> dict[str, Any]:
    """A model's fingerprint, as plain data for ``training.json``; of weights in half precision, after they are loaded.

    Returns:
        ``samples`` and, of a model with an encoder, ``reconstructions`` of random observations, the same on every
        processor (of the samples in version 1): each the ``sha256`` of what was made, rounded (8-bit images; other
        numbers to 1/4096 of model space), and ``projections``, 16 of each of 16 observations, as base64 of float32.
    """
    made: dict[str, Any] = {}
    for what, x in _made(model, seed, VERSION).items():
        projections = base64.b64encode(_projections(_numbers(model, x)).astype("<f4").tobytes()).decode()
        made[what] = {"sha256": hashlib.sha256(_rounded(model, x)).hexdigest(), "projections": projections}
    return {"version": VERSION, "seed": seed, "n": COUNT, **made, "made on": hardware(model.device)}


def compare(recorded: Any, model: Model) -> list[Comparison]:
    """Make again what a fingerprint, perhaps a stranger's, was taken of, and compare.

    Raises:
        GenzooError: if ``recorded`` is no fingerprint of such a model.
    """
    said = recorded if isinstance(recorded, Mapping) else {}
    version, seed = said.get("version"), said.get("seed")
    if type(version) is int and version > VERSION:
        raise GenzooError(f"its fingerprint has version {version}, and this genzoo knows {VERSION}")
    if type(version) is not int or type(seed) is not int or not 0 <= seed < 2**63 or said.get("n") != COUNT:
        raise GenzooError("its recorded fingerprint makes no sense")
    found = []
    for what, x in _made(model, seed, version).items():
        digest, before = _parsed(said.get(what))
        if hashlib.sha256(_rounded(model, x)).hexdigest() == digest:
            found.append(Comparison(what, "same bytes", 0.0))
            continue
        distance = float(np.sqrt(np.mean((_projections(_numbers(model, x)).astype(np.float64) - before) ** 2)))
        found.append(Comparison(what, "within tolerance" if distance <= NEAR else "different", distance))
    return found


def _made(model: Model, seed: int, version: int) -> dict[str, Tensor]:
    """What a fingerprint is taken of, in data units on the CPU."""
    labels = torch.arange(COUNT) % model.classes if model.classes else None
    condition = model.spec.condition_shift if model.conditions else None
    if model.prior.unfitted:  # what it makes of some codes tells it as well
        x = model.decode(model.codes(0, COUNT, seed=seed), labels, condition=condition, numbers=True)
    else:
        x = model.sample(COUNT, seed=seed, numbers=True)
    made = {"samples": x.cpu()}
    if model.encoder is not None:
        kind = of(model.spec)
        given = kind.again(model.spec, x if version == 1 else kind.random(model.spec, COUNT, units=True))
        made["reconstructions"] = model.reconstruct(given, labels, condition=condition, numbers=True).cpu()
    return made


def _numbers(model: Model, x: Tensor) -> Numbers:
    """Observations in model space, ``(N, numbers)``."""
    found: Numbers = np.nan_to_num(to_model(model.spec, x).flatten(1).numpy(), nan=0.0, posinf=1e6, neginf=-1e6)
    return found


def _rounded(model: Model, x: Tensor) -> bytes:
    found = of(model.spec).rounded(model.spec, x)
    if found is not None:
        return found
    return np.rint(_numbers(model, x).astype(np.float64) * 4096).clip(-(2**62), 2**62).astype("<i8").tobytes()


def _projections(x: Numbers) -> Numbers:
    """Each row on `PROJECTIONS` directions of its own of random signs, which no library's version changes.

    The mean square over all of them of a difference is the mean square of its numbers, whatever its direction.
    """
    size = x.shape[1]
    found = np.empty((len(x), PROJECTIONS), np.float32)
    for i, row in enumerate(x.astype(np.float64)):
        bits = hashlib.shake_256(b"genzoo %d" % i).digest(math.ceil(PROJECTIONS * size / 8))
        signs = np.unpackbits(np.frombuffer(bits, np.uint8), count=PROJECTIONS * size).reshape(PROJECTIONS, size)
        found[i] = (2 * (signs.astype(np.float32) @ row) - row.sum()) / math.sqrt(size)
    return found


def _parsed(said: Any) -> tuple[str, Numbers]:
    """Hash and projections that a stranger wrote down."""
    try:
        numbers = np.frombuffer(base64.b64decode(said["projections"], validate=True), "<f4")
        numbers = numbers.reshape(COUNT, PROJECTIONS).astype(np.float32)
        if re.fullmatch("[0-9a-f]{64}", said["sha256"]) and np.isfinite(numbers).all():
            return said["sha256"], numbers
    except (KeyError, TypeError, ValueError):  # binascii's errors are ValueErrors
        pass
    raise GenzooError("its recorded fingerprint makes no sense")
