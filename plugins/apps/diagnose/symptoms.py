"""What the curves of a run tell of its health: every limit, and where it comes from, stands here. Torch-free.

The limits lie well between what healthy runs and runs that were broken on purpose gave (docs/diagnose.md has both).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from genzoo.plugins.apps.diagnose.verdicts import Fact, Remedy, Verdict

Records = Sequence[Mapping[str, float]]
LEAST = 4  # records that a trend needs
SATURATED = 0.05  # a critic's loss, in nats: healthy ones were at .3 to 1.4, those that always win below .03
APART = 4.0  # logits between real and fake scores, of a critic that always wins
VANISHED = 1e-3  # a gradient norm at the end, as a multiple of its first ones
EXPLODED = 100.0  # likewise
BLOWN_UP = 100.0  # a loss at the end, likewise
OVERFITTED = 0.15  # how far a held-out loss has risen again, as a share of how far it fell
FALLING = 0.1  # share of a loss's whole fall that the last quarter of a run still brought
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
    name = "divergence"
    if not records:
        return _unknown(name, "nothing was logged")
    bad = sorted({k for r in records for k, v in r.items() if not math.isfinite(v)})
    remedies = (
        Remedy("smaller steps", options=(("train.lr", "÷10"),)),
        Remedy("no step is longer than this", options=(("train.clip", 1),)),
    )
    if bad:
        first = next(r["step"] for r in records if any(not math.isfinite(v) for v in r.values()))
        facts = tuple(Fact(f"{k} at its end", column(records, k)[-1], "must be finite", True) for k in bad)
        says = f"Training broke down at step {first:,.0f}: {bad[0]} is not finite."
        return Verdict(name, "problem", says, facts, remedies)
    facts_, wrong = [], ""
    for player in players(records):
        values = column(records, f"{player}{LOSS}")
        if len(values) < LEAST:
            continue
        scale, end = max(abs(early(values)), 1.0), late(values)
        blown = abs(end) > BLOWN_UP * scale
        limit = f"it began at {early(values):.4g}; trouble beyond {BLOWN_UP:g} times that"
        facts_.append(Fact(f"{player}loss at the end", end, limit, blown))
        if blown:
            wrong = f"The loss of the {_who(player)} ran away: from {early(values):.4g} to {end:.4g}."
        if player == "" and end > values[0] + 0.1 * abs(values[0]) + 1:
            wrong = f"The loss rose where it should fall: from {values[0]:.4g} to {end:.4g}."
            facts_.append(Fact("loss", end, f"trouble above {values[0]:.4g}, its first", True))
    if broke_down and not wrong:
        facts_.append(Fact("last step that was logged", records[-1]["step"]))
        says = "The run did not come to its end; its losses were finite as far as it came."
        return Verdict(name, "hint", says, tuple(facts_))
    if wrong:
        return Verdict(name, "problem", wrong, tuple(facts_), remedies)
    if not facts_:
        return _unknown(name, f"the log has fewer than {LEAST} records")
    return Verdict(name, "healthy", "All losses are finite and stay in bounds.", tuple(facts_))


def gradients(records: Records) -> tuple[Verdict, Verdict]:
    """Whether gradient norms explode, and whether they vanish."""
    found = {p: column(records, f"{p}{GRAD}") for p in players(records)}
    found = {p: v for p, v in found.items() if len(v) >= LEAST}
    names = ("exploding-gradients", "vanishing-gradients")
    if not found:
        why = f"the log holds no gradient norms, or fewer than {LEAST}"
        return _unknown(names[0], why), _unknown(names[1], why)
    explode, vanish = [], []
    for player, values in found.items():
        start, end, what = early(values), late(values), f"gradient norm of the {_who(player)} at the end"
        up = not math.isfinite(end) or end > EXPLODED * max(start, 1e-12)
        down = end < VANISHED * start or end < 1e-12
        about = f"it began at {start:.3g}"
        explode.append(Fact(what, end, f"{about}; trouble above {EXPLODED:g} times that", up))
        vanish.append(Fact(what, end, f"{about}; trouble below {VANISHED:g} of that", down))
    clip = Remedy("no step is longer than this", options=(("train.clip", 1),))
    slower = Remedy("smaller steps", options=(("train.lr", "÷3"),))
    steady = (UNSURE, Remedy("a critic whose gradient keeps its size", "wgan-gp"))
    return (
        _of_facts(names[0], explode, "Gradient norms explode", "No gradient norm explodes.", (clip, slower)),
        _of_facts(names[1], vanish, "Gradient norms vanish", "No gradient norm vanishes.", steady),
    )


def saturated_critic(records: Records) -> Verdict:
    """Whether a critic tells real from fake so surely that its generator learns nothing more."""
    name = "saturated-critic"
    judges = [p for p in players(records) if column(records, f"{p}real") and column(records, f"{p}fake")]
    if not judges:
        return Verdict(name, "healthy", "No critic is trained, so none can win.")
    facts: list[Fact] = []
    wrong = False
    for judge in judges:
        game = column(records, f"{judge}adversarial") or column(records, f"{judge}{LOSS}")
        if len(game) < LEAST:
            return _unknown(name, f"the log has fewer than {LEAST} records")
        real, fake = late(column(records, f"{judge}real")), late(column(records, f"{judge}fake"))
        if min(game) < 0:  # a Wasserstein critic's estimate: it has no bound that it could reach
            facts.append(Fact(f"scores of {_who(judge)}: real over fake", real - fake))
            continue
        sure = late(game) < SATURATED
        apart = real - fake > APART
        facts += [
            Fact(f"loss of the {_who(judge)}", late(game), f"trouble below {SATURATED:g}", sure),
            Fact(f"score of real over fake, of the {_who(judge)}", real - fake, f"trouble above {APART:g}", apart),
        ]
        wrong |= sure and apart
    for player in players(records):
        values = column(records, f"{player}{GRAD}")
        if player not in judges and values:
            facts.append(Fact(f"gradient norm of the {_who(player)}", late(values), f"it began at {values[0]:.3g}"))
    if not wrong:
        return Verdict(name, "healthy", "The critic leaves its generator something to learn from.", tuple(facts))
    remedies = (
        UNSURE,
        Remedy("bounds the critic's slope", options=(("critic.spectral_norm", True),)),
        Remedy("fewer turns for the critic", options=(("objective.critic_steps", 1),)),
        Remedy("no faster than the generator", options=(("objective.critic_lr", "none"),)),
        Remedy("a penalty on the critic's slope; its loss has no bound to reach", "wgan-gp"),
        Remedy("a paired loss with two penalties", "r3gan"),
    )
    says = "The critic tells real from fake without fail, so the generator gets hardly any signal to learn from."
    return Verdict(name, "problem", says, tuple(facts), remedies)


def overfitting(records: Records) -> Verdict:
    """Whether the held-out loss has risen from its best."""
    name, values = "overfitting", column(records, HELD_OUT)
    if not values:
        return _unknown(name, "no data was held out: train with --set train.validation=0.05")
    if len(values) < 3:
        return _unknown(name, f"the held-out loss was taken {len(values)} times, and a trend needs 3")
    best, fell = min(values), max(values[0] - min(values), 1e-3 * abs(min(values)))
    end = median(values[-2:]) if len(values) > 3 else values[-1]
    risen = (end - best) / fell
    rises = risen > OVERFITTED
    at = next(r["step"] for r in records if r.get(HELD_OUT) == best)
    facts = (
        Fact("held-out loss at the end", end),
        Fact("its best", best, f"at step {at:,.0f}"),
        Fact(
            "risen again, as a share of its fall", max(risen, 0.0), f"trouble above {OVERFITTED:g}", risen > OVERFITTED
        ),
    )
    if not rises:
        return Verdict(name, "healthy", "The held-out loss has not risen.", facts)
    remedies = (
        Remedy(f"the best model so far is in the run's folder 'best' (step {at:,.0f}): use that one"),
        Remedy("stop there", options=(("train.steps", int(at)),)),
        Remedy("leaves out units", options=(("generator.dropout", 0.1), ("encoder.dropout", 0.1))),
        Remedy("decay of the weights", options=(("train.optimizer", "adamw"), ("train.weight_decay", 0.01))),
    )
    return Verdict(name, "problem", f"The held-out loss rises since step {at:,.0f}.", facts, remedies)


def under_training(records: Records) -> Verdict:
    """Whether the loss was still falling fast when training ended; a game's losses do not tell."""
    name = "under-training"
    values = column(records, HELD_OUT) or (column(records, LOSS) if players(records) == [""] else [])
    if not values:
        why = "the losses of a game do not say how good its generator is" if records else "nothing was logged"
        return _unknown(name, why)
    if len(values) < LEAST:
        return _unknown(name, f"the log has fewer than {LEAST} records of it")
    quarter = max(len(values) // 4, 1)
    whole, lately = values[0] - min(values), values[-1 - quarter] - values[-1]
    share = lately / whole if whole > 0 else 0.0
    what = "share of the loss's fall in the last quarter"
    fact = Fact(what, max(share, 0.0), f"still falling above {FALLING:g}", share > FALLING)
    if share <= FALLING:
        return Verdict(name, "healthy", "The loss has levelled off.", (fact,))
    return Verdict(
        name,
        "hint",
        "The loss was still falling: longer training would make it better.",
        (fact,),
        (Remedy("twice as long: --resume cannot change the length, so start again"),),
    )


def _of_facts(name: str, facts: list[Fact], wrong: str, right: str, remedies: tuple[Remedy, ...]) -> Verdict:
    bad = [f for f in facts if f.wrong]
    if not bad:
        return Verdict(name, "healthy", right, tuple(facts))
    who = ", ".join(f.what.removeprefix("gradient norm of the ").removesuffix(" at the end") for f in bad)
    return Verdict(name, "problem", f"{wrong}: {who}.", tuple(facts), remedies)


def _unknown(name: str, why: str) -> Verdict:
    return Verdict(name, "unknown", f"Not checked: {why}.")


def _who(player: str) -> str:
    return player.removesuffix("/") or "model"
