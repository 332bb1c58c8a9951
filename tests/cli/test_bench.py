"""``genzoo bench``: tables, JSON, errors."""

from __future__ import annotations

import json

import pytest


def test_train_prints_a_table_and_keeps_it(genzoo, tmp_path):
    ran = genzoo("bench", "train", "--cases", "vae-tiny", "--against", "hand", "--pairs", 2, "--out", tmp_path)
    assert ran.code == 0, ran.err
    header, row = ran.out.splitlines()
    assert header.split()[0] == "training"
    assert "times as fast" in header
    assert row.startswith("VAE-tiny, squared error  float32    hand")
    assert "torch" in ran.err
    assert f"table and numbers in {tmp_path / 'train'}.md and .json" in ran.err
    assert "| VAE-tiny, squared error | float32 | hand |" in (tmp_path / "train.md").read_text()


def test_json_is_all_there_is_on_stdout(genzoo):
    ran = genzoo("bench", "defaults", "--cases", "vae-tiny", "--pairs", 1, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert {line["change"] for line in found["lines"]} >= {"bfloat16", "Adam by tensor (not fused)"}
    assert found["machine"]["device"] == "cpu"
    assert all(line["ratio"]["median"] > 0 for line in found["lines"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "--cases", "vae"), "there is no case 'vae'"),
        (("train", "--cases", "vae-mlp,dcgn"), "did you mean 'dcgan'"),
        (("train", "--against", "me"), "there is no rival 'me': there are hand, pythae, torchgan, mimicry, recorded"),
        (("sample", "-n", "10"), "5,120 samples at least"),
        (("defaults", "--device", "abacus"), "there is no device 'abacus'"),
        (("precision", "--cases", "gan-plane"), "there is no case 'gan-plane'"),
        (("train", "--pairs", "0"), "--pairs"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(genzoo, arguments, says):
    genzoo("bench", *arguments).sentence(says, code=2)


def test_help_tells_of_every_option(genzoo):
    ran = genzoo("bench", "train", "--help")
    assert ran.code == 0
    assert ran.out.startswith("Usage: genzoo bench train [OPTIONS]")
    assert "--against" in ran.out
    listed = genzoo("bench", "--help").out
    assert [name for name in ("train", "sample", "defaults", "precision", "zoo", "modes") if name not in listed] == []
