"""Features of texts that no training shaped: which runs of tokens they are made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Extractor, Features
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.alphabet import PAD
from genzoo.registry import declare

PLACES, LONGEST = 96, 3
FACTORS = (1, 1_000_003, 998_244_353)  # of the tokens in a run, before it falls to a place


@declare.extractor("token-runs", modalities=("text",))
class TokenRuns(Extractor):
    """Square roots of the shares of runs of one, two and three tokens, each kind hashed to 96 places: 288 features.

    No network and no training: it sees spelling and the letters at a word's seams, and neither meaning nor order
    beyond three tokens. Models of one data set are compared by it.
    """

    name = "token-runs"

    def __init__(self, spec: DataSpec) -> None:
        if "alphabet" not in spec.facts:
            raise UsageError(f"token-runs is of texts, and this is {of(spec).many}")
        self.alphabet = spec.facts["alphabet"] or " ".join([spec.facts["tokens"], *spec.facts["merges"]])

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> TokenRuns:
        return cls(spec)

    def extract(self, x: Tensor) -> Features:
        """Of numbers of tokens ``(B, L)``."""
        tokens, parts = x.round().long(), []
        for k in range(1, LONGEST + 1):
            runs = tokens.unfold(1, k, 1)
            there = (runs != PAD).all(-1).float()
            factors = torch.tensor(FACTORS[:k], device=x.device)
            mixed = (runs * factors).sum(-1)
            place = (mixed ^ (mixed >> 7)) % PLACES
            counts = torch.zeros(len(x), PLACES, device=x.device).scatter_add_(1, place, there)
            parts.append((counts / there.sum(1, keepdim=True).clamp(min=1)).sqrt())
        return Features(torch.cat(parts, 1))

    def sha256(self) -> str:
        return hashlib.sha256(f"token-runs {self.version} {PLACES} {LONGEST} {self.alphabet}".encode()).hexdigest()
