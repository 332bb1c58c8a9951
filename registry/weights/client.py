"""huggingface_hub's client as genzoo uses it: where it goes, how long it waits, and what its failures mean.

The client is imported when the Hub is really used: it takes as long as everything else together.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.strict import one_line
from genzoo.registry.weights.layout import LIMITS

HUGGING_FACE = "https://huggingface.co"
TRIES = 4  # of a request that failed in a way that may pass
LOGIN = "log in with 'hf auth login' or set HF_TOKEN"
Result = TypeVar("Result")


class OutOfReach(GenzooError):
    """The Hub could not be asked, or had no sensible answer: what is cached may do."""


def flag(name: str) -> bool:
    """Whether an environment variable says yes, as huggingface_hub reads it."""
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")


def offline() -> bool:
    """Whether the environment forbids to ask the Hub."""
    return flag("HF_HUB_OFFLINE") or flag("TRANSFORMERS_OFFLINE")


def endpoint_of(given: str | None = None) -> str:
    """The Hub's address: what is given, ``HF_ENDPOINT``, or Hugging Face."""
    endpoint = (given or os.environ.get("HF_ENDPOINT") or HUGGING_FACE).rstrip("/")
    scheme, separator, rest = endpoint.partition("://")
    if scheme not in ("http", "https") or not separator or not rest:
        raise UsageError(f"the Hub's endpoint must be a URL such as {HUGGING_FACE}, not {endpoint!r}")
    return endpoint


def library(module: str) -> Any:
    """A module of huggingface_hub, which exports its names in ways that type checkers do not see."""
    return import_module(f"huggingface_hub.{module}")


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, by the environment of this moment; the same that the client uses."""

    def place(name: str, default: str) -> str:
        return os.path.expandvars(os.path.expanduser(os.environ.get(name) or default))

    home = place("HF_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    return Path(place("HF_HUB_CACHE", place("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))))


@dataclass(frozen=True)
class Client:
    """The Hub at one address.

    Attributes:
        endpoint: its URL.
    """

    endpoint: str

    @cached_property
    def api(self) -> Any:
        """huggingface_hub's `HfApi`."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when it is imported
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint)

    @cached_property
    def timeout(self) -> float:
        """Seconds without an answer after which a request has failed (``HF_HUB_DOWNLOAD_TIMEOUT``)."""
        try:
            return max(float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or 10), 0.1)
        except ValueError:
            return 10.0

    def info(self, repository: str, revision: str | None) -> Any:
        """Ask which commit a revision is, and for its files with size and hash; in one request, so one answer.

        Raises:
            OutOfReach: if there is no telling.
            GenzooError: if there is none, or it may not be seen.
        """

        def ask() -> Any:
            return self.api.model_info(repository, revision=revision, timeout=self.timeout, files_metadata=True)

        info = self.patiently(ask, repository, revision)
        if not info.siblings and info.sha:  # a server that lists files elsewhere only
            info.siblings = self.patiently(lambda: self._paths(repository, info.sha), repository, revision)
        return info

    def _paths(self, repository: str, commit: str) -> Any:
        from types import SimpleNamespace

        found = self.api.get_paths_info(repository, list(LIMITS), revision=commit)
        return [SimpleNamespace(rfilename=f.path, size=f.size, blob_id=f.blob_id, lfs=f.lfs) for f in found]

    def patiently(self, ask: Callable[[], Result], repository: str, revision: str | None) -> Result:
        """Do what asks the Hub, again if that may help; turn its failures into sentences."""
        try:
            return retried(ask)
        except GenzooError:
            raise
        except Exception as e:
            raise self.explained(e, repository, revision) from e

    def explained(self, error: Exception, repository: str, revision: str | None) -> GenzooError:
        """One sentence for a failure of the client."""
        errors, get_token = library("errors"), library("utils").get_token
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if isinstance(error, errors.OfflineModeIsEnabled):
            return OutOfReach("HF_HUB_OFFLINE forbids to ask it: unset it")
        if isinstance(error, errors.GatedRepoError):
            return GenzooError(
                f"{repository} is gated: ask for access at {self.endpoint}/{repository}, and {LOGIN} of that account"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            near = did_you_mean(revision or "main", self._revisions(repository))
            return GenzooError(f"{repository} on {self.endpoint} has no revision {revision or 'main'!r}{near}")
        if isinstance(error, errors.RepositoryNotFoundError):
            if get_token():
                return GenzooError(
                    f"there is no model {repository} on {self.endpoint} that your token may see: check the name, or "
                    "get access with its owner's help; another Hub is named with HF_ENDPOINT"
                )
            return GenzooError(
                f"there is no public model {repository} on {self.endpoint}: check the name; if it is private, {LOGIN}; "
                "another Hub is named with HF_ENDPOINT"
            )
        if status in (401, 403):
            return GenzooError(
                f"{self.endpoint} does not let you read {repository} ({status}): {LOGIN} of an account that may"
            )
        if status == 429:
            return OutOfReach(f"{self.endpoint} takes no more requests for now (429): wait a minute, or {LOGIN}")
        if status >= 500:
            return OutOfReach(f"{self.endpoint} is in trouble (it answers {status}): try again later")
        if status:
            return GenzooError(f"{self.endpoint} refused a request for {repository} ({status})")
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return GenzooError(f"no space left in {hub_cache()}: free some, or name another place with HF_HOME")
        if isinstance(error, OSError) and error.filename:
            return GenzooError(f"cannot write {error.filename}: {(error.strerror or str(error)).lower()}")
        why = one_line(str(error) or type(error).__name__, 120)
        if isinstance(error, (errors.HTTPError, OSError)):
            return OutOfReach(f"{self.endpoint} is out of reach ({why}): check the network, HF_ENDPOINT and proxies")
        return OutOfReach(f"{self.endpoint} does not answer as a Hub does ({type(error).__name__}: {why})")

    def _revisions(self, repository: str) -> list[str]:
        try:
            refs = self.api.list_repo_refs(repository)
        except Exception:  # it is only for a hint
            return []
        return [r.name for r in (*refs.branches, *refs.tags)]


def retried(ask: Callable[[], Result], *, again: bool = True) -> Result:
    """Do what asks the Hub, again if that may help; failures are the client's own.

    Args:
        ask: what asks.
        again: whether it may be done twice; if not, only what never left this machine is.
    """
    for tried in range(1, TRIES + 1):
        try:
            return ask()
        except Exception as e:
            wait = patience(e, tried)
            if wait is None or tried == TRIES or (wait and not again):
                raise
            time.sleep(wait)
    raise AssertionError


def patience(error: Exception, tried: int) -> float | None:
    """Seconds to wait before trying again, None if that would not help."""
    if isinstance(error, GenzooError):
        return None
    if type(error) is RuntimeError and "client has been closed" in str(error):  # by the client itself
        return 0.0
    errors = library("errors")
    response = getattr(error, "response", None)
    pause = 0.3 * 2**tried * random.uniform(0.8, 1.2)
    if response is not None:
        if response.status_code in (408, 429):
            asked = response.headers.get("Retry-After", "")
            return min(float(asked), 30) if asked.isdigit() else pause
        return pause if response.status_code >= 500 else None
    transient = isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError))
    if isinstance(error, errors.OfflineModeIsEnabled) or "ConnectError" in {c.__name__ for c in type(error).__mro__}:
        return None  # nobody is there: that does not pass within seconds
    return pause if transient else None
