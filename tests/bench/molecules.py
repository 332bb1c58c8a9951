"""The Fréchet ChemNet distance of a model's molecules, and of real ones, to the test split of MOSES.

Needs `fcd-torch==1.0.7`, scipy and genzoo[molecules], and the data set `smiles` (``genzoo show smiles``):
python tests/bench/molecules.py runs/molecules
"""

from __future__ import annotations

import argparse
import warnings

import torch

import genzoo
from genzoo.core.modality import of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("-n", type=int, default=2000)
    asked = parser.parse_args()
    try:
        from fcd_torch import FCD
        from rdkit import Chem, RDLogger
    except ImportError as e:
        raise SystemExit(
            f"{e.name} is missing: pip install --no-deps fcd-torch==1.0.7; 'genzoo[molecules]' scipy"
        ) from e
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    model, n = genzoo.load(asked.weights), asked.n
    data = genzoo.load_data("smiles", split="test")
    some = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[: 2 * n]
    real = of(data.spec).lines(data.spec, data.x[some])
    made = model.sample(n, seed=0)
    valid = [s for s in made if s and Chem.MolFromSmiles(s) is not None]
    distance = FCD(device="cpu", n_jobs=1)
    print(f"{asked.weights}: {len(valid) / n:.1%} of {n:,} valid, FCD {distance(valid, real[:n]):.2f}")
    print(f"real molecules: FCD {distance(real[n:], real[:n]):.2f}")


if __name__ == "__main__":
    main()
