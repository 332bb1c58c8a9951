"""Spoken digits: the file that ships, its splits and factors, the judge, and what eSpeak NG says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.plugins.datasets import spoken_digits
from genzoo.plugins.datasets.spoken_digits import (
    SpokenDigits,
    SpokenDigitsMini,
    clips_in,
    fitted,
    of_mu_law,
    parts,
    plan,
    spoken,
    to_mu_law,
)
from genzoo.plugins.extractors.digit_judge import DigitJudge

speech = pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="eSpeak NG is not installed")


def test_the_mini_set_has_both_splits_as_many_of_each_digit_and_its_factors() -> None:
    train, test = (SpokenDigitsMini().load(s) for s in ("train", "test"))  # type: ignore[arg-type]
    assert train.rows.shape == (800, 1, 4096)
    assert train.rows.dtype == torch.int16
    assert train.y is not None
    assert test.y is not None
    assert torch.bincount(train.y).tolist() == [80] * 10
    assert torch.bincount(test.y).tolist() == [20] * 10
    assert train.spec == test.spec
    assert train.factors is not None
    assert torch.equal(train.factors[:, 0], train.y)
    assert abs(float(train.convert(train.x.clone()).square().mean()) - 1) < 1e-3
    both = {row.numpy().tobytes() for row in train.rows} & {row.numpy().tobytes() for row in test.rows}
    assert not both
    assert int(train.rows.flatten(1).abs().amax(1).min()) > 1000  # none is silent


def test_eight_bits_on_a_logarithmic_scale_come_back_within_a_fortieth() -> None:
    x = np.arange(-32768, 32768, dtype=np.int16)
    again = of_mu_law(to_mu_law(x)).astype(float)
    assert again[32768] == 0
    assert np.abs(again - x).max() <= 0.025 * 32768
    loud = np.abs(x) > 1000
    assert (np.abs(again - x)[loud] / np.abs(x)[loud]).max() < 0.04
    assert np.array_equal(to_mu_law(of_mu_law(np.arange(1, 256).astype(np.uint8))), np.arange(1, 256))


def test_splits_share_no_clip_and_two_voices_are_in_none_of_them() -> None:
    factors = plan()
    assert factors.shape == (6000, 5)
    assert len(np.unique(factors, axis=0)) == 6000
    known = parts(factors)
    assert (sum(v.astype(int) for v in known.values()) == 1).all()
    voices = {split: set(factors[chosen, 2]) for split, chosen in known.items()}
    assert voices["unheard"] == set(spoken_digits.UNHEARD)
    assert not voices["unheard"] & (voices["train"] | voices["test"])


def test_the_judge_knows_the_digits_at_any_level_and_no_digit_in_silence() -> None:
    test = SpokenDigitsMini().load("test")
    judge = DigitJudge.open(test.spec)
    assert test.y is not None
    assert judge.accuracy(test.x, test.y) > 0.98
    assert judge.accuracy(test.x.float() / 32768 * 0.1, test.y) > 0.95
    assert judge.accuracy(torch.zeros(200, 1, 4096), test.y) < 0.2
    with pytest.raises(UsageError, match="8000 samples a second"):
        DigitJudge.open(genzoo.DataSpec.image(1, 8, 8))


def test_a_word_begins_where_it_is_heard_and_is_cut_or_padded() -> None:
    tone = (10_000 * np.sin(np.arange(22_050) * 0.1)).astype(np.int16)
    late = np.concatenate([np.zeros(5000, np.int16), tone])
    assert fitted(late).shape == (4096,)
    assert np.abs(fitted(late)[:40]).max() > 1000
    assert not fitted(late[:8000])[-1000:].any()
    assert not fitted(np.zeros(10, np.int16)).any()


def test_what_the_worker_writes_is_read_back() -> None:
    clips = [np.arange(3, dtype="<i2"), np.zeros(0, "<i2"), np.full(5, -7, "<i2")]
    raw = b"".join(len(c).to_bytes(4, "little") + c.tobytes() for c in clips)
    assert [c.tolist() for c in clips_in(raw)] == [c.tolist() for c in clips]


def test_without_the_package_and_with_a_damaged_file_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=r"pip install 'genzoo\[speech\]'"):
        SpokenDigits().load("train")
    (tmp_path / "spoken-digits.npy").write_bytes(b"no array")
    with pytest.raises(GenzooError, match="damaged: remove it"):
        SpokenDigits().load("train")
    monkeypatch.setattr(spoken_digits, "MINI", tmp_path / "spoken-digits.npy")
    with pytest.raises(GenzooError, match="install genzoo again"):
        SpokenDigitsMini().load("train")


@speech
def test_words_are_said_alike_whatever_was_said_before() -> None:
    rows = plan()[:3]
    assert np.array_equal(spoken(rows), spoken(rows[::-1])[::-1])
