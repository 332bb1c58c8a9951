"""Molecules as texts, and what RDKit says of them."""

from __future__ import annotations

import gzip

import pytest

import genzoo
from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets import molecules

TRAIN = ["CCO", "c1ccccc1", "CC(=O)O"] + ["C" * n for n in range(4, 12)]
TEST = ["CCN", "CCCO"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder like that of the package molsets."""
    data = tmp_path / "moses" / "dataset" / "data"
    data.mkdir(parents=True)
    (tmp_path / "moses" / "__init__.py").write_text("raise RuntimeError('it is run')")
    for name, rows in (("train", TRAIN), ("test", TEST)):
        (data / f"{name}.csv.gz").write_bytes(gzip.compress(("SMILES\n" + "\n".join(rows) + "\n").encode()))
    monkeypatch.syspath_prepend(tmp_path)
    return data


def test_splits_are_the_benchmarks_and_its_code_is_not_run(installed) -> None:
    found = {split: genzoo.load_data("smiles", split=split) for split in ("train", "test", "all")}
    texts = {split: of(data.spec).lines(data.spec, data.x) for split, data in found.items()}
    assert texts == {"train": TRAIN, "test": TEST, "all": TRAIN + TEST}
    assert found["train"].spec == found["test"].spec
    few = genzoo.load_data("smiles", split="train", options={"count": 4})
    assert of(few.spec).lines(few.spec, few.x) == [TRAIN[i] for i in (0, 2, 5, 8)]


def test_what_is_missing_or_damaged_is_a_sentence(installed, monkeypatch) -> None:
    (installed / "test.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(GenzooError, match="install molsets again"):
        genzoo.load_data("smiles")
    monkeypatch.setattr(molecules, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pip install molsets"):
        genzoo.load_data("smiles")


def test_ten_thousand_come_with_genzoo() -> None:
    data = genzoo.load_data("smiles-mini", split="test")
    assert (len(data), data.spec.shape, data.license) == (1000, (53,), "MIT")


def test_molecules_are_told_from_other_texts() -> None:
    pytest.importorskip("rdkit")
    from genzoo.plugins.metrics.valid_molecules import canonical

    found = canonical(["OCC", "CCO", "C(", "", "C(C)(C)(C)(C)C", "c1ccccc1"])
    assert found == ["CCO", "CCO", "", "", "", "c1ccccc1"]


def test_metrics_count_valid_different_and_new_ones(tmp_path) -> None:
    pytest.importorskip("rdkit")
    alphabet = "".join(sorted(set("".join(TRAIN + TEST))))
    facts = {"tokens": "characters", "alphabet": alphabet}
    spec = DataSpec("text", (12,), 3 + len(alphabet), facts=facts)
    kind = of(spec)
    data, training = (kind.as_known(genzoo.load_data(rows), spec) for rows in (TEST * 3, TRAIN))
    samples = ["OCC", "CCO", "C(", "CCCCN", "CCCN"]
    found = genzoo.evaluate(samples, data, training=training,
                            metrics="valid-molecules,unique-molecules,novel-molecules")  # fmt: skip
    assert [found[m].value for m in ("valid-molecules", "unique-molecules", "novel-molecules")] == [0.8, 0.75, 2 / 3]
    words = genzoo.load_data(["in the beginning", "was the word", "and the word"])
    with pytest.raises(UsageError, match="molecules in SMILES"):
        genzoo.evaluate(["in", "was"], words, metrics="valid-molecules", training=words)
