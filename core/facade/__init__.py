"""genzoo: a plugin-based zoo of generative models for PyTorch.

The public calls are imported when they are used, so that ``import genzoo`` costs nothing::

    import genzoo

    run = genzoo.fit("vae", "fashion-mini", epochs=5)
    run.model.sample(64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genzoo.core import lookup as _lookup

if TYPE_CHECKING:
    from genzoo.core.data import Data as Data
    from genzoo.core.errors import GenzooError as GenzooError
    from genzoo.core.errors import UsageError as UsageError
    from genzoo.core.model import Model as Model
    from genzoo.core.networks import Critic as Critic
    from genzoo.core.networks import Encoder as Encoder
    from genzoo.core.networks import Generator as Generator
    from genzoo.core.objective import Objective as Objective
    from genzoo.core.spec import DataSpec as DataSpec
    from genzoo.plugins.apps.compare.compare import compare as compare
    from genzoo.plugins.apps.compress.compress import compress as compress
    from genzoo.plugins.apps.compress.compress import decompress as decompress
    from genzoo.plugins.apps.diagnose.diagnose import diagnose as diagnose
    from genzoo.plugins.apps.explore.explore import explore as explore
    from genzoo.plugins.apps.export.export import export as export
    from genzoo.plugins.apps.tables.complete import complete as complete
    from genzoo.registry.recipes.save import save_recipe as save_recipe
    from genzoo.registry.verbs.evaluate import evaluate as evaluate
    from genzoo.registry.verbs.fit import Run as Run
    from genzoo.registry.verbs.fit import fit as fit
    from genzoo.registry.verbs.load import create as create
    from genzoo.registry.verbs.load import list as list
    from genzoo.registry.verbs.load import list_plugins as list_plugins
    from genzoo.registry.verbs.load import load as load
    from genzoo.registry.verbs.load import load_data as load_data
    from genzoo.registry.verbs.load import show as show
    from genzoo.registry.verbs.prior import fit_prior as fit_prior
    from genzoo.registry.verbs.sample import encode as encode
    from genzoo.registry.verbs.sample import interpolate as interpolate
    from genzoo.registry.verbs.sample import reconstruct as reconstruct
    from genzoo.registry.verbs.sample import sample as sample
    from genzoo.registry.verbs.score import score as score
    from genzoo.registry.weights.locate import lock as lock
    from genzoo.registry.weights.locate import pull as pull
    from genzoo.registry.weights.push import push as push
    from genzoo.registry.weights.reproduce import reproduce as reproduce
    from genzoo.registry.weights.verify import verify as verify

_HOME = {
    "Critic": "genzoo.core.networks",
    "Data": "genzoo.core.data",
    "DataSpec": "genzoo.core.spec",
    "Encoder": "genzoo.core.networks",
    "Generator": "genzoo.core.networks",
    "GenzooError": "genzoo.core.errors",
    "Model": "genzoo.core.model",
    "Objective": "genzoo.core.objective",
    "Run": "genzoo.registry.verbs.fit",
    "UsageError": "genzoo.core.errors",
    "compare": "genzoo.plugins.apps.compare.compare",
    "complete": "genzoo.plugins.apps.tables.complete",
    "compress": "genzoo.plugins.apps.compress.compress",
    "create": "genzoo.registry.verbs.load",
    "decompress": "genzoo.plugins.apps.compress.compress",
    "diagnose": "genzoo.plugins.apps.diagnose.diagnose",
    "encode": "genzoo.registry.verbs.sample",
    "evaluate": "genzoo.registry.verbs.evaluate",
    "explore": "genzoo.plugins.apps.explore.explore",
    "export": "genzoo.plugins.apps.export.export",
    "fit": "genzoo.registry.verbs.fit",
    "fit_prior": "genzoo.registry.verbs.prior",
    "interpolate": "genzoo.registry.verbs.sample",
    "list": "genzoo.registry.verbs.load",
    "list_plugins": "genzoo.registry.verbs.load",
    "load": "genzoo.registry.verbs.load",
    "load_data": "genzoo.registry.verbs.load",
    "lock": "genzoo.registry.weights.locate",
    "pull": "genzoo.registry.weights.locate",
    "push": "genzoo.registry.weights.push",
    "reconstruct": "genzoo.registry.verbs.sample",
    "reproduce": "genzoo.registry.weights.reproduce",
    "sample": "genzoo.registry.verbs.sample",
    "save_recipe": "genzoo.registry.recipes.save",
    "score": "genzoo.registry.verbs.score",
    "show": "genzoo.registry.verbs.load",
    "verify": "genzoo.registry.weights.verify",
}

__all__ = [*_HOME, "__version__"]
_lookup.modalities = "genzoo.registry.modalities"  # core knows kinds of data as objects, the registry by name


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("genzoo")
    raise AttributeError(f"module 'genzoo' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(__all__)
