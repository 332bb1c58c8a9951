"""Looks over torch's shoulder: finds numbers of double precision, and tensors made on the wrong device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genzoo.plugins.apps.kit.cases import place_of, said
from genzoo.plugins.apps.kit.findings import Fault, Skip

NO_DOUBLES = "make it of the input's dtype (x.new_zeros, dtype=x.dtype): float64 is slow, and on MPS an error"
ON_INPUTS = "make tensors on the inputs' device (x.new_zeros, device=x.device), and keep constants in buffers"


class Doubles(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises a `Fault` at the first operation that gives float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, Tensor) and t.dtype == torch.float64:
                raise Fault("float32 (or bfloat16) throughout", f"float64 from {func}", NO_DOUBLES)
        return out


@contextmanager
def no_doubles(where: object) -> Iterator[None]:
    """Refuse float64 in all that is computed here."""
    try:
        with Doubles():  # type: ignore[no-untyped-call]
            yield
    except Fault as e:
        e.where = e.where or str(where)
        place = place_of(e)
        e.found += f" at {place}" if place and place not in e.found else ""
        raise


def dtypes_of(module: nn.Module, where: object) -> None:
    """Refuse parameters and buffers of float64."""
    for name, t in (*module.named_parameters(), *module.named_buffers()):
        if t.dtype == torch.float64:
            raise Fault("parameters and buffers of float32", f"{name} of float64", NO_DOUBLES, str(where))


@contextmanager
def elsewhere(where: object) -> Iterator[None]:
    """Run on the device ``meta``, where tensors of any other device show: what breaks is a `Fault`.

    Meta tensors have no numbers: code that reads them is skipped.
    """
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    except (Fault, Skip):
        raise
    except Exception as e:
        text = str(e)
        if "item() cannot be called" in text or "data-dependent" in text or "nonzero" in text:
            raise Skip(f"it reads numbers back from the device, which cannot be tried without one ({said(e)})") from e
        raise Fault("all tensors on the device of its inputs", said(e), ON_INPUTS, str(where)) from e
    finally:
        torch.autocast = real  # type: ignore[misc]


def all_on_meta(tensors: Mapping[str, Any] | Sequence[Any], where: object, what: str) -> None:
    """Refuse results that are elsewhere."""
    named = tensors.items() if isinstance(tensors, Mapping) else ((what, t) for t in tensors)
    for name, t in named:
        if isinstance(t, Tensor) and not t.is_meta:
            raise Fault(f"{name} on the device of the inputs", f"it on {t.device}", ON_INPUTS, str(where))
