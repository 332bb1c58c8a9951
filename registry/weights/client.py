"""huggingface_hub's client as genzoo uses it: how long it waits, what its failures mean. It takes long to import."""

from __future__ import annotations

import errno
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO, TypeVar

from huggingface_hub import HfApi, constants, hf_hub_url

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.notebook import shows_progress
from genzoo.core.text import one_line
from genzoo.registry.weights.base import COMMIT, Listing, OutOfReach, Remote, hub_cache

# They export names in ways that type checkers do not see.
errors: Any = import_module("huggingface_hub.errors")
library: Any = import_module("huggingface_hub.utils")
constants.HF_HUB_DISABLE_TELEMETRY = True
TRIES = 4  # of a request that failed in a way that may pass, and brought nothing
LOGIN = "log in with 'hf auth login' or set HF_TOKEN"
_CONTENT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
Result = TypeVar("Result")

# What is said of a status, or of an error of that name.
_READING: dict[int | str, str] = {
    "GatedRepoError": "{repository} is gated: ask for access at {hub}/{repository}, and {login} of that account",
    "RevisionNotFoundError": "{repository} on {hub} has no revision {revision!r}{near}",
    "RepositoryNotFoundError": "there is no model {repository} on {hub} that you may see: check the name; if it is "
                               "private, {login}; another Hub is named with HF_ENDPOINT",
    401: "{hub} does not let you read {repository} (401): {login} of an account that may",
    403: "{hub} does not let you read {repository} (403): {login} of an account that may",
    429: "{hub} takes no more requests for now (429): wait a minute, or {login}",
}  # fmt: skip
_PUSHING: dict[int | str, str] = {
    401: "{hub} does not accept your token: {login} anew",
    403: "your token may not write to {repository} on {hub}: use one that may, or push to a name of your own",
    412: "somebody else pushed to {repository} on {hub} meanwhile: nothing of yours was; look what is there, and push "
         "again",
    413: "{hub} has no room for {repository} (413): look at its limits",
}  # fmt: skip


