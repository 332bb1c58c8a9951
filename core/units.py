"""Sizes and durations as people write them, and how much memory there is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    import torch  # sizes are checked before anything heavy is imported

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)\s*"


def parse_size(value: int | str | None, where: str) -> int | None:
    """Turn ``2GB``, ``1.5GiB`` (a power of 1024) or a number of bytes into bytes; None and ``auto`` into None."""
    if value is None or value == "auto":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(_NUMBER + "([KMGT]I?|)B?", value.strip().upper() if isinstance(value, str) else "")
    if match is None:
        raise UsageError(f"{where} takes a size like 512MB, 2GB or 1.5GiB, a number of bytes, or auto, not {value!r}")
    return int(float(match[1]) * _SIZES[match[2]])


def size_text(n: int) -> str:
    """Say a number of bytes in words, e.g. ``45 MB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= factor:
            amount = n / factor
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.3g} {unit}"
    return f"{n} bytes"


def parse_duration(value: float | str, where: str = "budget") -> float:
    """Turn ``10min``, ``90s``, ``1.5h`` or a number of seconds, more than zero, into seconds."""
    match = re.fullmatch(_NUMBER + "([a-z]*)", str(value).strip().lower())
    if match is None or match[2] not in _SECONDS or float(match[1]) == 0:
        raise UsageError(f"{where} takes a time like 90s, 10min or 1.5h, or a number of seconds, not {value!r}")
    return float(match[1]) * _SECONDS[match[2]]


def duration_text(seconds: float) -> str:
    """Say a time in words, e.g. ``10 min``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.4g} h"


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Memory that is free on a device; for the CPU, what processes may still take without swapping."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), 0)
    return min(_available(), _group_left())


def _available() -> int:
    """What the operating system has left."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):  # no /proc, or no sysconf either: Windows
        return 8 * 10**9


def _group_left() -> int:
    """What a container's limit has left (cgroup v2), or a number beyond any."""
    try:
        group = Path("/sys/fs/cgroup")
        used, most = int((group / "memory.current").read_text()), (group / "memory.max").read_text().strip()
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Cached files give way when memory is needed.
        return 2**62 if most == "max" else max(int(most) - used + int(stat.get("inactive_file", 0)), 0)
    except (OSError, ValueError):
        return 2**62
