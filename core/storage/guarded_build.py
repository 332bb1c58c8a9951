"""Building networks from a stranger's numbers: stopped as soon as they ask for more than the file holds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from genzoo.core.errors import GenzooError


class _Spent(GenzooError):
    """More was asked for than there is."""


@contextmanager
def limited(tensors: int, numbers: int) -> Iterator[None]:
    """Let networks be built in this block, and in this thread, as long as a file's tensors could be theirs.

    A network that is built may make more than it keeps (parameters that are replaced, buffers that are not saved,
    layers without parameters), so there is slack; whether it fits exactly is compared afterwards. On the device
    ``meta`` tensors take no memory, and what is limited is the time of making a million layers.

    Args:
        tensors: how many tensors the file has.
        numbers: how many numbers these have together.

    Raises:
        GenzooError: from the block, at the first layer or tensor beyond.
    """
    modules_left, tensors_left = 512 + 64 * tensors, 256 + 8 * tensors
    numbers_left = 2**20 + 4 * numbers
    counted, thread = set[int](), threading.get_ident()

    def on_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules_left
        if threading.get_ident() == thread:
            modules_left -= 1
            if modules_left < 0:
                raise _Spent(f"its config asks for more layers than its {tensors} tensors can fill")

    def on_tensor(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal tensors_left, numbers_left
        if value is None or id(value) in counted or threading.get_ident() != thread:
            return
        counted.add(id(value))
        tensors_left, numbers_left = tensors_left - 1, numbers_left - math.prod(value.shape)
        if tensors_left < 0 or numbers_left < 0:
            raise _Spent(f"its config asks for more than the {tensors} tensors with {numbers:,} numbers that are there")

    handles: list[Any] = [
        hooks.register_module_module_registration_hook(on_module),
        hooks.register_module_parameter_registration_hook(on_tensor),
        hooks.register_module_buffer_registration_hook(on_tensor),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_RANDOM = {"normal_", "uniform_", "bernoulli_", "exponential_", "random_", "cauchy_", "log_normal_", "geometric_"}


class Blank(TorchFunctionMode):
    """Leave out initial values, for networks that are built on ``meta`` and given theirs.

    They would change nothing there, but on ``meta`` torch's random numbers import its compiler: seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give back the tensor that would be filled."""
        kwargs = kwargs or {}
        name, home = getattr(func, "__name__", ""), getattr(func, "__module__", "")
        if home == "torch.nn.init" or name in _RANDOM:
            filled = args[0] if args else kwargs.get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        return func(*args, **kwargs)


_FACTORIES = {"empty", "zeros", "ones", "full", "rand", "randn", "randint", "eye", "arange", "linspace", "tril_indices"}


class SmallTensors(TorchFunctionMode):
    """Refuse to make a tensor of more than a number of elements: for networks that cannot be built on ``meta``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the sizes that factories are given, before they act."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _FACTORIES:
            given = (*args, kwargs.get("size", ()), kwargs.get("n", 1), kwargs.get("end", 1))
            sizes = [n for g in given for n in (g if isinstance(g, (tuple, list)) else (g,)) if type(n) is int]
            if math.prod(max(abs(n), 1) for n in sizes) > self.most:
                raise _Spent("its config asks for a tensor larger than all that is there")
        return func(*args, **kwargs)
