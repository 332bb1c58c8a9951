"""What the two dear metrics cost beside the usual ways of computing them. Run it alone on the machine:

    python tests/bench/metrics.py [--threads 2] [--pairs 5] [--only frechet|fidelity] [--count 10000]

A number is our speed as a factor of theirs, both from the features on; then the peak of memory that each adds,
in processes of their own. It needs scipy, and for fidelity prdc with scikit-learn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from _pairs import line, ratios

from genzoo.plugins.metrics.fidelity import fidelity
from genzoo.plugins.metrics.frechet import distance, frechet, statistics


def features(count: int, dimensions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets whose spectrum falls off as that of a network's features does."""
    g = torch.Generator().manual_seed(0)
    scale = torch.linspace(0, -4, dimensions).exp()
    x = torch.randn(count, dimensions, generator=g) * scale + 0.5
    y = torch.randn(count, dimensions, generator=g) * scale * 1.1 + 0.45
    return x, y


def by_root(x: torch.Tensor, y: torch.Tensor, trace: Callable[[np.ndarray], float]) -> float:
    """A Fréchet distance as others compute it: from the root of the covariances' product."""
    a, b = x.double().numpy(), y.double().numpy()
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb) - 2 * trace(ca @ cb))


def sqrtm(product: np.ndarray) -> float:
    """As pytorch-fid and clean-fid."""
    import scipy.linalg

    return float(np.trace(np.real(scipy.linalg.sqrtm(product))))


def eigvals(product: np.ndarray) -> float:
    """As torch-fidelity and torchmetrics."""
    return float(np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum())


def theirs(x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """Precision, recall, density and coverage by prdc."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return dict(compute_prdc(real_features=y.numpy(), fake_features=x.numpy(), nearest_k=5))


def peak(who: str, count: int, dimensions: int) -> float:
    """MiB that one computation adds to the peak of a fresh process which has warmed up on few observations."""
    command = [sys.executable, __file__, "--peak", who, "--count", str(count), "--dimensions", str(dimensions)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report_peak(who: str, count: int, dimensions: int) -> None:
    x, y = features(count, dimensions)
    run = fidelity if who == "ours" else theirs
    run(x[:100], y[:100])
    before = highest()
    run(x, y)
    print(highest() - before)


def highest() -> float:
    """Peak of this process's memory in MiB (Linux); getrusage would start from its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--only", choices=["frechet", "fidelity"])
    parser.add_argument("--peak", choices=["ours", "prdc"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        return report_peak(given.peak, given.count, given.dimensions)
    torch.set_num_threads(given.threads)
    print(f"{torch.get_num_threads()} threads of torch; numpy's are set by OMP_NUM_THREADS or OPENBLAS_NUM_THREADS")
    if given.only != "fidelity":
        x, y = features(given.count, 2048)
        found = frechet(x, y).estimate.value
        for name, trace in (("scipy sqrtm", sqrtm), ("numpy eigvals", eigvals)):
            assert abs(by_root(x, y, trace) / found - 1) < 1e-6
            way = ratios(lambda: frechet(x, y), lambda trace=trace: by_root(x, y, trace), given.pairs)
            print(line(name, way))
        kept = statistics(y)
        print(
            line(
                "… data kept",
                ratios(lambda: distance(statistics(x), kept), lambda: by_root(x, y, eigvals), given.pairs),
            )
        )
    if given.only != "frechet":
        for dimensions in (given.dimensions, 1024):
            x, y = features(given.count, dimensions)
            ours, other = fidelity(x, y), theirs(x, y)
            for name, value in other.items():
                assert abs(getattr(ours, name).value - value) <= 1e-4 * value
            way = ratios(lambda x=x, y=y: fidelity(x, y), lambda x=x, y=y: theirs(x, y), given.pairs)
            print(line(f"prdc, {dimensions}", way))
            memory = [peak(who, given.count, dimensions) for who in ("ours", "prdc")]
            print(f"{'':<16} memory {memory[0]:.0f} MiB against {memory[1]:.0f}: {memory[0] / memory[1]:.2f}")


if __name__ == "__main__":
    main()
