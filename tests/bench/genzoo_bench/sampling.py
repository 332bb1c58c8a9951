"""What sampling to a file costs over the generator's bare forward pass: ``genzoo bench sample``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, keep, machine
from genzoo.registry.verbs.sample import sample as sample_to
from genzoo_bench.cases import CASES, prepare
from genzoo_bench.pairs import Ratio, interleaved, ratio_of, threads_set
from genzoo_bench.speed import known

SAMPLED = ("vae-conv", "dcgan", "gan-mlp")
BATCH = 256  # observations at a time, as `genzoo sample` takes them
FEW = 10  # memory is compared with that of a run with as many times fewer samples


@dataclass(frozen=True)
class Sampling:
    """A line of the table.

    Attributes:
        case: whose generator.
        n: samples.
        ratio: speed of sampling to ``.npz`` as a factor of the bare forward pass over the same batches.
        peak: largest resident memory of a fresh process that samples ``n``, in bytes, torch included.
        peak_few: the same for a tenth of them: as much, if memory is constant.
    """

    case: str
    n: int
    ratio: Ratio
    peak: int
    peak_few: int


def sample(
    cases: Sequence[str] = SAMPLED,
    *,
    n: int = 50_000,
    pairs: int = 15,
    threads: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[Sampling]:
    """Measure sampling to an ``.npz`` against the bare forward pass: codes from `torch.randn`, generator, mean.

    Args:
        cases: keys of `CASES`, whose untrained generators are taken.
        n: samples.
        pairs: rounds.
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        out: folder for ``sample.json`` and ``sample.md``; None writes nothing.
        progress: show a bar on stderr.

    Raises:
        UsageError: for an unknown case, or fewer samples than two batches.
    """
    from genzoo.registry.verbs.initialize import pick_device

    known("case", cases, CASES)
    if n < 2 * FEW * BATCH:
        raise UsageError(f"sampling is measured on {2 * FEW * BATCH:,} samples at least, not {n:,}")
    where, folder = pick_device(device), folder_for(out)
    lines: list[Sampling] = []
    with threads_set(threads), tqdm(total=len(cases) * pairs, unit="round", disable=not progress) as bar:
        for name in cases:
            bar.set_description(CASES[name].title)
            ratio = _ratio(prepare(CASES[name], where).nets.model.eval(), n, pairs, where, lambda: bar.update(1))
            peaks = [_peak_apart(name, count, str(where), torch.get_num_threads()) for count in (n, n // FEW)]
            lines.append(Sampling(CASES[name].title, n, ratio, *peaks))
            numbers = {"lines": [asdict(line) for line in lines]}
            keep(folder, "sample", numbers, sampling_table(lines).markdown(), machine(where))
    return lines


def _ratio(model: Model, n: int, pairs: int, device: torch.device, tick: Callable[[], Any]) -> Ratio:
    with tempfile.TemporaryDirectory() as temporary:

        def ours() -> None:
            sample_to(model, Path(temporary) / "samples.npz", n, batch_size=BATCH)

        @torch.no_grad()
        def bare() -> None:
            for start in range(0, n, BATCH):
                model.mean(torch.randn(min(BATCH, n - start), *model.latent.shape, device=device))

        for work in (ours, bare):
            work()
        mine, theirs = interleaved([ours, bare], pairs, device, tick)
    return ratio_of(mine, theirs)


def _peak_apart(name: str, n: int, device: str, threads: int) -> int:
    """Peak memory of a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, name, n, device, threads).result()


def _peak(name: str, n: int, device: str, threads: int) -> int:
    import resource

    torch.set_num_threads(threads)
    model = prepare(CASES[name], torch.device(device)).nets.model.eval()
    with tempfile.TemporaryDirectory() as folder:
        sample_to(model, Path(folder) / "samples.npz", n, batch_size=BATCH)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def sampling_table(lines: Sequence[Sampling]) -> Table:
    """As people read it."""
    header = ("generator", "samples", "times as fast", "samples a second", "peak memory", f"for {1 / FEW:g} of them")
    return Table(
        header,
        [
            (x.case, f"{x.n:,}", str(x.ratio), f"{x.n / x.ratio.ours:,.0f}", _mega(x.peak), _mega(x.peak_few))
            for x in lines
        ],
    )


def _mega(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
