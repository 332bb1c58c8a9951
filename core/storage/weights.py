"""A weights folder: config, tensors and manifest; the same on disk, in the package and on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.core.config import FORMAT, Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import Writer, text_file
from genzoo.core.storage.strict import one_line, parse_json, read_plain
from genzoo.core.storage.tensors import Storage, write_tensors

if TYPE_CHECKING:
    from genzoo.core.model import Model

CONFIG, TENSORS = "config.json", "model.safetensors"


def model_files(model: Model, storage: Storage | None = None) -> dict[str, Writer]:
    """The two files that are a model, name to writer; ``storage`` as `write_tensors` has it: the config is the same."""
    if model.config is None:
        raise GenzooError("this model was made by hand, not by genzoo.create or genzoo.fit: it has no config to save")
    config = json.dumps(model.config.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        parse_config(config.encode(), Path(CONFIG))  # what could not be read again is not written
    except UnicodeEncodeError:
        raise GenzooError("this model's config holds a name that is no text (a folder's?): rename it") from None
    return {CONFIG: text_file(config), TENSORS: lambda path: write_tensors(path, model.state_dict(), storage)}


def read_config(folder: Path, *, within: Path | None = None) -> Config:
    """Read a folder's ``config.json``; raises `GenzooError` if it has none, or one of a later format."""
    return parse_config(read_content(folder, within), folder / CONFIG)


def read_content(folder: Path, within: Path | None) -> bytes:
    """Read a folder's ``config.json`` as bytes; raises `GenzooError` if there is none."""
    try:
        return read_plain(folder / CONFIG, within=within)
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no weights: it has no {CONFIG}") from None


def parse_config(content: bytes, path: Path) -> Config:
    """Read the content of a ``config.json``; raises `GenzooError`, with its path, if it is none."""
    try:
        raw = parse_json(content)
        if not isinstance(raw, dict):
            raise ValueError("it is no object")
        number = raw.get("format")
        if type(number) is not int or number < 1:
            raise ValueError("it says no format" if number is None else "its format is no whole number from 1")
        if number > FORMAT:
            raise GenzooError(f"{path} has format {number}, and this genzoo reads up to {FORMAT}: upgrade it")
        return Config.from_dict(raw)
    except (UsageError, ValueError) as e:
        raise GenzooError(f"{path} is no genzoo config: {one_line(str(e))}") from None
