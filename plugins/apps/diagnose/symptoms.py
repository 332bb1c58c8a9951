"""What the curves of a run tell of its health: every limit, and where it comes from, stands here. Torch-free.

The limits lie well between what healthy runs and runs that were broken on purpose gave (docs/diagnose.md has both).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from genzoo.core.config import FEW_STEPS, LEAST_STEPS, MANY_STEPS
from genzoo.plugins.apps.diagnose.verdicts import Fact, Remedy, Verdict, above, below, judged, unknown

Records = Sequence[Mapping[str, float]]
LEAST = 4  # records that a trend needs
SATURATED = 0.05  # a critic's loss, in nats: healthy ones were at .3 to 1.4, those that always win below .03
APART = 4.0  # logits between real and fake scores, of a critic that always wins
VANISHED = 1e-3  # a gradient norm at the end, as a multiple of its first ones
EXPLODED = 100.0  # likewise
BLOWN_UP = 100.0  # a loss at the end, likewise
OVERFITTED = 0.15  # how far a held-out loss has risen again, as a share of how far it fell
SLOW = 1 / 30  # a learning rate, as a multiple of the recipe's own, with which little is learned
FALLING = 0.1  # share of a loss's whole fall that the last quarter of a run still brought
CLIP = Remedy("no step is longer than this", options=(("train.clip", 1),))
UNSURE = Remedy("its gradient stays where the critic is sure", options=(("objective.loss", "non-saturating"),))
HELD_OUT, GRAD, LOSS = "held-out loss", "grad", "loss"


def column(records: Records, name: str) -> list[float]:
    """A column of the log, from the records that have it."""
    return [r[name] for r in records if name in r]


def players(records: Records) -> list[str]:
    """Prefixes of the players' columns: ``["critic/", "generator/"]``, or ``[""]`` of a single player."""
    names = dict.fromkeys(k for r in records for k in r)
    return [k.removesuffix(LOSS) for k in names if k == LOSS or k.endswith(f"/{LOSS}")]


