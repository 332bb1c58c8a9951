"""From the arguments of a command to what the calls take; what is wrong is refused before torch is imported."""

from __future__ import annotations

import sys
from typing import Any

from genzoo.core.distributed import env
from genzoo.core.errors import UsageError


def several(text: str) -> tuple[str, ...]:
    """The names in ``a,b,c``; raises `UsageError` for commas without any."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise UsageError(f"{text!r} names nothing: give names as a,b, or leave the option away")
    return names


def twice(what: str, *values: Any) -> UsageError:
    """What is wrong with an option that was given twice."""
    said = f" ({' and '.join(map(str, values))})" if values else ""
    return UsageError(f"{what} was given twice{said}: give it once")


def assignments(pairs: list[str] | None) -> dict[str, Any]:
    """Turn ``NAME=VALUE`` arguments into options."""
    given = dict[str, Any]()
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set takes NAME=VALUE, not {pair!r}")
        if name.strip() in given:
            raise twice(f"--set {name.strip()}", given[name.strip()], value.strip())
        given[name.strip()] = value.strip()
    return given


def checked(split: str | None, metrics: str | None, pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Refuse a split or metrics that there are not, and tell the options of metrics, data and samples apart."""
    _split(split)
    from genzoo.registry import the_registry
    from genzoo.registry.defaults import choose

    choose(the_registry(), metrics)
    given = assignments(pairs)
    found: dict[str, dict[str, Any]] = {"options": {}, "data_options": {}, "samples_options": {}}
    for name, value in given.items():
        side, _, option = name.partition(".")
        of_metric = side not in ("data", "samples")
        found["options" if of_metric else f"{side}_options"][name if of_metric else option] = value
    return found


def _split(split: str | None) -> None:
    if split not in (None, "train", "test", "all"):
        raise UsageError(f"--split is train, test or all, not {split!r}")


def opened(data: str, split: str | None, pairs: list[str] | None, *subjects: Any, like: Any = None) -> Any:
    """Open the data that an option names, in the form that ``subjects`` or what they are ``like`` know.

    What subjects were trained on is left out, where nothing is said.
    """
    _split(split)
    options = data_options(pairs)
    from genzoo.registry import the_registry
    from genzoo.registry.verbs.data import announce
    from genzoo.registry.verbs.subjects import open_reference

    how: Any = split
    found = open_reference(the_registry(), data, how, None, options, subjects, [like])[0]
    announce(found)
    return found


def data_options(pairs: list[str] | None) -> dict[str, Any]:
    """Options of the data set, where no others can be set."""
    given = assignments(pairs)
    for name in given:
        if not name.startswith("data."):
            from genzoo.registry import the_registry
            from genzoo.registry.verbs.data import meant_of_data

            near = meant_of_data(the_registry(), name, given[name])
            raise UsageError(f"only data.… options can be set here, not {name!r}{near}: the model is what it is")
    return {name.removeprefix("data."): value for name, value in given.items()}


def in_processes(devices: int | None, advice: str = "") -> None:
    """Where ``--devices`` asks for it, run this command line as so many processes instead, and exit as they do."""
    if devices is None or (devices == 1 and env.world() == 1):
        return
    if env.world() > 1:  # this is one of them
        if devices != env.world():
            raise UsageError(
                f"--devices {devices} does not go with the {env.world()} processes that were started: leave it out"
            )
        return
    from genzoo.core.distributed.launch import again, launch

    sys.exit(launch(again(), devices, advice=advice))
