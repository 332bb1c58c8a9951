"""A weights folder: config, tensors and manifest; the same on disk, in the package and on the Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.build import Resolve, build
from genzoo.core.config import FORMAT, Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.files import Writer, text_file, verify
from genzoo.core.model import Model

CONFIG, TENSORS = "config.json", "model.safetensors"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; equal tensors give equal bytes.

    Raises:
        OSError: if the system cannot.
    """
    own, storages = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        t = tensor.detach().cpu().contiguous()
        place = t.untyped_storage().data_ptr()
        own[name] = t.clone() if place in storages else t  # the format knows no tied tensors
        storages.add(place)
    try:
        save_file(own, path)
    except SafetensorError as e:  # hides the system's error in words
        code = re.search(r"os error (\d+)", str(e))
        raise OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(e)) from e


def model_files(model: Model) -> dict[str, Writer]:
    """The two files that are a model: name to writer."""
    if model.config is None:
        raise GenzooError("this model was made by hand, not by genzoo.create or genzoo.fit: it has no config to save")
    config = json.dumps(model.config.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return {
        CONFIG: text_file(config),
        TENSORS: lambda path: write_tensors(path, model.state_dict()),
    }


def read_config(folder: Path) -> Config:
    """Read a folder's ``config.json``.

    Raises:
        GenzooError: if it is not one, or of a later format.
    """
    path = folder / CONFIG
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] < 1:
            raise ValueError(f"format {raw['format']}")
        if raw["format"] > FORMAT:
            raise GenzooError(f"{path} has format {raw['format']}, and this genzoo reads up to {FORMAT}: upgrade it")
        return Config.from_dict(raw)
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no weights: it has no {CONFIG}") from None
    except OSError as e:
        raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
    except UsageError as e:
        raise GenzooError(f"{path} is damaged: {e}") from None
    except KeyError as e:
        raise GenzooError(f"{path} is no genzoo config: it lacks {e}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as e:
        raise GenzooError(f"{path} is no genzoo config ({type(e).__name__}: {e})") from None


def load_model(folder: Path, resolve: Resolve, *, device: torch.device | str = "cpu") -> Model:
    """Load the model of a weights folder, in eval mode.

    Hashes are checked before anything is read, names and shapes before any tensor is used.

    Raises:
        GenzooError: naming what is missing, damaged or does not fit.
    """
    verify(folder, (CONFIG, TENSORS))
    config, path = read_config(folder), folder / TENSORS
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            # Without storage first: a config that asks for more than the file holds allocates nothing.
            model = _rebuilt(folder, config, resolve, storage=False)
            if model is not None:
                _compare(path, shapes, model)
            tensors = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError) as e:
        raise GenzooError(f"{path} is no safetensors file: {e}") from None
    if model is None or not _complete(model, tensors):
        model = _rebuilt(folder, config, resolve, storage=True)
        assert model is not None
        _compare(path, shapes, model)
        model.load_state_dict(tensors)
    return model.to(device).requires_grad_(False).eval()


def _rebuilt(folder: Path, config: Config, resolve: Resolve, *, storage: bool) -> Model | None:
    """Build a config's model; None if one of its networks cannot be built without storage."""
    try:
        # The caller's random stream is left alone.
        with torch.random.fork_rng(devices=[]), nullcontext() if storage else torch.device("meta"):
            return build(config, resolve, critics=False)[1].model
    except GenzooError as e:
        raise GenzooError(f"the weights in {folder} cannot be loaded: {e}") from e
    except Exception as e:  # whatever a network's constructor makes of options that make no sense
        if not storage and isinstance(e, (NotImplementedError, RuntimeError)):
            return None
        raise GenzooError(f"{folder / CONFIG} describes no model that can be built ({type(e).__name__}: {e})") from e


def _compare(path: Path, shapes: Mapping[str, tuple[int, ...]], model: Model) -> None:
    """Refuse tensors that do not fit the model that the config describes."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    odd = sorted(set(shapes) ^ set(expected))
    if odd:
        how = "not expected" if odd[0] in shapes else "missing"
        raise GenzooError(f"{path} does not fit its config: tensor {odd[0]!r} is {how}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise GenzooError(f"{path} does not fit its config: tensor {name!r} has shape {shapes[name]}, not {shape}")


def _complete(model: Model, tensors: Mapping[str, Tensor]) -> bool:
    """Put tensors into a model without storage; False if something that is not saved is then still missing."""
    kinds = {name: t.dtype for name, t in model.state_dict().items()}
    model.load_state_dict({name: t.to(kinds[name]) for name, t in tensors.items()}, assign=True)
    return not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