class Client:
    """One repository of a Hub: what asks it is tried again where that may help, and fails in one sentence."""

    def __init__(self, endpoint: str, repository: str, *, pushing: bool = False, kind: str = "model") -> None:
        self.endpoint, self.repository, self.pushing, self.kind = endpoint, repository, pushing, kind
        self.made: dict[str, Any] = (
            {} if kind == "model" else {"repo_type": kind, "space_sdk": "gradio"}
        )  # how it is created
        self.api = HfApi(endpoint=endpoint)

    def info(self, revision: str = "") -> Any:
        """What a revision (empty: ``main``) is: its commit and files; in one request, so one answer."""
        how: dict[str, Any] = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "files_metadata": True}
        how |= {"repo_type": self.kind, "revision": revision or None}
        return self.ask(lambda: self.api.repo_info(self.repository, **how), revision)

    def listing(self, revision: str = "") -> Listing:
        """The commit that a revision is, and its files with their size and what the Hub calls their content."""
        info = self.info(revision)
        files = {
            f.rfilename: Remote(f.size, git_id=f.blob_id) if f.lfs is None else Remote(f.lfs.size, sha256=f.lfs.sha256)
            for f in info.siblings or ()
        }
        # What files will be called here are numbers, not paths.
        known = all(type(f.size) is int and _CONTENT.fullmatch(str(f.sha256 or f.git_id)) for f in files.values())
        if not known or not COMMIT.fullmatch(str(info.sha)):
            raise GenzooError(f"{self.endpoint} does not say what the files of {self.repository} are: it is no Hub")
        return Listing(info.sha, files)

    def download(self, commit: str, file: str, size: int, into: BinaryIO, *, progress: bool) -> None:
        """Append what is missing of a file of a commit."""
        self.ask(partial(self._append, commit, file, size, into, progress), commit, into.tell)

    def _append(self, commit: str, file: str, size: int, into: BinaryIO, progress: bool) -> None:
        """Ask for the rest of a file once, and append what comes."""
        from tqdm import tqdm

        if into.tell() > size:  # of another content, or by another program
            _restart(into)
        start = into.tell()
        if start == size:
            return
        headers = library.build_hf_headers() | {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        url = hf_hub_url(self.repository, file, revision=commit, endpoint=self.endpoint)
        how = {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "follow_redirects": True}
        bar = tqdm(desc=f"{self.repository}/{file}", total=size, initial=start, unit="B", unit_scale=True, leave=False,
                   disable=not (progress and shows_progress()))  # fmt: skip
        with library.get_session().stream("GET", url, **how) as response, bar:
            if response.status_code >= 400:
                response.read()
            library.hf_raise_for_status(response)
            if response.status_code != 206:  # the whole of it comes
                _restart(into)
            for piece in response.iter_raw():
                if into.tell() + len(piece) > size:
                    _restart(into)
                    raise GenzooError(f"{self.repository}'s {file} is larger than the {size:,} bytes that were said")
                into.write(piece)
                bar.update(len(piece))
        if into.tell() < size:
            raise ConnectionError(f"it sent {into.tell():,} of the {size:,} bytes of {file}")

    def ask(self, what: Callable[[], Result], revision: str = "", position: Callable[[], int] = lambda: 0) -> Result:
        """Do what asks the Hub, again if that may help; what got further is no failure."""
        failures = 0
        while True:
            before = position()
            try:
                return what()
            except GenzooError:
                raise
            except Exception as e:
                failures = 1 if position() > before else failures + 1
                if failures >= TRIES or not _passes(e):
                    raise self.explained(e, revision) from e
                time.sleep(0.3 * 2**failures)

    def explained(self, error: BaseException, revision: str = "") -> GenzooError:
        """One sentence for a failure of the client."""
        while isinstance(error, RuntimeError) and error.__cause__ is not None:  # "Error while uploading …"
            error = error.__cause__
        if isinstance(error, GenzooError):
            return error
        hub = self.endpoint
        status = getattr(getattr(error, "response", None), "status_code", 0)
        why = one_line(str(getattr(error, "server_message", None) or error) or type(error).__name__, 200)
        kinds = [*(c.__name__ for c in type(error).__mro__), status]
        tables = [_PUSHING, _READING] if self.pushing else [_READING]
        said = next((t[k] for t in tables for k in kinds if k in t), "")
        if status >= 500:
            said = f"{hub} is in trouble (it answers {status}): try again later"
        elif status and not said:
            said = "{hub} refused a request for {repository} ({status}): {why}"
        if said:
            near = did_you_mean(revision or "main", self._revisions()) if "{near}" in said else ""
            kind = OutOfReach if status == 429 or status >= 500 else GenzooError
            return kind(said.format(hub=hub, repository=self.repository, revision=revision or "main", near=near,
                                    login=LOGIN, status=status, why=why))  # fmt: skip
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return GenzooError(f"no space left in {hub_cache()}: free some, or name another place with HF_HOME")
        if isinstance(error, OSError) and error.filename:
            return GenzooError(f"cannot write {error.filename}: {(error.strerror or str(error)).lower()}")
        if isinstance(error, (errors.HTTPError, OSError)):
            return OutOfReach(f"{hub} is out of reach ({why}): check the network, HF_ENDPOINT and proxies")
        if self.pushing:
            return GenzooError(f"{hub} does not accept what is pushed to {self.repository} ({why})")
        return OutOfReach(f"{hub} does not answer as a Hub does ({type(error).__name__}: {why})")

    def _revisions(self) -> list[str]:
        with suppress(Exception):  # it is only for a hint
            refs = self.api.list_repo_refs(self.repository)
            return [r.name for r in (*refs.branches, *refs.tags)]
        return []


def _passes(error: Exception) -> bool:
    """Whether what went wrong may be over in a moment."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status:
        return status in (408, 429) or status >= 500
    nobody = "ConnectError" in {c.__name__ for c in type(error).__mro__}  # that does not pass within seconds
    return isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError)) and not nobody


def _restart(into: BinaryIO) -> None:
    into.seek(0)
    into.truncate()


@contextmanager
def quiet(endpoint: str, progress: bool) -> Iterator[None]:
    """The client's own bars or silence; its warnings are tried again, or told in one sentence."""
    log = logging.getLogger("huggingface_hub")
    level, xet = log.level, constants.HF_HUB_DISABLE_XET
    silence = not progress and not library.are_progress_bars_disabled()
    log.setLevel(logging.ERROR)
    if silence:
        library.disable_progress_bars()
    if endpoint != constants._HF_DEFAULT_ENDPOINT:
        constants.HF_HUB_DISABLE_XET = True  # other Hubs take plain uploads only
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how the client uses its own libraries
            yield
    finally:
        constants.HF_HUB_DISABLE_XET = xet
        log.setLevel(level)
        if silence:
            library.enable_progress_bars()
