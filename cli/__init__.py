"""The command line: turns arguments into calls of the public API, and results into tables, pictures or JSON."""

from __future__ import annotations

from genzoo.cli.main import main

__all__ = ["main"]
