"""What somebody gives a page to look at: a file, a line of text, or the number of an observation of the data."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.text import one_line
from genzoo.plugins.apps.explore.subject import LARGEST, Subject
from genzoo.registry.verbs.subjects import open_subject, options_of_samples

ARRAYS = (".npy", ".npz")


def observed(subject: Subject, file: str | None, typed: str, number: float | None) -> Tensor:
    """Observations ``(N, …)`` in data units as a model takes them: of a file, else what was typed, else of the data.

    Raises:
        UsageError: in a sentence that says what to give, for what cannot be read.
    """
    if file:
        return _of_file(subject, Path(file))
    if typed.strip():
        return as_taken(subject, subject.kind.typed(subject.spec, typed.strip()))
    data = subject.unseen if subject.unseen is not None else subject.training
    if data is None or number is None:
        typing = " or type one" if subject.kind.asks else ""
        raise UsageError(f"give a file with {subject.kind.many}{typing}")
    if not 0 <= number < len(data) or number != int(number):
        raise UsageError(f"the data has observations 0 to {len(data) - 1:,}, and no {number:g}")
    return as_taken(subject, as_floats(data.take([int(number)])))


def label_of(subject: Subject, file: str | None, typed: str, number: float | None) -> str:
    """The class of what `observed` gives, where the data say it."""
    data = subject.unseen if subject.unseen is not None else subject.training
    if file or typed.strip() or data is None or data.y is None or number is None or not 0 <= number < len(data):
        return ""
    names, told = subject.classes, data.take([int(number)]).told(subject.model)["labels"]
    return names[int(told[0])] if names and told is not None else ""


def as_taken(subject: Subject, x: Tensor) -> Tensor:
    """Observations as saved, and of levels the likelier one."""
    kind, spec = subject.kind, subject.spec
    kind.checked(spec, again := kind.again(spec, kind.from_storage(spec, kind.to_storage(spec, x))), "the model")
    return again


def _of_file(subject: Subject, path: Path) -> Tensor:
    """All that a file holds, brought to the model's form, to 64 observations."""
    kind, name = subject.kind, path.name
    try:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(path, Path(folder) / name)
            if path.suffix.lower() not in ARRAYS and kind.opens(Path(folder)):  # which is brought to the model's size
                given = _read(subject, Path(folder))
            elif path.suffix.lower() in ARRAYS or kind.opens(path):
                given = _read(subject, path)
            else:
                raise UsageError(f"it is no file of {kind.many}")
    except GenzooError as e:
        why = one_line(str(e)).replace(os.fspath(path), name)
        raise UsageError(f"{name} cannot be used: {why}; give {_wanted(subject)}") from e
    except (OSError, ValueError, RuntimeError) as e:
        raise UsageError(f"{name} cannot be read: give {_wanted(subject)}") from e
    return as_taken(subject, given[:LARGEST])


def _read(subject: Subject, path: Path) -> Tensor:
    spec = subject.spec
    options = options_of_samples(None, subject.kind.reading(spec))
    _, found, _ = open_subject(path, spec, subject.model.device, options)
    if found is None or not len(found):
        raise UsageError(f"it holds no {subject.kind.many}")
    return as_floats(found)


def _wanted(subject: Subject) -> str:
    """What would be a file of a model's kind, in words."""
    own = [s for s in subject.kind.suffixes if s != "/"]
    alone = "a picture (.png, .jpg), " if subject.kind.pixels else ""
    return f"{alone}{''.join(f'{s}, ' for s in own)}or an .npz with an array of {subject.kind.describe(subject.spec)}"
