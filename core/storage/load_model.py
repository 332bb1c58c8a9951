"""The model of a weights folder.

A folder is data from a stranger. Names in it are looked up in the registry and nowhere else, sizes in it are compared
with the tensors that are there before anything is built to them, and what is hashed is what is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.build import Resolve, build
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.model import Model
from genzoo.core.storage.files import MANIFEST, read_manifest
from genzoo.core.storage.guarded_build import Blank, SmallTensors, limited
from genzoo.core.storage.header import TensorInfo
from genzoo.core.storage.schema import check_options
from genzoo.core.storage.strict import one_line
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
    if hashlib.sha256(content).hexdigest() != listed[CONFIG]["sha256"] or len(content) != listed[CONFIG]["size"]:
        raise _damaged(folder / CONFIG)
    config = parse_config(content, folder / CONFIG)
    try:
        with TensorFile(path, within) as file:
            if file.size != listed[TENSORS]["size"] or file.sha256 != listed[TENSORS]["sha256"]:
                raise _damaged(path)
            model = _fitted(folder, config, resolve, file)
    except FileNotFoundError:
        raise GenzooError(f"{path} is missing, or no plain file: get the folder anew") from None
    return model.to(device).requires_grad_(False).eval()


def _damaged(path: Path) -> GenzooError:
    return GenzooError(f"{path} is damaged: its content does not match {MANIFEST}; get the folder anew")


def _fitted(folder: Path, config: Config, resolve: Resolve, file: TensorFile) -> Model:
    """The model that a config describes, with the tensors of a file."""
    # Without storage first: a config that asks for more than the file holds allocates nothing.
    model = _rebuilt(folder, config, resolve, file, storage=False)
    if model is not None:
        _compare(file.path, file.infos, model)
    file.check_numbers()
    kinds = {} if model is None else {name: t.dtype for name, t in model.state_dict().items()}
    tensors = {name: file.tensor(name).to(kinds.get(name)) for name in file.infos}
    try:
        if model is None or not _complete(model, tensors):
            model = _rebuilt(folder, config, resolve, file, storage=True)
            assert model is not None
            _compare(file.path, file.infos, model)
            model.load_state_dict(tensors)
    except GenzooError:
        raise
    except Exception as e:  # a plugin's network that has its own ways to load
        raise GenzooError(one_line(f"{file.path} does not fit its config ({type(e).__name__}: {e})")) from e
    return model


def _rebuilt(folder: Path, config: Config, resolve: Resolve, file: TensorFile, *, storage: bool) -> Model | None:
    """Build a config's model; None if one of its networks cannot be built without storage."""
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
                    return build(config, checked, critics=False)[1].model
            with torch.device("meta"), Blank():
                return build(config, checked, critics=False)[1].model
    except GenzooError as e:
        raise GenzooError(one_line(f"the weights in {folder} cannot be loaded: {e}")) from e
    except Exception as e:  # whatever a network's constructor makes of options that make no sense
        if not storage and isinstance(e, (NotImplementedError, RuntimeError)):
            return None
        why = one_line(f"{type(e).__name__}: {e}", 200)
        raise GenzooError(f"{folder / CONFIG} describes no model that can be built ({why})") from e


def _compare(path: Path, infos: Mapping[str, TensorInfo], model: Model) -> None:
    """Refuse tensors that do not fit the model that the config describes."""
    expected = model.state_dict()
    odd = sorted(set(infos) ^ set(expected))
    if odd:
        how = "not expected" if odd[0] in infos else "missing"
        raise GenzooError(f"{path} does not fit its config: tensor {odd[0]!r} is {how}")
    for name, tensor in expected.items():
        shape, dtype = infos[name].shape, DTYPES[infos[name].dtype]
        if shape != tuple(tensor.shape):
            raise GenzooError(
                f"{path} does not fit its config: tensor {name!r} has shape {shape}, not {tuple(tensor.shape)}"
            )
        smaller = tensor.dtype == torch.float32 and dtype in (torch.float16, torch.bfloat16)
        if dtype != tensor.dtype and not smaller:
            raise GenzooError(
                f"{path} does not fit its config: tensor {name!r} is of dtype {dtype}, not {tensor.dtype}"
            )


def _complete(model: Model, tensors: Mapping[str, Tensor]) -> bool:
    """Put tensors into a model without storage; False if something that is not saved is then still missing."""
    model.load_state_dict(dict(tensors), assign=True)
    return not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
