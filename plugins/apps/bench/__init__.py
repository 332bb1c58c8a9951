"""Benchmarks and leaderboards: ``genzoo bench``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "bench", f"{__name__}.bench_cli:bench", summary="Measure speed, defaults, precision, mode coverage, likelihood."
    )
