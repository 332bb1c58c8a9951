"""The model of a weights folder.

A folder is data from a stranger. Names in it are looked up in the registry and nowhere else, sizes in it are compared
with the tensors that are there before anything is built to them, and what is hashed is what is used.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from genzoo.core.build import Resolve, build
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.model import Model
from genzoo.core.storage.files import damaged, read_manifest
from genzoo.core.storage.strict import check_options, one_line
from genzoo.core.storage.tensors import DTYPES, TensorFile
from genzoo.core.storage.weights import CONFIG, TENSORS, parse_config, read_content


def load_model(
    folder: Path, resolve: Resolve, *, device: torch.device | str = "cpu", within: Path | None = None
) -> Model:
    """Load the model of a weights folder, in eval mode.

    Hashes are checked before anything is believed, names, shapes and dtypes before any tensor is used. Tensors that
    are stored in a smaller floating dtype than the networks' become theirs: a loaded model is float32.

    Args:
        folder: a weights folder.
        resolve: turns a kind and a name into a class.
        device: where to.
        within: a folder that its links may lead into, see `genzoo.core.storage.strict.open_plain`.

    Raises:
        GenzooError: naming what is missing, damaged or does not fit.
    """
    listed = read_manifest(folder, within=within)
    for name in (CONFIG, TENSORS):
        if name not in listed:
            raise GenzooError(f"{folder} holds no {name}")
    content, path = read_content(folder, within), folder / TENSORS
    if listed[CONFIG] != {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}:
        raise damaged(folder / CONFIG)
    config = parse_config(content, folder / CONFIG)
    try:
        with TensorFile(path, within) as file:
            if listed[TENSORS] != {"size": file.size, "sha256": file.sha256}:
                raise damaged(path)
            model = _fitted(folder, config, resolve, file)
    except FileNotFoundError:
        raise GenzooError(f"{path} is missing, or no plain file: get the folder anew") from None
    return model.to(device).requires_grad_(False).eval()


def _fitted(folder: Path, config: Config, resolve: Resolve, file: TensorFile) -> Model:
    """The model that a config describes, with the tensors of a file."""
    # Without storage first: a config that asks for more than the file holds allocates nothing.
    model = _rebuilt(folder, config, resolve, file, storage=False)
    file.check_numbers()
    kinds = {} if model is None else {name: t.dtype for name, t in model.state_dict().items()}
    tensors = {name: file.tensor(name).to(kinds.get(name)) for name in file.infos}
    try:
        if model is not None:
            model.load_state_dict(tensors, assign=True)
        if model is None or any(t.is_meta for t in (*model.parameters(), *model.buffers())):  # one that is not saved
            model = _rebuilt(folder, config, resolve, file, storage=True)
            assert model is not None
            model.load_state_dict(tensors)
    except GenzooError:
        raise
    except Exception as e:  # a plugin's network that has its own ways to load
        raise GenzooError(one_line(f"{file.path} does not fit its config ({type(e).__name__}: {e})")) from e
    return model


def _rebuilt(folder: Path, config: Config, resolve: Resolve, file: TensorFile, *, storage: bool) -> Model | None:
    """Build a config's model for a file's tensors; None if one of its networks cannot be built without storage."""
    numbers = sum(info.numel for info in file.infos.values())

    def checked(kind: str, name: str) -> type[Any]:
        cls = resolve(kind, name)
        check_options(cls, config.parts[kind].options, kind)
        return cls

    try:
        # The caller's random stream is left alone.
        with torch.random.fork_rng(devices=[]), limited(len(file.infos), numbers):
            if storage:
                with SmallTensors(2**20 + 4 * numbers):
                    model = build(config, checked, critics=False)[1].model
            else:
                with torch.device("meta"), Blank():
                    model = build(config, checked, critics=False)[1].model
    except GenzooError as e:
        raise GenzooError(one_line(f"the weights in {folder} cannot be loaded: {e}")) from e
    except Exception as e:  # whatever a network's constructor makes of options that make no sense
        if not storage and isinstance(e, (NotImplementedError, RuntimeError)):
            return None
        why = one_line(f"{type(e).__name__}: {e}", 200)
        raise GenzooError(f"{folder / CONFIG} describes no model that can be built ({why})") from e
    _compare(file, model.state_dict())
    return model


def _compare(file: TensorFile, expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit the model that the config describes."""
    infos, wrong = file.infos, ""
    for name in sorted(set(infos) ^ set(expected))[:1]:
        wrong = f"is {'not expected' if name in infos else 'missing'}"
        raise GenzooError(f"{file.path} does not fit its config: tensor {name!r} {wrong}")
    for name, tensor in expected.items():
        shape, dtype = infos[name].shape, DTYPES[infos[name].dtype]
        if shape != tuple(tensor.shape):
            wrong = f"has shape {shape}, not {tuple(tensor.shape)}"
        elif dtype != tensor.dtype and (tensor.dtype != torch.float32 or dtype not in (torch.float16, torch.bfloat16)):
            wrong = f"is of dtype {dtype}, not {tensor.dtype}"
        if wrong:
            raise GenzooError(f"{file.path} does not fit its config: tensor {name!r} {wrong}")


class _Spent(GenzooError):
    """More was asked for than there is."""


@contextmanager
def limited(tensors: int, numbers: int) -> Iterator[None]:
    """Let networks be built in this block and thread, as long as a file's ``tensors`` of ``numbers`` could be theirs.

    A network that is built may make more than it keeps (parameters that are replaced, buffers that are not saved,
    layers without parameters), so there is slack; whether it fits exactly is compared afterwards. On the device
    ``meta`` tensors take no memory, and what is limited is the time of making a million layers.

    Raises:
        GenzooError: from the block, at the first layer or tensor beyond.
    """
    modules_left, tensors_left = 512 + 64 * tensors, 256 + 8 * tensors
    numbers_left = 2**20 + 4 * numbers
    counted, thread = set[int](), threading.get_ident()

    def on_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules_left
        modules_left -= threading.get_ident() == thread
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
_FACTORIES = {"empty", "zeros", "ones", "full", "rand", "randn", "randint", "eye", "arange", "linspace", "tril_indices"}


class Blank(TorchFunctionMode):
    """Leave out initial values, for networks that are built on ``meta`` and given theirs.

    They would change nothing there, but on ``meta`` torch's random numbers import its compiler: seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give back the tensor that would be filled."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or getattr(func, "__name__", "") in _RANDOM:
            filled = args[0] if args else kwargs.get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        return func(*args, **kwargs)


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
