"""Losses with parts on mixtures, augmentations on few data: what is trained, kept, said and refused."""

import pytest

from genzoo.core.errors import UsageError
from genzoo.core.training.terms import TrainingDiverged
from genzoo.plugins.apps.bench import coverage, gans
from genzoo.plugins.apps.bench.coverage import ModeResult
from genzoo.plugins.apps.bench.gans import FewResult, Gans, few_table, modes_table, options_of
from genzoo.plugins.metrics.modes import ModeCoverage

TINY = {"only": ["wgan-gp"], "parts": ["none", "lecam=0.3", "r1=0.05+instance-noise"], "seeds": 1, "steps": 2,
        "sizes": [60], "augmentations": ["none", "ada"], "recipe": "r3gan", "n": 20, "jobs": 1}  # fmt: skip


def test_every_cell_is_trained_once_and_kept(tmp_path, monkeypatch):
    found = gans.gans(["ring8"], "fashion-mini", **TINY, out=tmp_path)
    assert [r.label for r in found.modes] == ["wgan-gp + none", "wgan-gp + r1=0.05+instance-noise"]
    assert list(found.refused) == ["ring8 wgan-gp + lecam=0.3", "fashion-mini r3gan + ada"]
    assert [(r.augmentation, r.size, r.steps) for r in found.few] == [("none", 60, 2)]
    assert found.few[0].metrics["frechet"] > 0
    text = (tmp_path / "gans.md").read_text()
    assert "| ring8 | wgan-gp | 0 · 0.0% · inf | 0 · 0.0% · inf |" in text
    assert "- ring8 wgan-gp + lecam=0.3: 'lecam' goes by the sign" in text

    def never(*given, **named):
        raise AssertionError("trained again")

    monkeypatch.setattr(gans, "train_for", never)
    monkeypatch.setattr(coverage, "train_for", never)
    again = gans.gans(["ring8"], "fashion-mini", **TINY, out=tmp_path)
    assert all(r.was_there for r in (*again.modes, *again.few))
    assert again.few == found.few


def test_what_breaks_down_costs_its_own_cell(tmp_path, monkeypatch):
    def breaks(*given, **named):
        raise TrainingDiverged("no")

    monkeypatch.setattr(gans, "train_for", breaks)
    monkeypatch.setattr(coverage, "train_for", breaks)
    given = {**TINY, "parts": ["none"], "augmentations": ["none"]}
    for _ in range(2):  # and when it is read back
        found = gans.gans(["ring8"], "fashion-mini", **given, out=tmp_path)
        assert (found.modes[0].coverage.modes, found.modes[0].steps) == (0, 0)
        assert found.few[0].metrics["frechet"] is None
        assert few_table(found).rows == [("none", "nan")]


def test_parts_go_by_their_kind():
    assert options_of("r1=0.05+ada+lecam") == {"regularizer": ["r1=0.05", "lecam"], "augmentation": ["ada"]}
    assert options_of("none") == {"regularizer": "none", "augmentation": "none"}
    with pytest.raises(UsageError, match=r"there is no regularizer or augmentation 'lecan' .did you mean 'lecam'"):
        options_of("lecan=0.3")
    with pytest.raises(UsageError, match=r"there is no loss 'hing' .did you mean 'hinge'"):
        gans.gans(["ring8"], "", only=["hing"], out=None)


def test_tables_are_of_means_over_seeds():
    def covered(seed, modes, good, kl):
        return ModeResult("ring8", "gan + r1", seed, ModeCoverage(modes, 8, good, kl, 0.001, 2500), 1.0, 10, [])

    few = [
        FewResult(a, 300, seed, {"frechet": v + seed}) for a, v in (("none", 20.0), ("ada", 10.0)) for seed in (0, 2)
    ]
    found = Gans((covered(0, 8, 0.9, 0.1), covered(1, 7, 0.8, 0.3)), tuple(few), {})
    assert modes_table(found).rows == [("ring8", "gan", "7.5 · 85.0% · 0.2000")]
    table = few_table(found)
    assert table.header == ("augmentation", "300")
    assert table.rows == [("none", "21.0 [8.3, 33.7]"), ("ada", "11.0 [-1.7, 23.7], × 0.52")]
