"""Checks of recipes: what is trained, saved, loaded and sampled, on every modality, with labels and without."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.hardware import Hardware
from genzoo.core.likelihood import Implicit
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.storage.files import update_folder
from genzoo.core.storage.load_model import load_model
from genzoo.core.storage.weights import model_files
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Setting, attempt, gap, said, seeded, shape_text, small_data
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.registry.recipes.compose import compose, resolver, with_steps

STEPS, BATCH = 2, 8


def compositions(case: Case) -> Iterator[tuple[Setting, Config]]:
    """The recipe on every modality that it is for, with labels and without."""
    for kind in cases.kinds(case.entry):
        modality = kind.name
        spec, made, refused = kind.examples(CLASSES)[0], 0, ""
        for conditional in (False, True):
            setting = Setting(spec, CLASSES if conditional else 0)
            try:
                config = compose(case.registry, spec, case.entry.address, {"conditional": conditional})
                with seeded():
                    build(config, resolver(case.registry, config))
            except UsageError as e:
                refused = str(e)
                continue
            made += 1
            yield setting, with_steps(config, steps=STEPS, epochs=None, batch_size=BATCH)
        if not made:
            raise Fault(
                f"to be built for {modality} data",
                f"a refusal: {refused}",
                f"name parts that work there in presets={{{modality!r}: …}}, or give modalities=(…)",
                modality,
            )


def trained(case: Case, config: Config, precision: str = "float32") -> Trainer:
    """A run of two steps."""
    with seeded(3):
        objective, nets = build(config, resolver(case.registry, config))
    run = Trainer(
        objective, nets, small_data(config.data), config.train, seed=0, hardware=Hardware(precision=precision)
    )
    run.train()
    return run


@lru_cache(maxsize=4)
def _run(case_key: tuple[int, str], setting: Setting, case: Case) -> Trainer:
    config = dict(compositions(case))[setting]
    run: Trainer = attempt(lambda: trained(case, config), setting, "training")
    run.model.eval()
    return run


def runs(case: Case) -> Iterator[tuple[Setting, Config, Trainer]]:
    """Every composition with a short run of it, kept for the next check."""
    for setting, config in compositions(case):
        yield setting, config, _run((id(case.registry), case.entry.address), setting, case)


def trains(case: Case) -> None:
    """Two steps of training give finite losses and move every player's parameters."""
    for setting, config, run in runs(case):
        with seeded(3):
            _, fresh = build(config, resolver(case.registry, config))
        for record in run.history:
            bad = [k for k, v in record.items() if v != v or abs(v) == float("inf")]
            if bad:
                raise Fault(
                    "finite losses", f"{bad[0]} = {record[bad[0]]}", "lower train.lr, or mend the loss", str(setting)
                )
        start = dict(fresh.named_parameters())
        for playing in run.player_states:
            names = [n for n, p in run.nets.named_parameters() if any(p is q for q in playing.parameters)]
            now = dict(run.nets.named_parameters())
            if names and all(torch.equal(now[n], start[n]) for n in names):
                raise Fault(f"player {playing.player.name!r} to move its parameters", "none moved",
                            "look at the learning rate and the loss", str(setting))  # fmt: skip


def samples(case: Case) -> None:
    """Samples have the data's shape and range, and a seed decides each, whatever the batch size."""
    for setting, _, run in runs(case):
        model, spec = run.model, setting.spec
        x = attempt(lambda m=model: m.sample(70, seed=1), setting, "sample")  # type: ignore[misc]
        if tuple(x.shape) != (70, *spec.shape) or not torch.isfinite(x).all():
            raise Fault(f"finite samples of shape {shape_text((70, *spec.shape))}", shape_text(x.shape),
                        "look at the generator's output and the likelihood's mean", str(setting))  # fmt: skip
        low, high = of(spec).bounds or (-float("inf"), float("inf"))
        if float(x.min()) < low or float(x.max()) > high:
            raise Fault(f"numbers in [{low:g}, {high:g}]", f"numbers in [{float(x.min()):.2g}, {float(x.max()):.2g}]",
                        "let the likelihood's mean stay in the range of model space", str(setting))  # fmt: skip
        for other, what in (
            (model.sample(70, seed=1, batch_size=64), "another batch size"),
            (model.sample(9, seed=1), "fewer"),
        ):
            if gap(x[: len(other)], other) > 1e-3:
                raise Fault("a sample that depends on its seed and number only", f"another one with {what}",
                            "mix no observations in eval mode", str(setting))  # fmt: skip
        if gap(x, model.sample(70, seed=2)) < 1e-6:
            raise Fault("other samples for another seed", "the same", "use the codes in the generator", str(setting))


