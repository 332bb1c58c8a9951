"""What curves tell of a run's health, on curves that were made to have it, or not."""

from __future__ import annotations

import math

import pytest

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.diagnose import symptoms
from genzoo.plugins.apps.diagnose.verdicts import NAMES, Diagnosis, Fact, Remedy, Verdict


def records(**columns):
    """Records of a log, 50 steps apart, from columns whose names have ``_`` for ``/``."""
    n = max(map(len, columns.values()))
    named = {k.replace("_", "/"): v for k, v in columns.items()}
    return [{"step": 50.0 * (i + 1)} | {k: float(v[i]) for k, v in named.items() if i < len(v)} for i in range(n)]


def falling(n=20, start=3000.0, end=2000.0):
    return [end + (start - end) * 0.7**i for i in range(n)]


def game(critic, real, fake, grad, n=20):
    """A game whose columns go evenly from one number to the other."""

    def line(a, b):
        return [a + (b - a) * i / (n - 1) for i in range(n)]

    return records(
        critic_adversarial=line(*critic), critic_real=line(*real), critic_fake=line(*fake), critic_loss=line(*critic),
        generator_adversarial=line(0.7, 0.7), generator_loss=line(0.7, 0.7), generator_grad=line(*grad),
        critic_grad=line(1, 1),
    )  # fmt: skip


HEALTHY_GAME = game((1.38, 1.3), (0, 0.2), (0, -0.2), (1, 0.5))


def test_a_critic_that_always_wins():
    found = symptoms.saturated_critic(game((0.02, 1e-4), (5, 20), (-5, -15), (1, 1e-3)))
    assert found.status == "problem"
    assert [f.wrong for f in found.facts] == [True, True, False]
    assert {"wgan-gp", "r3gan"} <= {r.recipe for r in found.remedies}


@pytest.mark.parametrize(
    "log",
    [
        HEALTHY_GAME,
        game((1.38, 0.1), (0, 2), (0, -1.9), (1, 1)),  # ahead, but its loss is above the limit
        game((1.38, 0.02), (0, 1), (0, -1), (1, 1)),  # a loss of another scale: the scores are near each other
        game((-9, -0.3), (18, 8), (9, 7.7), (30, 7)),  # Wasserstein: negative, without a bound to reach
        records(loss=falling()),
        [],
    ],
    ids=["even", "ahead", "scale", "wasserstein", "one player", "nothing"],
)
def test_critics_that_do_not(log):
    assert symptoms.saturated_critic(log).status == "healthy"


@pytest.mark.parametrize(("factor", "which"), [(1e4, 0), (1e-5, 1), (3, None), (0.05, None)])
def test_gradient_norms(factor, which):
    log = records(loss=falling(), grad=[100 * factor ** (i / 19) for i in range(20)])
    found = [v.status for v in symptoms.gradients(log)]
    assert found == ["problem" if i == which else "healthy" for i in (0, 1)]


def test_no_gradient_norms_were_logged():
    assert [v.status for v in symptoms.gradients(records(loss=falling()))] == ["unknown", "unknown"]


def test_losses_that_run_away():
    assert symptoms.divergence(records(loss=falling())).status == "healthy"
    assert symptoms.divergence(records(loss=[2000 * 1.3**i for i in range(20)])).status == "problem"
    broken = symptoms.divergence(records(loss=[*falling(), math.nan]))
    assert broken.status == "problem"
    assert "step 1,050" in broken.says
    assert symptoms.divergence(records(generator_loss=[1.0 * 2**i for i in range(20)])).status == "problem"
    assert symptoms.divergence([]).status == "unknown"
    assert symptoms.divergence(records(loss=falling()), broke_down=True).status == "hint"
    near_zero = records(loss=[0.01 * (-1) ** i + 0.3 * (i > 10) for i in range(20)])
    assert symptoms.divergence(near_zero).status == "healthy"


def held(values):
    return [{"step": 100.0 * (i + 1), symptoms.HELD_OUT: v} for i, v in enumerate(values)]


def test_a_held_out_loss_that_rises():
    found = symptoms.overfitting(held([3000, 2500, 2200, 2300, 2500, 2700]))
    assert found.status == "problem"
    assert "step 300" in found.says
    assert symptoms.overfitting(held([3000, 2500, 2200, 2210, 2190, 2205])).status == "healthy"
    assert symptoms.overfitting(held([3000, 2500])).status == "unknown"
    assert symptoms.overfitting(records(loss=falling())).status == "unknown"


def test_a_loss_that_was_still_falling():
    assert symptoms.under_training(records(loss=[3000 - 10 * i for i in range(20)])).status == "hint"
    assert symptoms.under_training(records(loss=falling(40))).status == "healthy"
    assert symptoms.under_training(HEALTHY_GAME).status == "unknown"


def test_too_few_steps_and_too_small_ones():
    few = symptoms.under_training(HEALTHY_GAME, steps=29, run="my runs/gan")
    assert few.status == "problem"
    assert few.remedies[0].text().startswith("genzoo train --resume 'my runs/gan' --steps 5000: ")
    assert symptoms.under_training([], steps=29).remedies[0].options == (("train.steps", 5000),)
    assert symptoms.under_training(HEALTHY_GAME, steps=2000, lr=(2e-4, 2e-4)).status == "unknown"
    slow = symptoms.under_training(HEALTHY_GAME, steps=2000, lr=(1e-9, 2e-4))
    assert (slow.status, slow.remedies[0].options) == ("problem", (("train.lr", 2e-4),))


def test_a_diagnosis_counts_causes_not_what_follows():
    verdicts = tuple(
        Verdict("posterior-collapse", "problem", "It collapsed.") if n == "posterior-collapse"
        else Verdict("mode-collapse", "problem", "All alike.", because="posterior-collapse") if n == "mode-collapse"
        else Verdict(n, "healthy", "Fine.")
        for n in NAMES
    )  # fmt: skip
    found = Diagnosis("x", verdicts)
    assert found.problems == ("posterior-collapse",)
    assert not found.healthy
    assert found["mode-collapse"].because == "posterior-collapse"
    assert [v["name"] for v in found.to_dict()["verdicts"]] == list(NAMES)
    with pytest.raises(UsageError, match="did you mean 'memorization'"):
        found["memorisation"]


def test_words():
    assert Fact("critic loss", 0.00012, "trouble below 0.1", True).text() == "critic loss 0.00012 (trouble below 0.1)"
    assert Fact("share", math.nan).text() == "share not finite"
    assert Remedy("so", "vae", (("train.lr", 0.1),)).text() == "genzoo train vae --set train.lr=0.1: so"
    assert Remedy("more data").text() == "more data"
