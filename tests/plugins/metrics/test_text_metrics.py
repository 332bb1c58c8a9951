"""Metrics of texts against counting by hand, and planted faults that they must see."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

import genzoo
from genzoo.core.data import Data, from_arrays
from genzoo.core.errors import UsageError
from genzoo.plugins.extractors.token_runs import TokenRuns
from genzoo.plugins.metrics.character_model import CharacterModel
from genzoo.plugins.metrics.copied_runs import longest_run, with_run
from genzoo.plugins.metrics.text_samples import bleu
from genzoo.registry.verbs.evaluate import evaluate

LINES = ["the man of the sea", "the man of the land", "a sea of the man", "the land"]


def test_a_character_model_is_a_distribution() -> None:
    judge = CharacterModel(["ab", "abb", "ba"], 3)
    for before in ("\x02\x02", "\x02a", "ab", "bb", "zz"):
        # Characters that were seen, the end, and one that was not, which stands for all others.
        assert sum(judge.probability(before, c) for c in "ab\x03?") == pytest.approx(1)
    one = (3 + 3 * 0.25) / (10 + 3)  # of 10 places, a stands at 3, and 3 kinds are seen; before it 1/4 for each
    assert judge.probability("", "a") == pytest.approx(one)
    assert judge.probability("zz", "a") == pytest.approx(one)
    two = (2 + 2 * one) / (3 + 2)  # at the start: a, a, b
    assert judge.probability("\x02\x02", "a") == pytest.approx((2 + 2 * two) / (3 + 2))
    assert judge.nats("ab") == pytest.approx(
        -math.log(
            judge.probability("\x02\x02", "a") * judge.probability("\x02a", "b") * judge.probability("ab", "\x03")
        )
    )
    whole = judge.per_character(["ab", "b"])
    assert whole.value == pytest.approx((judge.nats("ab") + judge.nats("b")) / 5)


def test_lines_that_a_character_model_draws_have_its_probabilities() -> None:
    judge, rng, n = CharacterModel(["ab", "abb", "ba"], 3), random.Random(0), 20_000
    drawn = [judge.sample(rng, 5) for _ in range(n)]
    for before, start in (("\x02\x02", ""), ("\x02a", "a"), ("ab", "ab")):
        those = [(line + "\x03")[len(start)] for line in drawn if line.startswith(start)]
        other = judge.probability(before, "?")  # none is drawn that was never seen: its share goes to the three others
        for c in "ab\x03":
            expected = judge.probability(before, c) + other / 3
            assert those.count(c) / len(those) == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(len(those)))
    assert max(map(len, drawn)) == 5


def test_bleu_against_others_is_bleu_by_its_definition() -> None:
    lines = [line.split() for line in LINES]

    def plain(i: int, n: int) -> float:
        words, others = lines[i], lines[:i] + lines[i + 1 :]
        total = 0.0
        orders = 0
        for k in range(1, n + 1):
            runs = [tuple(words[j : j + k]) for j in range(len(words) - k + 1)]
            if runs:
                most = {r: max(sum(o[j : j + k] == list(r) for j in range(len(o))) for o in others) for r in set(runs)}
                total += math.log(max(sum(min(runs.count(r), most[r]) for r in set(runs)), 0.1) / len(runs))
                orders += 1
        nearest = min((len(o) for o in others), key=lambda s: (abs(s - len(words)), s))
        return math.exp(min(0, 1 - nearest / len(words)) + total / orders)

    for n in (1, 2, 4):
        assert bleu(lines, n) == pytest.approx([plain(i, n) for i in range(4)])
    assert bleu([["a", "b", "c", "d"]] * 3, 4) == pytest.approx([1, 1, 1])
    assert bleu([[c] * 4 for c in "abc"], 4) == bleu([[c] for c in "abc"], 4) == [0, 0, 0]  # no word in common
    assert bleu([[], ["a"]], 2)[0] == 0


def test_bleu_is_that_of_another_library() -> None:
    """Numbers of sacrebleu 2.6.0: BLEU(tokenize="none", smooth_method="floor", smooth_value=0.1, effective_order=True,
    max_ngram_order=n).sentence_score(line, others), over 100."""
    lines = [line.split() for line in LINES]
    against = ["a man of the land and the sea", "the sea of the man", "land of the sea", "in the beginning"]
    others = [line.split() for line in against]
    among = {2: [0.8660254037844388, 1.0, 0.6324555320336759, 0.2231301601484299],
             4: [0.7071067811865478, 0.7598356856515927, 0.1606856837889303, 0.2231301601484299]}  # fmt: skip
    apart = {1: [1.0, 1.0, 1.0, 0.6065306597126336], 2: [1.0, 1.0, 0.8660254037844388, 0.6065306597126336],
             4: [0.42728700639623396, 0.7598356856515927, 0.7071067811865478, 0.6065306597126336]}  # fmt: skip
    for n, expected in among.items():
        assert bleu(lines, n) == pytest.approx(expected)
    for n, expected in apart.items():
        assert bleu(lines, n, others) == pytest.approx(expected)
    assert bleu(lines[:1], 4, lines) == pytest.approx([1.0])  # itself, where it is among the others
    assert bleu([["x"], ["x", "y", "z"]], 4, others) == [0, 0]  # which it says of what has no word in common


def test_the_longest_copied_run_is_found() -> None:
    rng = random.Random(0)
    for _ in range(200):
        lines, known = (["".join(rng.choices("ab ", k=rng.randint(0, 9))) for _ in range(4)] for _ in range(2))
        runs = {line[i:j] for line in lines for i in range(len(line)) for j in range(i + 1, len(line) + 1)}
        shared = {run for run in runs if any(run in text for text in known)}
        longest = longest_run(lines, known)
        assert len(longest) == max(map(len, shared), default=0)
        assert longest in shared | {""}
        for n in (1, 3, 5):
            ours, theirs, _ = with_run(lines, known, n)
            assert ours == {i for i, line in enumerate(lines) if any(r in line for r in shared if len(r) == n)}
            assert set(theirs) == {t for t in known if any(r in t for r in shared if len(r) == n)}
    assert longest_run(["x" * 99 + "y"], ["z" + "x" * 70, "xy"]) == "x" * 70
    assert longest_run([], ["a"]) == longest_run(["a"], []) == ""


def test_what_was_learned_by_heart_is_told_from_the_rest() -> None:
    train = ["in the beginning was the word", "and the light shineth in darkness", "the same was in the beginning"]
    held = ["in the beginning of the light", "he came unto his own, and so on"]
    made = ["x was the word", "in darkness and in light", "in the beginning of the light"]
    whole = from_arrays(train + held + made, modality="text")
    rows = [Data(whole.spec, whole.rows[a:b], None, split=split) for a, b, split in (
        (0, 3, "train"), (3, 5, "test"), (5, 8, "all"))]  # fmt: skip
    found = evaluate(rows[2], rows[1], "copied-runs,bleu-n,perplexity-per-word", training=rows[0], strict=False,
                     options={"copied-runs.n": 13})  # fmt: skip
    copied = found["copied-runs"]
    assert copied.value == pytest.approx(2 / 3)  # " was the word", "in the beginning"
    assert copied.details["it reads"] == "in the beginning "
    assert copied.details["longest"] == copied.details["longest of held-out texts"] == 17
    assert copied.details["of held-out texts"] == 0.5
    assert copied.details["samples of n characters or more"] == 3
    against = [bleu([x.split()], 4, [h.split() for h in held])[0] for x in made]
    assert found["bleu-n"].value == pytest.approx(sum(against) / 3)
    assert against[2] == pytest.approx(1)
    assert [a.metric for a in found.absent] == ["perplexity-per-word"]  # samples alone have no likelihood


@pytest.mark.parametrize(("n", "said"), [
    (31, r"no training text has 31 characters.*copied-runs\.n.*14.*metrics"), (40, "no sample has 40 characters"),
])  # fmt: skip
def test_runs_that_are_longer_than_texts_are_refused(n: int, said: str) -> None:
    train, made = ["in the beginning was the word", "and the light shineth"], ["so it was in all of that country", "so"]
    whole = from_arrays(train + made, modality="text")
    rows = [Data(whole.spec, whole.rows[a:b], None, split=split) for a, b, split in ((0, 2, "train"), (2, 4, "all"))]
    with pytest.raises(UsageError, match=said):
        evaluate(rows[1], rows[0], "copied-runs", training=rows[0], options={"copied-runs.n": n})


def test_a_perplexity_of_texts_without_blanks_is_refused() -> None:
    data = from_arrays(["abba", "baab", "ab ab", "b"], modality="text")
    with pytest.raises(UsageError, match=r"1 blanks between words in 4 texts.*nats-per-character"):
        evaluate(genzoo.create("lm", data.spec), data, "perplexity-per-word")


def test_spoilt_texts_are_far_and_new_ones_are_near() -> None:
    rng = random.Random(0)
    syllables = ["".join(p) for p in itertools.product("bdmn", "aeo")]
    texts = list(dict.fromkeys("".join(rng.choices(syllables, k=4)) for _ in range(600)))
    data = from_arrays(texts, modality="text")
    found = TokenRuns.open(data.spec)
    x = data.x.float()
    shuffled = x.clone()
    for row in shuffled:
        n = int((row > 1).sum())
        row[:n] = row[torch.randperm(n, generator=torch.Generator().manual_seed(n))]
    a, b, c = (found.extract(v).features.mean(0) for v in (x[:300], x[300:], shuffled[300:]))
    assert found.extract(x[:2]).features.shape == (2, 288)
    assert (a - c).norm() > 3 * (a - b).norm()
    padded = torch.nn.functional.pad(x[:3], (0, 5))
    torch.testing.assert_close(found.extract(padded).features, found.extract(x[:3]).features)
