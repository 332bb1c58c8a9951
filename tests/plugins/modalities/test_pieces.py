"""Byte-level BPE: what goes in comes out, and what is kept is plain data that is checked."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities import alphabet, pieces
from genzoo.plugins.modalities.text import Text
from genzoo.registry.verbs.load import load_data

pytest.importorskip("tokenizers")
LINES = [f"the {a} and the {b} of the {a}" for a in ("king", "house", "land") for b in ("sea", "son", "day", "man")]
MERGES = pieces.learn(LINES, 268)
FACTS = {"tokens": "bpe", "alphabet": "", "merges": MERGES}
SPEC = DataSpec("text", (12,), alphabet.levels(FACTS), facts=FACTS)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text: str) -> None:
    found = alphabet.numbers([text], FACTS)[0]
    assert alphabet.UNKNOWN not in found
    assert alphabet.decode(torch.tensor([[*found, alphabet.END]]), FACTS) == [text]


@pytest.mark.parametrize(
    "text", ["naïve", " And", "And", "<eos>", "<pad>", "a\x00\x7f\r\n b", "👩‍👩‍👧", "  two  blanks "]
)
def test_what_was_never_seen_comes_back(text: str) -> None:
    assert alphabet.decode(alphabet.encode([text], FACTS, 40), FACTS) == [text]


def test_pieces_are_as_in_the_papers_example() -> None:
    """Sennrich et al., arXiv:1508.07909: of low, lowest, newer, wider the first merges make ``er``, ``lo``, ``low``."""
    words = ["low"] * 5 + ["lowest"] * 2 + ["newer"] * 6 + ["wider"] * 3
    assert pieces.learn(words, 243 + 1) == ("e r",)
    merged = {pair.replace(" ", "") for pair in pieces.learn(words, 243 + 5)}
    assert {"er", "lo", "low"} <= merged


def test_learning_twice_gives_the_same() -> None:
    assert pieces.learn(LINES, 268) == MERGES
    assert len(pieces.merged(MERGES)[1]) == 268


@pytest.mark.parametrize(("merges", "said"), [
    (("th e",), "not of two pieces"), (("t h", "th  e"), "not of two pieces"), (("t",), "not of two pieces"),
    (("t h",) * 10_001, "a list of 10001"),
])  # fmt: skip
def test_merges_that_cannot_be_are_refused(merges, said) -> None:
    with pytest.raises(UsageError, match=said):
        DataSpec("text", (12,), 247, facts={"tokens": "bpe", "merges": merges})


def test_merges_are_of_bpe_alone_and_half_characters_of_nothing() -> None:
    with pytest.raises(UsageError, match="no merges"):
        DataSpec("text", (12,), 246, facts={"tokens": "bytes", "merges": ("t h",)})
    with pytest.raises(UsageError, match="half a character"):
        alphabet.encode(["\ud800"], FACTS, 9)


def test_model_space_and_storage_are_exact() -> None:
    rows = torch.arange(264, dtype=torch.int16).view(-1, 12)
    kind = Text()
    assert torch.equal(kind.to_storage(SPEC, kind.to_units(SPEC, kind.from_rows(SPEC, rows))), rows)
    assert kind.to_array(SPEC, rows.float()).dtype == "int16"


def test_a_file_is_read_in_pieces_that_its_training_texts_tell(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(LINES))
    data = {
        s: load_data(tmp_path / "a.txt", split=s, options={"tokens": "bpe", "pieces": 260}) for s in ("train", "test")
    }
    assert data["train"].spec == data["test"].spec
    assert len(data["test"]) == 1
    texts = of(data["train"].spec).lines(data["train"].spec, data["train"].x)
    assert tuple(data["train"].spec.facts["merges"]) == pieces.learn(texts, 260)
    assert "pieces of 260 kinds" in of(data["train"].spec).describe(data["train"].spec)


def test_a_model_says_the_same_after_it_was_saved(tmp_path) -> None:
    model = genzoo.create("lm", SPEC, options={"likelihood.hidden": 4, "likelihood.embed": 4})
    model.save(tmp_path / "m")
    again = genzoo.load(tmp_path / "m")
    assert again.sample(3, seed=1) == model.sample(3, seed=1)
    assert again.log_likelihood(LINES[:2]).values.tolist() == pytest.approx(
        model.log_likelihood(LINES[:2]).values.tolist()
    )
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["data"]["facts"]["merges"][0] = "zz e"
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(GenzooError, match="merge 1 of BPE is not of two pieces"):
        genzoo.load(tmp_path / "m")


def test_what_is_compressed_comes_back_with_bytes_that_are_no_text(tmp_path) -> None:
    pytest.importorskip("constriction")
    model = genzoo.create("lm", SPEC, options={"likelihood.hidden": 4, "likelihood.embed": 4})
    texts = [*LINES, "", "日本 😀", "long " * 40]
    assert model.decompress(model.compress(texts)) == texts
    (tmp_path / "a.txt").write_bytes(b"the king\xff\xfe\n\xc3(")
    (tmp_path / "b.txt").write_bytes(b"")
    held = of(SPEC).lossless(SPEC, tmp_path / "a.txt")
    of(SPEC).write_whole(tmp_path / "b.txt", SPEC, held)
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()
