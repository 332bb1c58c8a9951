"""What metrics see of real pictures that are spoilt: ``genzoo bench sensitivity``."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.bench import sensitivity
from genzoo.plugins.apps.bench.sensitivity import DAMAGES, METRICS, Sensed, Sensitivity, damages_for

# What docs/sensitivity.md claims: on these the metric orders clean, slight, heavy, with every seed.
_FEATURES = ("blur", "noise", "dropped", "repeated")
CLAIMS: dict[str, tuple[str, ...]] = {
    "frechet": _FEATURES,
    "kid": _FEATURES,
    "mmd": _FEATURES,
    "sliced-wasserstein": _FEATURES,
    "c2st": ("blur", "noise", "repeated"),
    "classifier-score": ("blur", "noise", "dropped"),
    "precision": ("blur", "noise"),
    "recall": ("blur", "noise", "repeated"),
    "density": ("blur", "noise"),
    "coverage": _FEATURES,
    "classes": ("dropped",),
    "class-kl": _FEATURES,
    "conditional-accuracy": ("blur", "noise", "labels"),
    "memorization": ("copies",),
    "duplicates": ("repeated",),
    "ms-ssim": ("blur", "labels"),
    "diversity": ("blur", "noise", "repeated", "labels"),
}


def sensed(clean, slight, heavy, worse=1):
    return Sensed("frechet", "blur", clean, slight, heavy, worse)


def test_verdicts_on_made_up_numbers():
    assert sensed((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)).verdict == "sees"
    assert sensed((1.0, 3.5), (3.0, 4.0), (5.0, 6.0)).verdict == "sees heavy"
    assert sensed((1.0, 5.5), (3.0, 4.0), (5.0, 6.0)).verdict == "blind"
    assert sensed((5.0, 6.0), (3.0, 4.0), (1.0, 2.0)).verdict == "fooled"
    assert sensed((5.0, 6.0), (3.0, 4.0), (1.0, 2.0), worse=-1).verdict == "sees"
    assert sensed((5.0, 6.0), (3.0, 4.0), (1.0, 2.0), worse=0).verdict == "sees"
    assert sensed((math.inf, math.inf), (3.0, 4.0), (1.0, 2.0), worse=-1).verdict == "sees"


def broken(found, metrics=tuple(CLAIMS)):
    """Claims that do not hold in what was found."""
    sees = found.sees()
    return {m: set(CLAIMS[m]) - set(sees[m]) for m in metrics if set(CLAIMS[m]) - set(sees[m])}


def test_what_a_metric_sees_is_told():
    found = Sensitivity("d", 2, 2, (sensed((1.0, 5.5), (3.0, 4.0), (5.0, 6.0)),))
    assert found.sees() == {"frechet": ()}
    assert found.lines[0].text() == "– 3.25 → 3.5 → 5.5"
    assert broken(found, ("frechet",)) == {"frechet": set(CLAIMS["frechet"])}


def test_what_is_claimed_of_some_metrics(tmp_path):
    """The four damages of the claims that are quick to check; all claims, with several draws, in the slow test."""
    some = ("frechet", "coverage", "class-kl", "sliced-wasserstein")
    damages = ("blur", "noise", "dropped", "repeated")
    found = sensitivity.sensitivity(metrics=some, damages=damages, n=300, seeds=1, out=tmp_path)
    assert broken(found, some) == {}
    assert "## Blind spots" in (tmp_path / "sensitivity.md").read_text()
    cells = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cells/*.json")}
    assert len(cells) == 9
    assert sensitivity.sensitivity(metrics=some, damages=damages, n=300, seeds=1, out=tmp_path) == found
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("cells/*.json")} == cells


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_claim():
    assert broken(sensitivity.sensitivity()) == {}


def test_the_page_says_what_is_claimed():
    lines = (Path(__file__).parents[2] / "docs" / "sensitivity.md").read_text(encoding="utf-8").splitlines()
    titles = [DAMAGES[d].title for d in damages_for(DataSpec.image(1, 28, 28, classes=10))]
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and " → " in line]
    rows = {metric: dict(zip(titles, found, strict=True)) for metric, *found in cells}
    assert set(rows) == set(CLAIMS) == set(METRICS)
    for metric, damages in CLAIMS.items():
        assert [d for d in damages if not rows[metric][DAMAGES[d].title].startswith("✓")] == []


def test_sensitivity_refuses_what_it_cannot_use():
    with pytest.raises(UsageError, match=r"there is no damage 'blurr' .did you mean 'blur'"):
        sensitivity.sensitivity(damages=("blurr",))
    with pytest.raises(UsageError, match="measured on labelled data"):
        sensitivity.sensitivity("ring8", damages=("blur",))
    with pytest.raises(UsageError, match="n is from 2 to 750"):
        sensitivity.sensitivity(n=10_000)
