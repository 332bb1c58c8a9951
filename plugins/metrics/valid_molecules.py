"""What samples of molecules are worth: whether they are any, are different, and are new. By RDKit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from genzoo.core.errors import MissingPackage
from genzoo.core.evaluation.evidence import Evidence, Measured
from genzoo.core.math.intervals import Estimate, share
from genzoo.plugins.metrics.texts import TextMetric, texts
from genzoo.registry import declare

LEAST = 0.5  # share of the data that must be molecules


def canonical(lines: Sequence[str]) -> list[str]:
    """Each text's own SMILES as RDKit writes it, "" for what is no molecule: unreadable, empty, of wrong valences."""
    try:
        chem, base = import_module("rdkit.Chem"), import_module("rdkit.rdBase")
    except ImportError:
        raise MissingPackage(
            "molecules are judged by RDKit, which is not installed: pip install 'genzoo[molecules]'"
        ) from None
    out = []
    with base.BlockLogs():  # what is wrong with each text, on stderr
        for line in lines:
            found: Any = chem.MolFromSmiles(line) if line else None
            out.append("" if found is None or not found.GetNumAtoms() else str(chem.MolToSmiles(found)))
    return out


class _Molecules(TextMetric):
    """Of texts that are molecules."""

    def refuses(self, evidence: Evidence) -> str:
        if said := super().refuses(evidence):
            return said
        real = canonical(texts(evidence, evidence.data.x[:100]))
        few = sum(map(bool, real)) < LEAST * len(real)
        return "it is for molecules in SMILES, and most of the data are none" if few else ""


@declare.metric(
    "valid-molecules", direction="higher", unit="share", needs=("samples", "data"), paper="arXiv:1811.12823",
    tags=("text", "molecules", "fidelity"),
)  # fmt: skip
class Valid(_Molecules):
    """Share of samples that are molecules: SMILES that RDKit can read, of atoms with possible valences."""

    covers = "the share of unlimited samples"

    def measure(self, evidence: Evidence) -> Measured:
        found = canonical(texts(evidence, evidence.samples))
        return Measured(share(sum(map(bool, found)), len(found)), n_fake=len(found))


@declare.metric(
    "unique-molecules", direction="higher", unit="share", needs=("samples", "data"), paper="arXiv:1811.12823",
    tags=("text", "molecules", "diversity"),
)  # fmt: skip
class Unique(_Molecules):
    """Share of the valid samples that are different molecules, however they are written. It falls with their number."""

    def measure(self, evidence: Evidence) -> Measured:
        found = [m for m in canonical(texts(evidence, evidence.samples)) if m]
        value = len(set(found)) / max(len(found), 1)
        return Measured(Estimate(value, samples=(len(found),)), n_fake=len(found), why="it falls with their number")


@declare.metric(
    "novel-molecules", direction="higher", unit="share", needs=("samples", "data", "training"),
    paper="arXiv:1811.12823", tags=("text", "molecules", "diversity"),
)  # fmt: skip
class Novel(_Molecules):
    """Share of the different valid samples that are no molecules of the training data."""

    def measure(self, evidence: Evidence) -> Measured:
        assert evidence.training is not None
        known = set(canonical(texts(evidence, evidence.training.x)))
        found = {m for m in canonical(texts(evidence, evidence.samples)) if m}
        value = len(found - known) / max(len(found), 1)
        return Measured(Estimate(value, samples=(len(found),)), {"known": len(known)}, n_fake=len(found),
                        why="different samples are not independent of each other")  # fmt: skip
