"""The numbers themselves as features: right for vectors, and a humble baseline for images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from genzoo.core.data import to_model
from genzoo.core.evaluation.evidence import Extractor, Features
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


@declare.extractor("raw", summary="no network: observations in model space, flattened")
class Raw(Extractor):
    """Images in [-1, 1], vectors standardized as the data say."""

    name = "raw"

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Raw:
        return cls(spec)

    def extract(self, x: Tensor) -> Features:
        return Features(to_model(self.spec, x).flatten(1))

    def sha256(self) -> str:
        return hashlib.sha256(f"raw {self.version} {self.spec.scale} {self.spec.shift}".encode()).hexdigest()
