"""Checks of generators, encoders and critics, each on its own: no objective is involved."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Setting, attempt, gap, labels, said, seeded, shake, shape_text
from genzoo.plugins.apps.kit.dispatch_checks import all_on_meta, dtypes_of, elsewhere, no_doubles
from genzoo.plugins.apps.kit.findings import Fault, Skip

LATENT = 6
BASES = {"generator": Generator, "encoder": Encoder, "critic": Critic}
CLOSE = 1e-3  # of the mean magnitude: sums in another order differ by far less


def ports(case: Case, spec: DataSpec, classes: int, *, wide: bool = False, apart: bool = False) -> Ports:
    """What a network is built to; ``wide`` asks for more numbers than usual, as some objectives do."""
    kind = case.entry.kind
    if kind == "generator":
        out = (2 * spec.shape[0], *spec.shape[1:]) if wide else spec.shape
        return Ports(code_shape(case, spec), out, classes)
    if kind == "encoder":
        return Ports(spec.shape, ((3 if wide else 2) * LATENT,), classes)
    return Ports(spec.shape, (3 if wide else 1,), classes, apart)


def code_shape(case: Case, spec: DataSpec) -> tuple[int, ...]:
    """The shape of a code that a generator is given."""
    shape: tuple[int, ...] = case.cls.code_shape(spec, Latent(LATENT), case.cls.Options())
    return (0,) if case.cls.codeless else shape


def built(case: Case, to: Ports, options: Any = None, seed: int = 0) -> Network:
    """A network with fresh parameters; what it refuses is a `UsageError`."""
    with seeded(seed):
        net: Network
        options = case.cls.Options() if options is None else options
        net = attempt(lambda: case.cls(to, options), to, "it to be built from its ports and options")
    return net


def settings(case: Case, *, all_sizes: bool = False, both: bool = False) -> Iterator[tuple[Setting, Ports]]:
    """Data and conditions that the network accepts: of each modality one with labels (or without, if it must)."""
    for spec in cases.specs(case.entry, all_sizes=all_sizes):
        for classes in (CLASSES, 0):
            setting = Setting(spec, classes)
            to = ports(case, spec, classes)
            try:
                built(case, to)
            except UsageError:
                continue
            yield setting, to
            if not both:
                break


def some(case: Case) -> list[tuple[Setting, Ports]]:
    """`settings`, at least one of them."""
    found = list(settings(case))
    if not found:
        raise Skip("it could not be built: see 'builds'")
    return found


def given(case: Case, setting: Setting, n: int, seed: int = 3) -> tuple[Tensor, Tensor | None]:
    """An input batch and its labels."""
    if case.entry.kind == "generator":
        x = torch.randn(n, *code_shape(case, setting.spec), generator=torch.Generator().manual_seed(seed))
    else:
        x = cases.observations(setting.spec, n, seed)
    return x, labels(n, setting.classes)


def exercised(net: Network, x: Tensor, y: Tensor | None) -> Network:
    """Train a few steps, so that all that training moves (norms' averages, counters) has moved."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3) if any(True for _ in net.parameters()) else None
    net.train()
    with seeded(5):
        for _ in range(3):
            loss = net(x.clone(), y).square().mean()
            if optimizer is not None and loss.requires_grad:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return net.eval()


def builds(case: Case) -> None:
    """It is built for every modality that it says it is for, with labels and without."""
    kind = case.entry.kind
    if not issubclass(case.cls, BASES[kind]):
        raise Fault(f"a subclass of genzoo.core.networks.{BASES[kind].__name__}", f"{case.cls.__mro__[1].__name__}",
                    f"derive {case.cls.__name__} from it")  # fmt: skip
    for data in cases.kinds(case.entry):
        chosen, modality = data.examples(CLASSES), data.name
        for classes in (0, CLASSES):
            refused = ""
            for spec in chosen:
                try:
                    net = built(case, ports(case, spec, classes))
                except UsageError as e:
                    refused = str(e)
                    continue
                if not any(True for _ in net.parameters()):
                    raise Fault("parameters to train", "none", "keep layers as attributes, so that torch sees them")
                break
            else:
                how = "with labels" if classes else "without labels"
                raise Fault(f"to work on {modality} data {how}", f"a refusal: {refused}",
                            f"build it for such ports, or leave {modality!r} out of the entry's modalities",
                            f"{modality}, {classes} classes")  # fmt: skip


def shapes(case: Case) -> None:
    """Outputs are ``(B, *ports.outputs)``, for batches of one and of several, also where more numbers are asked."""
    for setting, _ in settings(case, all_sizes=True, both=True):
        for wide in (False, True):
            to = ports(case, setting.spec, setting.classes, wide=wide)
            try:
                net = built(case, to).eval()
            except UsageError:
                continue
            for n in (1, 5):
                x, y = given(case, setting, n)
                with torch.no_grad():
                    out = attempt(lambda net=net, x=x, y=y: net(x.clone(), y), f"{setting}, batch of {n}", "forward")  # type: ignore[misc]
                _right_shape(out, (n, *to.outputs), f"{setting}, batch of {n}")


def _right_shape(out: Any, expected: tuple[int, ...], where: object) -> None:
    found = shape_text(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if not isinstance(out, Tensor) or tuple(out.shape) != expected:
        raise Fault(f"an output of shape {shape_text(expected)}", found,
                    "return (B, *self.ports.outputs): reshape the last layer's numbers", str(where))  # fmt: skip


def dtypes(case: Case) -> None:
    """Float32 goes in and comes out, nothing is computed in float64, and bfloat16 autocast works."""
    for setting, to in some(case):
        net = built(case, to)
        dtypes_of(net, setting)
        x, y = given(case, setting, 4)
        for half in (False, True):
            where = f"{setting}{', bfloat16 autocast' if half else ''}"

            def once(half: bool = half, x: Tensor = x, y: Tensor | None = y, net: Network = net) -> Tensor:
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    out: Tensor = net(x.clone(), y)
                if out.requires_grad:
                    torch.autograd.backward(out.float().square().mean())
                return out

            with no_doubles(where):
                out = attempt(once, where, "forward and backward")
            right = (torch.float32, torch.bfloat16) if half else (torch.float32,)
            if out.dtype not in right or not torch.isfinite(out).all():
                raise Fault("finite numbers of float32", f"{out.dtype}, finite: {bool(torch.isfinite(out).all())}",
                            "compute in the input's dtype", where)  # fmt: skip


def devices(case: Case) -> None:
    """It runs wherever its parameters and inputs are."""
    for setting, to in some(case):
        net = built(case, to).eval()
        x, y = given(case, setting, 4)
        with elsewhere(setting):
            net.to("meta")
            with torch.no_grad():
                out = net(x.to("meta"), None if y is None else y.to("meta"))
            all_on_meta([out], setting, "the output")


def deterministic(case: Case) -> None:
    """A seed decides the initial parameters; inputs and torch's seed decide the output, inputs alone in eval mode."""
    for setting, to in some(case):
        a, b = built(case, to, seed=4), built(case, to, seed=4)
        for (name, p), q in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            if not torch.equal(p, q):
                raise Fault("the same initial parameters from the same torch seed", f"another {name}",
                            "draw them with torch's generator only", str(setting))  # fmt: skip
        x, y = given(case, setting, 5)
        for mode in ("train", "eval"):
            copies = [copy.deepcopy(a).train(mode == "train") for _ in range(2)]
            outputs = []
            for number, net in enumerate(copies):
                with torch.no_grad(), seeded(8 + number * (mode == "eval")):  # in eval mode no seed may matter
                    outputs.append(net(x.clone(), y))
            if not torch.equal(*outputs):
                mend = "draw noise in training mode only (if self.training), from torch's generator"
                raise Fault(f"the same output twice in {mode} mode", f"outputs {gap(*outputs):.2g} apart", mend,
                            str(setting))  # fmt: skip


def gradients(case: Case) -> None:
    """Gradients reach every parameter, and the input."""
    for setting, to in settings(case, both=True):
        net = built(case, to).train()
        shake(net)
        x, y = given(case, setting, 6)
        x.requires_grad_()
        with seeded():
            out = net(x.clone(), y)
        mend = "take out the detach(), no_grad() or conversion on the way, or the layer that forward leaves out"
        if not out.requires_grad:
            raise Fault("an output that can be differentiated", "a detached one", mend, str(setting))
        (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        idle = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        if idle:
            raise Fault("a gradient for every parameter", f"none for {', '.join(idle[:4])}", mend, str(setting))
        if x.numel() and (x.grad is None or not x.grad.any()):
            raise Fault("a gradient for the input", "none", mend, str(setting))
        bad = [n for n, p in net.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
        if bad:
            raise Fault("finite gradients", f"others for {', '.join(bad[:4])}",
                        "look for a division, root or logarithm at zero", str(setting))  # fmt: skip


def inputs_kept(case: Case) -> None:
    """What it is given is as it was afterwards."""
    for setting, to in some(case):
        net = built(case, to)
        for mode in (True, False):
            x, y = given(case, setting, 5)
            before, version = x.clone(), x._version
            with torch.no_grad(), seeded():
                net.train(mode)(x, y)
            if not torch.equal(x, before) or x._version != version:
                raise Fault(
                    "its input unchanged",
                    "it changed in place",
                    "do without x.mul_(…), x += … and inplace=True on the input itself",
                    str(setting),
                )


def batch_independent(case: Case) -> None:
    """In eval mode an output depends on its own input only, and calls leave nothing behind."""
    for setting, to in some(case):
        net = built(case, to)
        if getattr(net, "mixes", False):
            continue  # declared
        x, y = given(case, setting, 6)
        exercised(net, x, y)
        with torch.no_grad():
            whole = net(x.clone(), y)
            state = {k: v.clone() for k, v in net.state_dict().items()}
            parts = torch.cat([net(x[i : i + 2].clone(), None if y is None else y[i : i + 2]) for i in (0, 2, 4)])
            single = torch.cat([net(x[i : i + 1].clone(), None if y is None else y[i : i + 1]) for i in range(6)])
            net(x * 3 + 1, y)
            again = net(x.clone(), y)
        for other, what in ((parts, "batches of 2"), (single, "single inputs"), (again, "a call after another one")):
            if gap(whole, other) > CLOSE:
                raise Fault("the same output in every batch, in eval mode",
                            f"outputs that differ by {gap(whole, other):.2g} from those of {what}",
                            "use running statistics (or no batch statistics at all) where self.training is False",
                            str(setting))  # fmt: skip
        changed = [k for k, v in net.state_dict().items() if not torch.equal(v, state[k])]
        if changed:
            raise Fault("nothing remembered in eval mode", f"{changed[0]} changed", "move it in training mode only",
                        str(setting))  # fmt: skip


def condition(case: Case) -> None:
    """Another label gives another output, and without labels none is needed."""
    tried = False
    for setting, to in settings(case):
        if not setting.classes:
            continue
        tried = True
        net = built(case, to)
        shake(net)
        net.eval()
        x, _ = given(case, setting, 4)
        with torch.no_grad():
            outputs = [net(x.clone(), torch.full((4,), k)) for k in range(CLASSES)]
        for a, b in ((0, 1), (1, 2)):
            if gap(outputs[a], outputs[b]) < 1e-7:
                raise Fault("another output for another label", f"the same for labels {a} and {b}",
                            "use y where ports.classes is not 0: an embedding, or one-hot numbers beside the input",
                            str(setting))  # fmt: skip
    if not tried:
        raise Skip("it takes no labels: see 'builds'")


def round_trip(case: Case) -> None:
    """Saved and loaded into a new network it gives the same outputs: nothing that it needs is left behind."""
    from safetensors.torch import load, save

    for setting, to in some(case):
        x, y = given(case, setting, 5)
        net = exercised(built(case, to, seed=0), x, y)
        with torch.no_grad():
            before = net(x.clone(), y)
        content = save({k: v.detach().clone().contiguous() for k, v in net.state_dict().items()})
        other = built(case, to, seed=1)
        mend = f"register_buffer(name, tensor) what forward needs, without persistent=False{_unsaved(net)}"
        try:
            other.load_state_dict(load(content))
        except RuntimeError as e:
            raise Fault("state that fits a new network of the same options", said(e), mend, str(setting)) from e
        with torch.no_grad():
            after = other.eval()(x.clone(), y)
        if not gap(before, after) <= 1e-6:
            raise Fault("the same outputs after saving and loading", f"outputs {gap(before, after):.2g} apart", mend,
                        str(setting))  # fmt: skip


def _unsaved(net: nn.Module) -> str:
    """What a network holds that is not saved, in words."""
    kept = set(net.state_dict())
    lost = [n for n, _ in net.named_buffers() if n not in kept]
    for prefix, module in net.named_modules():
        plain = (k for k, v in vars(module).items() if isinstance(v, Tensor))
        lost += [f"{prefix}.{k}".lstrip(".") for k in plain]
    return f" (not saved here: {', '.join(sorted(set(lost))[:4])})" if lost else ""


def variants(case: Case) -> None:
    """With every word, and at the least of every number, of its options it works or is refused in words."""
    kind = case.entry.kind
    for setting, to in some(case)[:1]:
        for name, options in cases.variants(case.cls):
            where = f"{setting}, {name}"
            try:
                net = built(case, to, options)
                x, y = given(case, setting, 3)
                with torch.no_grad():
                    out = attempt(lambda net=net, x=x, y=y: net.eval()(x.clone(), y), where, "forward")  # type: ignore[misc]
            except UsageError:
                continue
            except Fault as e:
                raise Fault(f"{kind}.{name} to work", e.found, "support it, or raise UsageError with the reason",
                            where) from e  # fmt: skip
            _right_shape(out, (3, *to.outputs), where)


def per_observation(case: Case) -> None:
    """Under a gradient penalty no score depends on another observation, or the critic refuses to be built."""
    for spec in cases.specs(case.entry):
        setting = Setting(spec, CLASSES)
        to = ports(case, spec, CLASSES, apart=True)
        for name, options in [("the defaults", None), *cases.variants(case.cls)]:
            try:
                net = built(case, to, options).train()
            except UsageError:
                continue
            except Fault:
                continue  # `variants` says so
            if getattr(net, "mixes", False):
                continue  # declared
            shake(net)
            x, y = given(case, setting, 4)
            x.requires_grad_()
            with seeded():
                scores = net(x.clone(), y)
            for i in range(4):
                (gradient,) = torch.autograd.grad(scores[i].sum(), x, retain_graph=True)
                others = gradient.flatten(1).abs().sum(1)
                others[i] = 0
                if others.any():
                    raise Fault("∂D(x_i)/∂x_j = 0 for i ≠ j where ports.per_observation is set",
                                f"a score that depends on its neighbours, with {name}",
                                "raise UsageError for batch norm and the like where ports.per_observation is set",
                                str(setting))  # fmt: skip
