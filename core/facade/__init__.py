"""genzoo: a plugin-based zoo of generative models for PyTorch.

The public calls are imported when they are used, so that ``import genzoo`` costs nothing::

    import genzoo

    run = genzoo.fit("vae", "fashion-mini", epochs=5)
    run.model.sample(64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.comparing import compare as compare
    from genzoo.core.data import Data as Data
    from genzoo.core.errors import GenzooError as GenzooError
    from genzoo.core.errors import UsageError as UsageError
    from genzoo.core.model import Model as Model
    from genzoo.core.networks import Critic as Critic
    from genzoo.core.networks import Encoder as Encoder
    from genzoo.core.networks import Generator as Generator
    from genzoo.core.objective import Objective as Objective
    from genzoo.core.spec import DataSpec as DataSpec
    from genzoo.diagnosing import diagnose as diagnose
    from genzoo.evaluation import evaluate as evaluate
    from genzoo.exporting import export as export
    from genzoo.publishing import push as push
    from genzoo.pulling import lock as lock
    from genzoo.pulling import pull as pull
    from genzoo.recipes import save_recipe as save_recipe
    from genzoo.reproducing import reproduce as reproduce
    from genzoo.results import encode as encode
    from genzoo.results import interpolate as interpolate
    from genzoo.results import reconstruct as reconstruct
    from genzoo.results import sample as sample
    from genzoo.training import Run as Run
    from genzoo.training import fit as fit
    from genzoo.verifying import verify as verify
    from genzoo.zoo import create as create
    from genzoo.zoo import list as list
    from genzoo.zoo import list_plugins as list_plugins
    from genzoo.zoo import load as load
    from genzoo.zoo import load_data as load_data
    from genzoo.zoo import show as show

_HOME = {
    "Critic": "genzoo.core.networks",
    "Data": "genzoo.core.data",
    "DataSpec": "genzoo.core.spec",
    "Encoder": "genzoo.core.networks",
    "Generator": "genzoo.core.networks",
    "GenzooError": "genzoo.core.errors",
    "Model": "genzoo.core.model",
    "Objective": "genzoo.core.objective",
    "Run": "genzoo.training",
    "UsageError": "genzoo.core.errors",
    "compare": "genzoo.comparing",
    "create": "genzoo.zoo",
    "diagnose": "genzoo.diagnosing",
    "encode": "genzoo.results",
    "evaluate": "genzoo.evaluation",
    "export": "genzoo.exporting",
    "fit": "genzoo.training",
    "interpolate": "genzoo.results",
    "list": "genzoo.zoo",
    "list_plugins": "genzoo.zoo",
    "load": "genzoo.zoo",
    "load_data": "genzoo.zoo",
    "lock": "genzoo.pulling",
    "pull": "genzoo.pulling",
    "push": "genzoo.publishing",
    "reconstruct": "genzoo.results",
    "reproduce": "genzoo.reproducing",
    "sample": "genzoo.results",
    "save_recipe": "genzoo.recipes",
    "show": "genzoo.zoo",
    "verify": "genzoo.verifying",
}

__all__ = [*_HOME, "__version__"]


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