def early(values: Sequence[float]) -> float:
    """Median of the first quarter."""
    return median(values[: max(len(values) // 4, 1)])


def late(values: Sequence[float]) -> float:
    """Median of the last quarter."""
    return median(values[-max(len(values) // 4, 1) :])


def divergence(records: Records, *, broke_down: bool = False) -> Verdict:
    """Whether losses were finite, and ended where they can have been meant to."""
    name, remedies = "divergence", (Remedy("smaller steps", options=(("train.lr", "÷10"),)), CLIP)
    if not records:
        return unknown(name, "nothing was logged")
    bad = sorted({k for r in records for k, v in r.items() if not math.isfinite(v)})
    facts = [Fact(f"{k} at its end", column(records, k)[-1], "must be finite", True) for k in bad]
    if bad:
        first = next(r["step"] for r in records if any(not math.isfinite(v) for v in r.values()))
        says = f"Training broke down at step {first:,.0f}: {bad[0]} is not finite."
        return Verdict(name, "problem", says, tuple(facts), remedies)
    wrong = ""
    for player in players(records):
        values = column(records, f"{player}{LOSS}")
        if len(values) < LEAST:
            continue
        start, end = early(values), late(values)
        blown = abs(end) > BLOWN_UP * max(abs(start), 1.0)
        limit = f"it began at {start:.4g}; trouble beyond {BLOWN_UP:g} times that"
        facts.append(Fact(f"{player}loss at the end", end, limit, blown))
        if blown:
            wrong = f"The loss of the {_who(player)} ran away: from {start:.4g} to {end:.4g}."
        if player == "" and end > values[0] + 0.1 * abs(values[0]) + 1:
            wrong = f"The loss rose where it should fall: from {values[0]:.4g} to {end:.4g}."
            facts.append(Fact("loss", end, f"trouble above {values[0]:.4g}, its first", True))
    if broke_down and not wrong:
        facts.append(Fact("last step that was logged", records[-1]["step"]))
        says = "The run did not come to its end; its losses were finite as far as it came."
        return Verdict(name, "hint", says, tuple(facts))
    if not facts:
        return unknown(name, f"the log has fewer than {LEAST} records")
    return judged(name, wrong, "All losses are finite and stay in bounds.", facts, remedies)


def gradients(records: Records) -> tuple[Verdict, Verdict]:
    """Whether gradient norms explode, and whether they vanish."""
    found = {p: v for p in players(records) if len(v := column(records, f"{p}{GRAD}")) >= LEAST}
    names = ("exploding-gradients", "vanishing-gradients")
    if not found:
        why = f"the log holds no gradient norms, or fewer than {LEAST}"
        return unknown(names[0], why), unknown(names[1], why)
    explode, vanish = dict[str, Fact](), dict[str, Fact]()
    for player, values in found.items():
        start, end, who = early(values), late(values), _who(player)
        what, about = f"gradient norm of the {who} at the end", f"it began at {start:.3g}; trouble"
        up = not math.isfinite(end) or end > EXPLODED * max(start, 1e-12)
        down = end < VANISHED * start or end < 1e-12
        explode[who] = Fact(what, end, f"{about} above {EXPLODED:g} times that", up)
        vanish[who] = Fact(what, end, f"{about} below {VANISHED:g} of that", down)
    slower = Remedy("smaller steps", options=(("train.lr", "÷3"),))
    steady = Remedy("a critic whose gradient keeps its size", "wgan-gp")
    return (
        _norms(names[0], "explode", "No gradient norm explodes.", explode, (CLIP, slower)),
        _norms(names[1], "vanish", "No gradient norm vanishes.", vanish, (UNSURE, steady)),
    )


def _norms(name: str, verb: str, healthy: str, facts: Mapping[str, Fact], remedies: Sequence[Remedy]) -> Verdict:
    who = ", ".join(player for player, fact in facts.items() if fact.wrong)
    wrong = f"Gradient norms {verb}: {who}." if who else ""
    return judged(name, wrong, healthy, facts.values(), remedies)


def saturated_critic(records: Records) -> Verdict:
    """Whether a critic tells real from fake so surely that its generator learns nothing more."""
    name = "saturated-critic"
    judges = [p for p in players(records) if column(records, f"{p}real") and column(records, f"{p}fake")]
    if not judges:
        return Verdict(name, "healthy", "No critic is trained, so none can win.")
    facts: list[Fact] = []
    wrong = ""
    for judge in judges:
        game = column(records, f"{judge}adversarial") or column(records, f"{judge}{LOSS}")
        if len(game) < LEAST:
            return unknown(name, f"the log has fewer than {LEAST} records")
        over = late(column(records, f"{judge}real")) - late(column(records, f"{judge}fake"))
        if min(game) < 0:  # a Wasserstein critic's estimate: it has no bound that it could reach
            facts.append(Fact(f"scores of {_who(judge)}: real over fake", over))
            continue
        sure = below(f"loss of the {_who(judge)}", late(game), SATURATED)
        apart = above(f"score of real over fake, of the {_who(judge)}", over, APART)
        facts += [sure, apart]
        if sure.wrong and apart.wrong:
            wrong = (
                "The critic tells real from fake without fail, so the generator gets hardly any signal to learn from."
            )
    for player in players(records):
        values = column(records, f"{player}{GRAD}")
        if player not in judges and values:
            facts.append(Fact(f"gradient norm of the {_who(player)}", late(values), f"it began at {values[0]:.3g}"))
    remedies = (
        UNSURE,
        Remedy("bounds the critic's slope", options=(("critic.spectral_norm", True),)),
        Remedy("fewer turns for the critic", options=(("objective.critic_steps", 1),)),
        Remedy("no faster than the generator", options=(("objective.critic_lr", "none"),)),
        Remedy("a penalty on the critic's slope; its loss has no bound to reach", "wgan-gp"),
        Remedy("a paired loss with two penalties", "r3gan"),
    )
    return judged(name, wrong, "The critic leaves its generator something to learn from.", facts, remedies)


def overfitting(records: Records, *, best_kept: bool = False) -> Verdict:
    """Whether the held-out loss has risen from its best; not that of a model that was put back to it, ``best_kept``."""
    name, values = "overfitting", column(records, HELD_OUT)
    if not values:
        return unknown(name, "no data was held out: train with --set train.validation=0.05")
    if len(values) < 3:
        return unknown(name, f"the held-out loss was taken {len(values)} times, and a trend needs 3")
    best, fell = min(values), max(values[0] - min(values), 1e-3 * abs(min(values)))
    end = median(values[-2:]) if len(values) > 3 else values[-1]
    at = next(r["step"] for r in records if r.get(HELD_OUT) == best)
    late = max((end - best) / fell, 0.0)
    risen = above("risen again, as a share of its fall", 0.0 if best_kept else late, OVERFITTED)
    facts = (Fact("held-out loss at the end", end), Fact("its best", best, f"at step {at:,.0f}"), risen)
    remedies = (
        Remedy(f"the best model so far is in the run's folder 'best' (step {at:,.0f}): use that one"),
        Remedy("stop there", options=(("train.steps", int(at)),)),
        Remedy("leaves out units", options=(("generator.dropout", 0.1), ("encoder.dropout", 0.1))),
        Remedy("decay of the weights", options=(("train.optimizer", "adamw"), ("train.weight_decay", 0.01))),
    )
    wrong = f"The held-out loss rises since step {at:,.0f}." if risen.wrong else ""
    healthy = "The held-out loss has not risen."
    if best_kept and late > OVERFITTED:
        healthy = f"The held-out loss rose after step {at:,.0f}, whose weights were kept."
    return judged(name, wrong, healthy, facts, remedies)


def under_training(
    records: Records, *, steps: int = 0, of: int = 0, lr: tuple[Any, Any] = (None, None), run: str = ""
) -> Verdict:
    """Whether training was too short, its steps too small, or the loss was still falling fast when it ended.

    ``steps`` were made ``of`` some, 0 where that is not known; ``lr`` is the run's learning rate and the recipe's own;
    ``run`` is a folder to go on in.
    """
    name = "under-training"
    few = below("steps of training", steps, FEW_STEPS)
    if 0 < steps < FEW_STEPS:
        says = f"Training was {steps:,} step{'s' * (steps > 1)}, too few to learn from: most data want thousands."
        return Verdict(name, "problem", says, (few,), (_longer(max(of, MANY_STEPS), run),))
    if all(isinstance(v, (int, float)) and v > 0 for v in lr) and lr[0] < SLOW * lr[1]:
        slow = below("learning rate, as a multiple of the recipe's own", lr[0] / lr[1], SLOW)
        says = f"The learning rate is {lr[0]:g}, so small that hardly anything is learned; the recipe's is {lr[1]:g}."
        own = Remedy("the recipe's own learning rate", options=(("train.lr", lr[1]),))
        return Verdict(name, "problem", says, (slow,), (own,))
    values = column(records, HELD_OUT) or (column(records, LOSS) if players(records) == [""] else [])
    if not values and 0 < steps < LEAST_STEPS // 2:
        few = Fact("steps of training", steps, f"few below {LEAST_STEPS // 2:,}")
        says = "Training was short: what samples lack may come with more steps."
        return Verdict(name, "hint", says, (few,), (_longer(MANY_STEPS, run),))
    if not values:
        why = "the losses of a game do not say how good its generator is" if records else "nothing was logged"
        return unknown(name, why)
    if len(values) < LEAST:
        return unknown(name, f"the log has fewer than {LEAST} records of it")
    if not all(map(math.isfinite, values)):
        return unknown(name, "the loss is not finite")
    whole, lately = values[0] - min(values), values[-1 - max(len(values) // 4, 1)] - values[-1]
    share = max(lately / whole, 0.0) if whole > 0 else 0.0
    fact = above("share of the loss's fall in the last quarter", share, FALLING, "still falling above")
    if not fact.wrong:
        return Verdict(name, "healthy", "The loss has levelled off.", (fact,))
    says = "The loss was still falling: longer training would make it better."
    return Verdict(name, "hint", says, (fact,), (_longer(2 * (steps or int(records[-1]["step"])), run),))


def _longer(steps: int, run: str) -> Remedy:
    if run:
        return Remedy(
            "goes on from where it ended", command=f"genzoo train --resume {shlex.quote(run)} --steps {steps}"
        )
    return Remedy("longer", options=(("train.steps", steps),))


def _who(player: str) -> str:
    return player.removesuffix("/") or "model"
