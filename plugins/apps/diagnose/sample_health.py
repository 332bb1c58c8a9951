"""What samples and codes tell of a model's health: parts of the data left out, copies, codes that say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.data import Data, KnownModes
from genzoo.core.evaluation.evidence import Extractor, as_floats
from genzoo.core.evaluation.report import Report
from genzoo.core.math.neighbours import nearest
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.noise import generator
from genzoo.core.pictures import grids as pictures
from genzoo.plugins.apps.diagnose.verdicts import Fact, Remedy, Verdict, above, below, judged, reaching, unknown
from genzoo.plugins.metrics.copies import memorization as ratios

# Limits. docs/diagnose.md has what healthy models and models that were broken on purpose gave.
RARE = 0.1  # of its share among the data, below which a class (or a mode) is missing
GONE = 0.03  # likewise, below which a class is: blurred samples of an early model are of most classes now and then
LEFT_OUT = 0.35  # share of the data in classes that are gone; less is worth a hint
TRUSTED = 0.8  # accuracy that a classifier of blurred samples needs to be believed
GROUPS, LEFT_OUT_GROUPS = 10, 0.5  # likewise without labels, for clusters of the data's features
ALIKE = 0.12  # variance of the samples' features, as a multiple of the data's
COPY = 0.5  # nearest over second nearest distance that makes a copy; of Fashion-MNIST data 1 in 1,000 is below
JUDGED = 1000  # samples that are held against the training data
COPIES = 0.05  # share of samples that are copies, over that among data that were never seen
NEARER = 0.6  # chance that a sample lies nearer to the training data than data that were never seen
ODDS, SIGMAS = 2.0, 5.0  # of training data among the samples' nearest neighbours, over chance
MOST_POOLED = 20_000  # training observations beyond which that is not asked: it takes long, and nobody copies so many
NATS = 0.5  # KL to the prior of a whole code
IDLE = 0.5  # share of a code's numbers that do not vary, worth a hint
TELLING = {
    "mutual-information": "what codes say of which observation they are of, in nats",
    "swap-cost": "cost of decoding an observation from another one's code, in nats",
}
CODE_METRICS = "active-units,posterior-kl,mutual-information,swap-cost"
SAMPLE_METRICS = "classes,density,coverage,memorization"


@dataclass(frozen=True)
class Looked:
    """What was looked at: samples in data units ``(N, *shape)`` on the CPU, what they are held against, and by what."""

    samples: Tensor
    data: Data
    report: Report
    extractor: Extractor

    def measured(self, **titles: str) -> list[Fact]:
        """Metrics of the samples that were measured, told beside others, and what to call each."""
        named = {k.replace("_", "-"): title for k, title in titles.items()}
        return [Fact(title, self.report[m].value) for m, title in named.items() if m in self.report]


CURES = (
    Remedy("judges every fake against a real one, which forbids dropping modes", "r3gan"),
    Remedy("a distance that sees what is missing", "wgan-gp"),
    Remedy("bounds the critic's slope", options=(("critic.spectral_norm", True),)),
    Remedy("smaller steps", options=(("train.lr", "÷3"),)),
    Remedy("a likelihood forbids leaving data out", "vae"),
)

COLLAPSED = (
    Remedy("the KL costs nothing at first", options=(("objective.kl_warmup", 0.3),)),
    Remedy("what the code may say without cost", options=(("objective.free_bits", 0.1),)),
    Remedy("a smaller weight of the KL", options=(("objective.beta", 1),)),
    Remedy("the weight of the KL is 1", "vae"),
)


def mode_collapse(looked: Looked, limit: int = 2000) -> Verdict:
    """Whether samples leave out parts of the data: classes, modes of a known mixture, or clusters; or are all alike."""
    name, samples, data = "mode-collapse", looked.samples, looked.data
    if data.modes is not None and data.modes.centres:
        return _modes(looked, data.modes)
    real = as_floats(data.take(slice(limit)))
    with torch.no_grad():
        ours, theirs = (_features(looked.extractor, x) for x in (samples[:limit], real))
    spread = _variance(ours) / max(_variance(theirs), 1e-30)
    alike = below("variance of the samples' features, the data's being 1", spread, ALIKE)
    facts, missing, shown, hint = [alike], list[str](), dict[str, Any](), ""
    details = looked.report["classes"].details if "classes" in looked.report else {}
    judge = details.get("accuracy of the classifier", 0.0)
    if judge >= TRUSTED:
        covered, start = "every class", LEFT_OUT
        missing, mass, some = _classes(details)
        facts += [
            reaching(f"share of the data in classes with under {GONE:g} of theirs", mass, start),
            *some,
            Fact("accuracy of the classifier", judge, f"believed from {TRUSTED:g}"),
        ]
        hint = f"Hardly any sample is of {_listed(missing)}." if missing else ""
    else:
        covered, start = "the clusters of the data", LEFT_OUT_GROUPS
        mass, at = _clusters(ours, theirs)
        facts.append(reaching(f"share of the data in those of {GROUPS} clusters that are missing", mass, start))
        shown |= _drawn(data, "missing", real[at[:32]]) if mass else {}
    facts += looked.measured(density="density", coverage="coverage")
    shown |= _drawn(data, "samples", samples[:64])
    shown |= _drawn(data, "missing", *_rows(data, missing)) if missing else {}
    says = "All samples are nearly alike." if alike.wrong else ""
    if mass >= start:
        says = f"Samples leave out {mass:.0%} of the data."
        if missing:
            says = f"{len(missing)} of {data.spec.classes} classes are missing from the samples: {_listed(missing)}."
    kind = of(data.spec)
    if complaint := kind.complaint(data.spec, samples):
        says = says if kind.complaint(data.spec, real) else complaint  # data may be so themselves
    if hint and not says:
        return Verdict(name, "hint", hint, tuple(facts), CURES[:2], missing=tuple(missing), pictures=shown)
    return judged(
        name, says, f"Samples differ, and cover {covered}.", facts, CURES, missing=tuple(missing), pictures=shown
    )


def _classes(details: Mapping[str, Any]) -> tuple[list[str], float, list[Fact]]:
    """Missing classes, the share of the data in those that are gone, and the shares of the rarest ones as facts."""
    data, ours = details["shares of the data"], details["corrected shares"]
    part = {c: round(ours[c] / data[c], 4) for c in data if data[c] > 0}
    missing = [c for c, p in part.items() if p < RARE]
    rarest = sorted(part, key=lambda c: part[c])[: min(max(len(missing), 1), 3)]
    what = "among the samples, as a multiple of its share of the data"
    facts = [below(f"{c} {what}", part[c], RARE, "missing below") for c in rarest]
    return missing, sum(data[c] for c in part if part[c] < GONE), facts


def _modes(looked: Looked, mixture: KnownModes) -> Verdict:
    centres, x = torch.tensor(mixture.centres), looked.samples.flatten(1).float()
    share = torch.bincount(torch.cdist(x, centres).argmin(1), minlength=len(centres)) / len(x)
    gone = (share < RARE / len(centres)).nonzero().flatten().tolist()
    names = [f"({a:.3g}, {b:.3g})" for a, b in (mixture.centres[i] for i in gone)]
    what = f"modes of {len(centres)} with less than {RARE:g} of their share of the samples"
    facts = [reaching(what, len(gone), 1)]
    facts += looked.measured(
        modes="modes with 20 good samples", high_quality="share of good samples", mode_kl="KL from evenness"
    )
    shown = {"samples": pictures.scatter(x, as_floats(looked.data.take(slice(2000))).flatten(1))}
    says = f"{len(gone)} of {len(centres)} modes are missing: those at {_listed(names)}." if gone else ""
    cures = (*CURES[:2], CURES[3])
    return judged(
        "mode-collapse", says, "Samples reach every mode.", facts, cures, missing=tuple(names), pictures=shown
    )


def memorization(looked: Looked, training: Data) -> Verdict:
    """Whether samples are copies of training observations, which data that were never seen are not.

    Three tests, since copies may be exact or blurred, and of all training data or of a few: samples much nearer to
    one training observation than to the next (T. Yoon et al., 2023); samples nearer to the training data than unseen
    data are (C. Meehan et al., arXiv:2004.05675); and, among those observations that are some sample's nearest, more
    training data than chance would bring, were training and unseen data exchangeable.
    """
    name = "memorization"
    if name not in looked.report:
        return unknown(name, looked.report.why_not(name) or "it does not fit this data")
    result = looked.report[name]
    usual, nearer = result.details["share among the data"], result.details["nearer than the data"]
    known, told = as_floats(training).flatten(1), "the model has not seen"
    if usual is None and len(known) > 3:  # one part of the training data against the rest
        part = min(JUDGED, len(known) // 2)
        usual = ratios(known[:part], known[part:], limit=COPY).copies.value
        told = "are part of the training data, against the rest"
    limit = COPIES + (usual or 0.0)
    low = result.interval.low if result.interval.low is not None else result.value
    copies = result.value > limit and low > (usual or 0.0)
    facts = [Fact("share of samples that are copies", result.value, f"trouble above {limit:.3g}", copies)]
    if usual is not None:
        facts.append(Fact(f"the same share among data that {told}", usual))
    if of(looked.data.spec).pixels:
        x, apart, few = looked.samples[:JUDGED].flatten(1), looked.data.split != "train", len(known) <= MOST_POOLED
        if nearer is None and few:
            nearer = _nearer(x, known)
        if nearer is not None:
            than = "unseen data do" if apart else "the training data lie to each other"
            facts.append(above(f"chance that a sample lies nearer to the training data than {than}", nearer, NEARER))
        if apart and few:
            odds, sigmas, n = _pooled(x, known, as_floats(looked.data).flatten(1))
            what = f"odds that one of the {n} nearest neighbours of samples is training data, over chance"
            words = f"trouble above {ODDS:g} and {SIGMAS:g} σ, and this is {sigmas:.1f} σ"
            facts.append(Fact(what, odds, words, odds > ODDS and sigmas > SIGMAS))
    says = ""
    if any(fact.wrong for fact in facts):
        says = "Samples lie nearer to the training data than they could if they were new: they repeat it."
    if copies:
        says = f"{result.value:.0%} of the samples are copies of training observations."
    facts.append(Fact("training observations", result.details["training observations"]))
    shown = {k: pictures.grid(x, len(x) // 2) for k, x in result.pictures.items()}
    remedies = (
        Remedy("more data: nothing helps as much"),
        Remedy("fewer passes over the data", options=(("train.epochs", "÷3"), ("train.steps", "÷3"))),
        Remedy("leaves out units", options=(("generator.dropout", 0.1),)),
        Remedy("a smaller network", options=(("generator.width", "÷2"),)),
        Remedy("a critic with penalties learns the training set less by heart", "r3gan"),
    )
    return judged(name, says, "Samples are no copies of training data.", facts, remedies, pictures=shown)


def _nearer(x: Tensor, training: Tensor) -> float:
    """Chance that a sample lies nearer to the training data than one of these does to the others."""
    ours = nearest(x, training)[0][:, 0].contiguous()
    theirs = nearest(training, training, itself=True)[0][:, 0].sort().values
    return 1 - torch.searchsorted(theirs, ours).double().mean().item() / len(theirs)


def _pooled(x: Tensor, training: Tensor, unseen: Tensor) -> tuple[float, float, int]:
    """Odds of training data among the nearest neighbours of samples over chance, in how many σ, of how many.

    Each neighbour counts once, however many samples are near it. Were the model to know no more of the training data
    than of the unseen, which of them is a neighbour would be chance, also of blurred samples and of few modes.
    """
    found = torch.unique(nearest(x, torch.cat([training, unseen]))[1][:, 0])
    n, chance = len(found), len(training) / (len(training) + len(unseen))
    known = int((found < len(training)).sum())
    odds = ((known + 0.5) / (n - known + 0.5)) / (chance / (1 - chance))
    return odds, (known / n - chance) / (chance * (1 - chance) / n) ** 0.5, n


def posterior_collapse(report: Report, model: Model, data: Data) -> Verdict:
    """Whether codes say anything of what they encode."""
    name = "posterior-collapse"
    if model.encoder is None:
        return Verdict(name, "healthy", "The model has no encoder whose code could be ignored.")
    if "active-units" not in report:
        return unknown(name, report.why_not("active-units") or "codes were not measured")
    details = report["active-units"].details
    active, of = report["active-units"].value, details["of"]
    facts = [
        Fact(f"numbers of the code's {of} that vary over the data by over 0.01", active, "trouble at 0", active == 0)
    ]
    if "kl" in details:  # of points there is none
        nats = report["posterior-kl"].value if "posterior-kl" in report else details["kl"]
        idle, most = details["idle"], max(details.get("kl per dimension", [details["kl"]]))
        facts += [
            below("KL of the whole code to the prior, in nats", nats, NATS),
            Fact("KL of the most telling number, in nats", most),
            Fact(f"numbers of {of} that are the prior for nearly all data", idle, f"trouble at {of}", idle == of),
        ]
    # Numbers may vary, and be far from the prior, and still not say which observation they are of.
    for metric, title in TELLING.items():
        facts += [below(title, report[metric].value, NATS)] if metric in report else []
    if any(fact.wrong for fact in facts):
        says = "The posterior collapsed: codes say next to nothing of the data, and the decoder ignores them."
        if not (details["collapsed"] or facts[0].wrong or ("kl" in details and nats < NATS)):
            says = "The posterior collapsed: codes vary, and the decoder makes the same of another observation's code."
        return Verdict(name, "problem", says, tuple(facts), COLLAPSED, pictures=_again(model, data))
    if active < IDLE * of:
        smaller = Remedy("a code without the idle ones", options=(("latent.size", int(max(active, 1))),))
        says = f"{of - active:.0f} of {of} numbers of the code carry nothing."
        return Verdict(name, "hint", says, tuple(facts), (*COLLAPSED[:2], smaller))
    return Verdict(name, "healthy", "The code says something of the data.", tuple(facts))


def _again(model: Model, data: Data) -> dict[str, Any]:
    """Observations above what the model makes of them."""
    if not of(data.spec).renders or (model.classes and data.y is None):
        return {}
    some = data.take(slice(8))
    x = as_floats(some)
    again = model.reconstruct(x, **some.told(model), numbers=True).cpu()
    return _drawn(data, "reconstructions", torch.cat([x, again]))


def _drawn(data: Data, name: str, x: Tensor, columns: int = 8) -> dict[str, Any]:
    """A picture by its name, of observations that are looked at one by one."""
    small = of(data.spec).render(data.spec, x)
    return {} if small is None else {name: pictures.grid(small, columns)}


def _features(extractor: Extractor, x: Tensor) -> Tensor:
    parts = [extractor.extract(part).features.flatten(1).float().cpu() for part in torch.split(x, 256)]
    return torch.cat(parts)


def _variance(x: Tensor) -> float:
    return x.double().var(0).sum().item()


def _clusters(ours: Tensor, theirs: Tensor) -> tuple[float, list[int]]:
    """Share of the data in clusters that hold less than `RARE` of it in samples, and which observations those are.

    Bins of the data's own density, as in E. Richardson and Y. Weiss, arXiv:1805.12462.
    """
    centres = kmeans(theirs, min(GROUPS, len(theirs)))
    home = torch.cdist(theirs, centres).argmin(1)
    data = torch.bincount(home, minlength=len(centres)) / len(theirs)
    made = torch.bincount(torch.cdist(ours, centres).argmin(1), minlength=len(centres)) / len(ours)
    missing = made < RARE * data
    return float(data[missing].sum()), missing[home].nonzero().flatten().tolist()


def kmeans(x: Tensor, k: int, *, seed: int = 0, rounds: int = 30) -> Tensor:
    """Centres ``(K, D)`` of clusters of ``(N, D)``, by Lloyd's rounds from D. Arthur and S. Vassilvitskii's start."""
    g = generator(seed)
    centres = x[torch.randint(len(x), (1,), generator=g)]
    for _ in range(k - 1):
        far = torch.cdist(x, centres).min(1).values.square()
        if not far.sum() > 0:  # fewer different points than clusters
            break
        centres = torch.cat([centres, x[torch.multinomial(far, 1, generator=g)]])
    for _ in range(rounds):
        home = torch.cdist(x, centres).argmin(1)
        count = torch.bincount(home, minlength=len(centres)).clamp(min=1)[:, None]
        centres = torch.zeros_like(centres).index_add_(0, home, x) / count
    return centres


def _rows(data: Data, classes: list[str], columns: int = 8, most: int = 10) -> tuple[Tensor, int]:
    """Observations of classes, one class in each row, and how many there are in one."""
    names = data.spec.classes_called
    assert data.y is not None
    rows = []
    for name in classes[:most]:
        at = (data.y == names.index(name)).nonzero().flatten()[:columns].tolist()
        if len(at) == columns:
            rows.append(as_floats(data.take(at)))
    return (torch.cat(rows), columns) if rows else (as_floats(data.take([0])), 1)


def _listed(words: list[str], most: int = 12) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
