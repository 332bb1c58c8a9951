"""From a composition to networks: the objective says what it needs, architectures are built to that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from torch import nn

from genzoo.core.augmentation import Augmentation
from genzoo.core.config import Config, Part
from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive, Implicit, Likelihood
from genzoo.core.model import Model
from genzoo.core.networks import Critic, Encoder, Generator, Ports
from genzoo.core.objective import Networks, Objective
from genzoo.core.posterior import NormalHead, PosteriorHead, TokenHead
from genzoo.core.prior import NormalPrior, Prior
from genzoo.core.regularizer import Regularizer

NETWORKS: dict[str, type[Any]] = {"generator": Generator, "encoder": Encoder, "critic": Critic}
Resolve = Callable[[str, str], type[Any]]  # (kind, name) to class: the registry's business


def build(config: Config, resolve: Resolve, *, critics: bool = True) -> tuple[Objective, Networks]:
    """Build an objective and its networks, with freshly initialized parameters.

    ``critics`` says whether to build what only training needs too: critics, regularizers, augmentations. `UsageError`
    if a part is missing, superfluous, or does not go with the others; says why.
    """

    def make(kind: str, base: type[Any], *args: Any) -> Any:
        return make_part(kind, config.parts[kind], base, resolve, *args)

    objective: Objective = make("objective", Objective)
    name, spec, latent, classes = config.parts["objective"].name, config.data, config.latent, config.classes
    condition = config.conditions
    if config.conditional and not (spec.classes or condition):
        raise UsageError("a conditional model needs labels or conditions, and this data has none")
    if critics:
        add_lists(objective, name, config.lists, resolve)
    plan = objective.plan(spec, classes)
    needs = {kind: plan.wants(kind) for kind in NETWORKS} | {"likelihood": plan.likelihood}
    takes = needs | {"posterior": isinstance(plan.posterior, str), "prior": isinstance(plan.prior, str)}
    for kind, taken in takes.items():
        if needs.get(kind) and kind not in config.parts:
            raise UsageError(f"objective {name!r} cannot do without its {kind}: name one with --{kind}")
        if not taken and kind in config.parts:
            part = config.parts[kind].name
            raise UsageError(f"objective {name!r} has no use for {kind} {part!r}: leave the {kind} out")

    family = config.parts["posterior"].name if "posterior" in config.parts else "normal"
    if plan.posteriors and family not in plan.posteriors:
        raise UsageError(f"objective {name!r} works with posterior {' or '.join(plan.posteriors)}, not {family}")
    if latent.numbers == 0 and (plan.posterior is not None or not plan.likelihood):
        raise UsageError(f"latent.size must be at least 1, not 0: objective {name!r} cannot do without codes")

    likelihood: Likelihood = make("likelihood", Likelihood, spec) if plan.likelihood else Implicit(spec)
    if plan.means and isinstance(likelihood, Autoregressive):
        raise UsageError(
            f"objective {name!r} goes by slopes of the mean of p(x|z), and likelihood "
            f"{config.parts['likelihood'].name!r} draws value after value, which has none: name another with "
            "--likelihood, or use --objective vae"
        )
    generator: Generator = make(
        "generator", Generator,
        Ports(latent.shape, likelihood.input_shape, classes, plan.penalized, condition=condition),
    )  # fmt: skip
    head = encoder = None
    if plan.posterior is not None:
        if isinstance(plan.posterior, type):  # as plugins said it before posteriors had names
            head = plan.posterior(latent)
        else:
            head = make("posterior", PosteriorHead, latent) if "posterior" in config.parts else NormalHead(latent)
        if head.point and not (plan.points or family in plan.posteriors):
            raise UsageError(
                f"objective {name!r} weighs codes by their density, and those of posterior {family!r} are points: "
                "use --posterior normal, or a recipe such as ae or wae"
            )
        if plan.several and head.relaxed:
            raise UsageError(
                f"objective {name!r} weighs several codes of each observation, and posterior {family!r} softens its "
                "codes in training, which then have no such weights: use --posterior normal, or --objective vae"
            )
        if plan.several and isinstance(head, TokenHead) and head.certain:
            raise UsageError(
                f"objective {name!r} weighs several codes of each observation, and posterior {family!r} gives one: "
                "use --posterior normal, or --objective vae"
            )
        head.prepare(generator)
        encoder = make("encoder", Encoder, Ports(spec.shape, head.input_shape, classes, condition=condition,
                                                  levels=spec.levels))  # fmt: skip
    own = plan.prior if callable(plan.prior) else NormalPrior
    prior: Prior = make("prior", Prior, latent) if "prior" in config.parts else own(latent)
    model = Model(spec, latent, generator, likelihood, encoder, head, prior=prior, classes=classes,
                  conditions=condition, config=config)  # fmt: skip
    fixed = plan.posterior is None or not plan.moves_prior
    if fixed and next(prior.parameters(), None) is not None:
        raise UsageError(
            f"objective {name!r} trains no prior: prior {config.parts['prior'].name!r} would stay as it is"
        )
    if plan.draws_prior and any(prior.told):
        raise UsageError(
            f"objective {name!r} draws codes of the prior before it knows their labels, and prior "
            f"{config.parts['prior'].name!r} goes by labels: use another, such as --prior vamp, or a cvae"
        )
    if not prior.joint and "prior" not in objective.fresh:
        raise UsageError(
            f"prior {config.parts['prior'].name!r} is fitted to the codes of a trained model: train one, then "
            f"genzoo prior fit WEIGHTS --prior {config.parts['prior'].name}"
        )
    judges: dict[str, nn.Module] = {}
    if critics:
        for c in plan.critics:
            inputs = {"data": spec.shape, "codes": latent.shape}[c.inputs] if isinstance(c.inputs, str) else c.inputs
            outputs = c.outputs if isinstance(c.outputs, tuple) else (c.outputs,)
            beside = latent.numbers if isinstance(c.beside, str) else c.beside
            told = (c.classes or classes, condition) if c.labels else (0, 0)
            if c.pack > 1:
                inputs, beside, told = (c.pack * inputs[0], *inputs[1:]), beside + c.pack * sum(told), (0, 0)
            if condition and not c.labels and c.inputs != "codes":
                raise UsageError(f"objective {name!r} tells its critic no numbers as conditions, which this data has")
            ports = Ports(inputs, outputs, told[0], c.penalized, beside, told[1])
            judges[c.name] = made = make(c.kind, NETWORKS[c.kind], ports)
            if beside and "beside" not in signature(made.forward).parameters:
                raise UsageError(
                    f"objective {name!r} tells its critic {beside} numbers beside each input, and {c.kind} "
                    f"{config.parts[c.kind].name!r} takes none: name another with --{c.kind}"
                )
        judges |= {key: maker() for key, maker in plan.extras.items()}
    nets = Networks(model, judges)
    for regularizer in objective.regularizers.values() if critics else ():
        regularizer.fits(nets)  # type: ignore[operator]
    return objective, nets


def add_lists(objective: Objective, name: str, lists: Mapping[str, tuple[Part, ...]], resolve: Resolve) -> None:
    """Give an objective the regularizers and augmentations of a composition: its plan may go by them."""
    bases: dict[str, tuple[type[Any], nn.ModuleDict]] = {
        "regularizer": (Regularizer, objective.regularizers), "augmentation": (Augmentation, objective.augmentations),
    }  # fmt: skip
    for kind, parts in lists.items():
        base, there = bases[kind]
        for part in parts:
            key = part.name.replace(".", "-")
            if kind not in objective.takes:
                raise UsageError(f"objective {name!r} takes no {kind}: leave out {', '.join(p.name for p in parts)}")
            if key in there:
                raise UsageError(f"objective {name!r} has the {kind} {part.name!r} already: leave it out")
            there[key] = make_part(kind, part, base, resolve)


def make_part(kind: str, part: Part, base: type[Any], resolve: Resolve, *args: Any) -> Any:
    """Make a component: its class, given ``args`` and its options."""
    cls = resolve(kind, part.name)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UsageError(f"{kind} {part.name!r} is not a {base.__name__}")
    if args and isinstance(args[0], Ports) and args[0].condition and not cls.conditions:
        raise UsageError(
            f"{kind} {part.name!r} is not told numbers as conditions, which this data has: name another with --{kind}, "
            "such as mlp or conv"
        )
    return cls(*args, cls.Options(**part.options))
