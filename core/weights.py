"""A weights folder: config, tensors and manifest; the same on disk, in the package and on the Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.build import Resolve, build
from genzoo.core.config import FORMAT, Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.files import Writer, verify
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
        CONFIG: lambda path: (path.write_text(config, encoding="utf-8"), None)[1],
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
    config = read_config(folder)
    try:
        # Real storage, since a network may compute with numbers while it is built; the caller's random stream is
        # left alone.
        with torch.random.fork_rng(devices=[]):
            model = build(config, resolve, critics=False)[1].model
    except GenzooError as e:
        raise GenzooError(f"the weights in {folder} cannot be loaded: {e}") from e
    except Exception as e:  # whatever a network's constructor makes of options that make no sense
        raise GenzooError(f"{folder / CONFIG} describes no model that can be built ({type(e).__name__}: {e})") from e
    path, expected, tensors = folder / TENSORS, model.state_dict(), dict[str, Tensor]()
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != set(expected):
                odd = sorted(names ^ set(expected))[0]
                raise GenzooError(f"{path} does not fit its config: tensor {odd!r} is "
                                  f"{'not expected' if odd in names else 'missing'}")  # fmt: skip
            for name, tensor in expected.items():
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(tensor.shape):
                    raise GenzooError(
                        f"{path} does not fit its config: tensor {name!r} has shape {shape}, not {tuple(tensor.shape)}"
                    )
            tensors = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as e:
        raise GenzooError(f"{path} is no safetensors file: {e}") from None
    model.load_state_dict(tensors)
    return model.to(device).requires_grad_(False).eval()
