"""One process against two, for every family: how far gradients and what is kept differ. Prints a table.

python tests/bench/families.py [CASE …]     trains those of tests/distributed/cases.py on one process and on two
python tests/bench/families.py ONE TWO      reads what such trainings left in two folders
"""

from __future__ import annotations

import argparse
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

CASES = Path(__file__).parents[1] / "distributed" / "cases.py"


def trained(folder: str, cases: list[str]) -> tuple[Path, Path]:
    """Train cases on one process, and on two."""
    from genzoo.core.distributed.launch import launch

    one, two = Path(folder, "one"), Path(folder, "two")
    one.mkdir()
    two.mkdir()
    subprocess.run([sys.executable, str(CASES), str(one), *cases], check=True)
    launch([sys.executable, str(CASES), str(two), *cases], 2)
    return one, two


def row(name: str, one: Path, two: Path) -> str | None:
    """How far one case's gradients and ends lie apart, as shares of their norms."""
    files = [folder / f"{name}.safetensors" for folder in (one, two)]
    if not all(f.exists() for f in files):
        return None
    a, b = map(load_file, files)
    turns = [k for k in a if " turn " in k]
    norms = {k: float(np.linalg.norm(a[k].astype(np.float64))) for k in a}
    largest = {p: max(norms[k] for k in turns if k.startswith(p)) for p in {k.partition(" ")[0] for k in turns}}
    felt = [k for k in turns if norms[k] > 1e-5 * largest[k.partition(" ")[0]]]  # the rest is rounding

    def apart(keys: list[str]) -> float:
        return max((float(np.linalg.norm(a[k].astype(np.float64) - b[k])) / norms[k] for k in keys if norms[k]),
                   default=0.0)  # fmt: skip

    kept = [k for k in a if k.startswith("kept ") and a[k].dtype.kind == "f" and norms[k] > 1e-3]
    return f"| {name} | {len(felt):,} | {apart(felt):.0e} | {apart(kept):.0e} |"


def names() -> list[str]:
    """Names of cases in their order."""
    return list(runpy.run_path(str(CASES))["CASES"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", nargs="*", metavar="CASE", help="cases, by default all; or two folders")
    given = parser.parse_args().given
    there = len(given) == 2 and all(Path(folder).is_dir() for folder in given)
    known = names()
    if not there and (unknown := [name for name in given if name not in known]):
        parser.error(f"there is no case {unknown[0]!r}, nor are these two folders; cases are {'; '.join(known)}")
    with tempfile.TemporaryDirectory() as temporary:
        first, second = map(Path, given) if there else trained(temporary, given)
        print("| case | gradients compared | largest difference of one | of a kept tensor |\n| --- | --- | --- | --- |")
        listed = [n for n in known if (first / f"{n}.safetensors").exists()]
        rest = sorted({p.stem for p in first.glob("*.safetensors")} - set(listed))
        for case in [*listed, *rest]:
            if line := row(case, first, second):
                print(line)
