"""The hooks that a plugin may answer. A later kind of hook is one more function here.

A plugin says with ``genzoo_api = 1`` at its module's top level which version of all this it was written for. The
number rises when a plugin that keeps to these pages would have to change; new hooks and kinds alone do not raise it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from genzoo.core.errors import GenzooError

if TYPE_CHECKING:
    from genzoo.core.training.run_view import RunView
    from genzoo.core.training.trainer import Observer
    from genzoo.registry.registrar import Registrar

API, OLDEST_API = 1, 1  # the plugin API of this genzoo, and the oldest that it still takes

hookspec = pluggy.HookspecMarker("genzoo")
hookimpl = pluggy.HookimplMarker("genzoo")


@hookspec
def genzoo_register(registry: Registrar) -> None:
    """Register what the plugin adds: names and ``"package.module:attribute"`` targets, nothing imported."""


@hookspec
def genzoo_observers(run: RunView) -> Observer | list[Observer] | None:
    """Give what watches a run of training: a `genzoo.core.training.trainer.Observer`, several, or None.

    It is asked once for every run, on process 0, before the first step; torch may be imported by then, and not before.
    An observer may read and log (``run.log({"name": number})``) and write files of its own. It must not change what is
    trained; a failure ends its watching with one line, and never the training.
    """


def other_api(said: object) -> str:
    """What to say of a plugin with this ``genzoo_api``, "" if it suits; raises GenzooError if that is no number."""
    if isinstance(said, bool) or not isinstance(said, int):
        raise GenzooError(f"has genzoo_api = {said!r}, where the number of a plugin API belongs, such as {API}")
    if OLDEST_API <= said <= API:
        return ""
    what = "genzoo" if said > API else "the plugin"
    return f"was written for plugin API {said}, and this genzoo takes {OLDEST_API} to {API}: upgrade {what}"
