"""Before anything is trained or loaded: networks from a seed, and the device that a name means."""

from __future__ import annotations

import torch

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.distributed.env import world
from genzoo.core.errors import UsageError
from genzoo.core.noise import stream_seed
from genzoo.core.objective import Networks, Objective
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import resolver

_INIT = 101  # stream of randomness, beside those of `genzoo.registry.verbs.fit` and the trainer


def initialize(config: Config, seed: int) -> tuple[Objective, Networks]:
    """Build an objective and its networks, initialized by a seed, on the CPU; the global seed is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, _INIT))
        return build(config, resolver(the_registry(), config))


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``mps`` into a device that is there; raises `UsageError`."""
    if name.lower() == "auto":
        mps = torch.backends.mps.is_available() and world() == 1  # processes cannot share it
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name.lower())
    except RuntimeError:
        raise UsageError(f"there is no device {name!r}: use auto, cpu, cuda or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type):
        raise UsageError(f"this machine has no usable {device.type} device: use --device auto or cpu")
    return device
