"""How much memory there is, and sizes as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    import torch  # sizes are checked before anything heavy is imported

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(value: int | str | None, where: str) -> int | None:
    """Turn ``2GB``, ``512MB``, ``1.5GiB`` or a number of bytes into bytes; None and ``auto`` into None.

    Args:
        value: what was given; GB and the like are powers of 1000, GiB powers of 1024.
        where: what it is called, for the message.

    Raises:
        UsageError: for anything else.
    """
    if value is None or value == "auto":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = value.strip().upper() if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]I?|)B?", text)
    if match is None:
        raise UsageError(f"{where} takes a size like 512MB, 2GB or 1.5GiB, a number of bytes, or auto, not {value!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def size_text(n: int) -> str:
    """Say a number of bytes in words, e.g. ``45 MB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= factor:
            amount = n / factor
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.3g} {unit}"
    return f"{n} bytes"


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