def scored(case: Case) -> None:
    """Its own samples, noise included, have a finite bound under the model that made them."""
    tried = False
    for setting, _, run in runs(case):
        model = run.model
        likelihood, encodes = model.likelihood, model.exact or model.encoder is not None
        if isinstance(likelihood, Implicit) or not encodes or not likelihood.normalized:
            continue
        tried = True
        x, y = next(model.sample_batches(8, noise=True))
        found = attempt(lambda m=model, x=x, y=y: m.log_likelihood(x, y, samples=2), setting, "log_likelihood")  # type: ignore[misc]
        if not torch.isfinite(found.values).all():
            mend = "let prior and posterior agree on what codes are, and the likelihood on what data are"
            raise Fault("a finite bound for every sample", f"{found.values.tolist()}", mend, str(setting))
    if not tried:
        raise Skip("it has no likelihood to score samples with")


def condition(case: Case) -> None:
    """Told another label, it makes another sample."""
    tried = False
    for setting, _, run in runs(case):
        if setting.classes:
            tried = True
            a, b = (run.model.sample(8, labels=k) for k in (0, 1))
            if gap(a, b) < 1e-7:
                raise Fault("other samples for another label", "the same", "use y in the generator", str(setting))
    if not tried:
        raise Skip("it takes no labels")


def round_trip(case: Case) -> None:
    """Written to a weights folder and loaded, it samples and encodes what it did, bit for bit."""
    for setting, config, run in runs(case):
        mend = "keep all that the networks need in parameters and buffers"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights"
            path.mkdir()
            try:
                update_folder(path, model_files(run.model))
                loaded: Model = load_model(path, resolver(case.registry, config))
            except GenzooError as e:
                raise Fault("weights that load", said(e), mend, str(setting)) from e
            if gap(run.model.sample(8, seed=4), loaded.sample(8, seed=4)) > 1e-6:
                raise Fault("the same samples after saving and loading", "others", mend, str(setting))
            if loaded.encoder is not None:
                x = small_data(setting.spec)
                y = x.y if setting.classes else None
                if gap(run.model.encode(x.x, y), loaded.encode(x.x, y)) > 1e-6:
                    raise Fault("the same codes after saving and loading", "others", mend, str(setting))


def deterministic(case: Case) -> None:
    """Two runs of one seed give the same parameters, bit for bit."""
    for setting, config, run in runs(case):
        other = attempt(lambda c=config: trained(case, c), setting, "training")  # type: ignore[misc]
        for (name, a), b in zip(run.nets.state_dict().items(), other.nets.state_dict().values(), strict=True):
            if not torch.equal(a, b):
                raise Fault(
                    "the same run for the same seed",
                    f"another {name}",
                    "draw noise from Draws (objectives) or torch's generator (dropout) only",
                    str(setting),
                )
        break  # one setting will do: each part is checked on all


def precision(case: Case) -> None:
    """It trains in bfloat16 autocast too."""
    for setting, config in list(compositions(case))[:1]:
        run = attempt(lambda c=config: trained(case, c, "bfloat16"), setting, "training in bfloat16")  # type: ignore[misc]
        if not all(torch.isfinite(p).all() for p in run.nets.parameters()):
            raise Fault(
                "finite parameters", "others", "compute losses in float32: numbers.float()", f"{setting}, bfloat16"
            )
