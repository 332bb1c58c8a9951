"""What is done with tables: gaps are filled by p(rest | what is there), and what is there stays, byte for byte."""

from __future__ import annotations

import gzip
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare

import genzoo
from genzoo.core.errors import UsageError
from genzoo.plugins.apps.tables.complete import complete, filled
from genzoo.plugins.modalities.columns import Column, spec_of

pa = pytest.importorskip("pyarrow")

from genzoo.plugins.modalities.table_files import read_table  # noqa: E402


def _cat(name, n, missing=False):
    names = tuple(f"{name}{i}" for i in range(n))
    column = Column(name, "category", "string", missing, 0, names, (), (), (1.0,))
    return replace(column, shares=(1 / (n + 1),) * sum(column.slots))


COLUMNS = [_cat("a", 3), _cat("b", 2, True), _cat("c", 4)]


def _model(columns=COLUMNS, **options):
    torch.manual_seed(0)
    model = (
        genzoo.create("table-ar", spec_of(columns), options={"likelihood.hidden": 16, **options})
        .eval()
        .requires_grad_(False)
    )
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.6)
    model.likelihood.embed.mul_(4)  # columns go by each other
    return model


def _joint(model):
    rows = torch.tensor(list(itertools.product(range(3), range(3), range(4)))) + 0.5
    return rows, model.log_likelihood(rows).values.double().exp()


@pytest.mark.parametrize("gap", [(0,), (1,), (0, 1), (2,), (0, 1, 2)])
@pytest.mark.parametrize("draws", [256, 8])
def test_gaps_are_filled_by_the_conditional_distribution(gap, draws):
    """Where all combinations are tried it is exact; eight draws are near enough to pass with fewer rows."""
    model = _model()
    rows, p = _joint(model)
    n, row = (1500 if draws > 8 else 300), torch.tensor([1.5, 2.5, 3.5])
    gaps = torch.zeros(n, 3, dtype=torch.bool)
    gaps[:, gap] = True
    made = filled(model, row.repeat(n, 1), gaps.numpy(), draws=draws)
    fits = (rows[:, 1] > 1) if 1 in gap else torch.ones(36, dtype=torch.bool)  # a gap is not filled with nothing
    for s in set(range(3)) - set(gap):
        fits &= rows[:, s] == row[s]
        assert (made[:, s] == row[s]).all()
    index = (made.floor().long() * torch.tensor([12, 4, 1])).sum(1)
    counts = torch.bincount(index, minlength=36)
    assert counts[~fits].sum() == 0
    if fits.sum() > 1:
        assert chisquare(counts[fits].numpy(), (p[fits] / p[fits].sum() * n).numpy()).pvalue > 1e-3


def test_what_stands_to_the_right_counts():
    """Filling from left to right alone, the wrong form, is another distribution."""
    model = _model()
    rows, p = _joint(model)
    at = (rows[:, 1] == 2.5) & (rows[:, 2] == 3.5)
    right = p[at] / p[at].sum()
    wrong = torch.stack([p[rows[:, 0] == k + 0.5].sum() for k in range(3)])
    assert (right - wrong).abs().max() > 0.1


def test_a_row_is_filled_alike_whatever_stands_in_other_rows():
    model = _model()
    codes = torch.tensor([[0.5, 0.5, 0.5], [1.5, 1.5, 3.5], [2.5, 0.5, 1.5]]).repeat(40, 1)
    gaps = torch.zeros(120, 3, dtype=torch.bool)
    gaps[::2, 0] = gaps[1::5, 2] = True
    whole = filled(model, codes, gaps.numpy())
    assert (filled(model, codes[:50], gaps[:50].numpy()) == whole[:50]).all()
    assert (whole[~gaps.any(1)] == codes[~gaps.any(1)]).all()


def test_a_model_of_any_order_reads_what_is_given_first():
    model = _model([_cat("a", 3), _cat("big", 400), _cat("c", 4, True)], **{"likelihood.any_order": True})
    codes, gaps = torch.tensor([[1.5, 399.5, 2.5]]).repeat(50, 1), torch.zeros(50, 3, dtype=torch.bool)
    gaps[:, 1] = gaps[:25, 2] = True
    made = filled(model, codes, gaps.numpy())
    assert (made[:, 1] < 400).all()
    assert (made[:, 2] >= 1).all()
    assert len(made[:, 1].unique()) > 10


TEXT = 'id;a;"b";c;note\n007;a0;"b1";c3;"x;y"\n008;;b0; c2;1.50\n009;a2;NA;c1;\n'


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_cells_that_are_there_stay_as_they_are(tmp_path: Path, suffix: str):
    (tmp_path / "holes.csv").write_text(TEXT)
    done = complete(_model(), tmp_path / "holes.csv", tmp_path / f"full{suffix}")
    assert done.cells == {"a": 1, "b": 1}
    if suffix == ".parquet":
        table = read_table(tmp_path / "full.parquet")
        assert table["note"].to_pylist() == ["x;y", "1.50", None]
        assert table["a"].to_pylist()[::2] == ["a0", "a2"]
        assert None not in table["a"].to_pylist() + table["b"].to_pylist()
        return
    content = (tmp_path / f"full{suffix}").read_bytes()
    lines = (gzip.decompress(content) if suffix == ".csv.gz" else content).decode().splitlines()
    before = TEXT.splitlines()
    assert lines[1].replace('"', "") == before[1].replace('"', "")
    assert re.fullmatch("008;a[0-2];b0; c2;1.50", lines[2])
    assert lines[3].startswith("009;a2;b")


def test_what_cannot_be_completed_is_said(tmp_path: Path):
    (tmp_path / "holes.csv").write_text("x,y\n1,\n")
    with pytest.raises(UsageError, match="has no column of the model's"):
        complete(_model(), tmp_path / "holes.csv", tmp_path / "full.csv")
    with pytest.raises(UsageError, match=r"use \.csv"):
        complete(_model(), tmp_path / "holes.csv", tmp_path / "full.txt")
    with pytest.raises(UsageError, match="is the file that is read"):
        complete(_model(), tmp_path / "holes.csv", tmp_path / "holes.csv")
    with pytest.raises(UsageError, match="image data"):
        complete("vae/emoji", tmp_path / "holes.csv", tmp_path / "full.csv")
    (tmp_path / "odd.csv").write_text("a,b,c\na7,b0,c1\n,b1,c0\n")
    assert complete(_model(), tmp_path / "odd.csv", tmp_path / "full.csv").unknown == {"a": 1}
