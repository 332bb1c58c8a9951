"""The model of a weights folder.

A folder is data from a stranger. Names in it are looked up in the registry and nowhere else, sizes in it are compared
with the tensors that are there before anything is built to them, and what is hashed is what is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from threading import get_ident
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.overrides import TorchFunctionMode

from genzoo.core.build import Resolve, build
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.model import Model
from genzoo.core.storage.files import damaged, read_manifest
from genzoo.core.storage.strict import check_options, one_line
from genzoo.core.storage.weights import CONFIG, DTYPES, TENSORS, TensorFile, parse_config, read_content


def load_model(
    folder: Path, resolve: Resolve, *, device: torch.device | str = "cpu", within: Path | None = None
) -> Model:
    """Load the model of a weights folder, in eval mode.

    Hashes are checked before anything is believed, names, shapes and dtypes before any tensor is used. Tensors that
    are stored in a smaller floating dtype than the networks' become theirs: a loaded model is float32. ``within`` is as
    `genzoo.core.storage.strict.open_plain` has it. Raises GenzooError, naming what is missing, damaged or does not fit.
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
    guard = Guarded(len(file.infos), sum(info.numel for info in file.infos.values()))

    def checked(kind: str, name: str) -> type[Any]:
        cls = resolve(kind, name)
        check_options(cls, config.parts[kind].options, kind)
        return cls

    try:
        # The caller's random stream is left alone.
        with torch.random.fork_rng(devices=[]), torch.device("cpu" if storage else "meta"), guard:
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


_FACTORIES = {"empty", "zeros", "ones", "full", "rand", "randn", "randint", "eye", "arange", "linspace", "tril_indices"}
_RANDOM = {"normal_", "uniform_", "bernoulli_", "exponential_", "random_", "cauchy_", "log_normal_", "geometric_"}


class Guarded(TorchFunctionMode):
    """Let networks be built in this block and thread, as long as a file's ``tensors`` of ``numbers`` could be theirs.

    A network that is built may make more than it keeps (parameters that are replaced, buffers that are not saved,
    layers without parameters), so there is slack; whether it fits exactly is compared afterwards. What a factory is
    asked for counts before it is made: on the device ``meta`` it takes no memory, but to make a million layers takes
    time. Initial values are left out there: torch's random numbers would import its compiler, which takes seconds.

    Raises:
        GenzooError: from the block, at the first layer or tensor beyond.
    """

    def __init__(self, tensors: int, numbers: int) -> None:
        super().__init__()
        self._modules_left = self._tensors_left = 512 + 64 * tensors
        self._numbers_left = 2**20 + 4 * numbers
        self._held, self._thread = f"the {tensors} tensors with {numbers:,} numbers that are there", get_ident()

    def __enter__(self) -> Self:
        self._hook = register_module_module_registration_hook(self._on_module)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._hook.remove()

    def _on_module(self, module: nn.Module, name: str, child: nn.Module | None) -> None:
        self._modules_left -= get_ident() == self._thread
        if self._modules_left < 0:
            raise GenzooError(f"its config asks for more layers than {self._held} can fill")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what factories are asked for, and give back the tensors of ``meta`` that would be filled."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or name in _RANDOM:
            filled = args[0] if args else kwargs.get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        if name in _FACTORIES:
            self._tensors_left -= 1
            self._numbers_left -= _asked(name, args, kwargs)
            if self._tensors_left < 0 or self._numbers_left < 0:
                raise GenzooError(f"its config asks for more than {self._held}")
        return func(*args, **kwargs)


def _asked(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """How many numbers a factory is asked for, or somewhat more."""
    given = (*args, *(kwargs[k] for k in ("size", "n", "m", "end", "steps") if k in kwargs))
    shapes = [g for g in given if isinstance(g, (tuple, list))]
    sizes = [max(abs(n), 1) for n in (shapes[0] if shapes else given) if type(n) is int]
    if name in ("arange", "linspace"):
        return max(sizes, default=1)
    return math.prod(sizes * 2 if name == "eye" and len(sizes) == 1 else sizes)
