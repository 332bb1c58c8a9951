"""What the fixture Hub holds: repositories with commits, branches and tags, in memory."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import yaml

LFS_ENDINGS = (".safetensors", ".png", ".wav", ".npz", ".bin", ".pt", ".pkl", ".onnx")
_START, _COUNT = datetime(2025, 1, 1, tzinfo=UTC), itertools.count()


class Refused(Exception):
    """An answer that is an error: status, the Hub's X-Error-Code, and words."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it is kept in the large file storage."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git itself keeps of a large file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def oid(self) -> str:
        """Git's sha1 of the file, or of its pointer."""
        kept = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(kept) + kept).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    @property
    def size(self) -> int:
        return len(self.content)

    def to_json(self, path: str) -> dict[str, Any]:
        """As trees and paths-info list it."""
        large = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}} if self.lfs else {}
        return {"type": "file", "path": path, "size": self.size, "oid": self.oid, **large}

    def sibling(self, path: str, blobs: bool) -> dict[str, Any]:
        """As model info lists it."""
        entry: dict[str, Any] = {"rfilename": path}
        if blobs:
            entry |= {"size": self.size, "blobId": self.oid}
            if self.lfs:
                entry["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}
        return entry


@dataclass(frozen=True)
class Commit:
    """One instant of a repository."""

    parent: Commit | None
    title: str
    message: str
    files: dict[str, Blob]
    number: int = field(default_factory=lambda: next(_COUNT))

    @property
    def date(self) -> str:
        return (_START + timedelta(minutes=self.number)).isoformat().replace("+00:00", ".000Z")

    @cached_property
    def oid(self) -> str:
        tree = "".join(f"{path} {blob.oid}\n" for path, blob in sorted(self.files.items()))
        text = f"{self.parent.oid if self.parent else ''}\n{self.number}\n{self.title}\n{self.message}\n{tree}"
        return hashlib.sha1(text.encode()).hexdigest()

    def history(self) -> list[Commit]:
        """This commit and those before it, newest first."""
        return [self, *(self.parent.history() if self.parent else [])]


@dataclass
class Repository:
    """A model's repository."""

    id: str
    private: bool = False
    gated: str | bool = False
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        attributes = "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LFS_ENDINGS).encode()
        first = Commit(None, "initial commit", "", {".gitattributes": Blob(attributes, lfs=False)})
        self.branches.setdefault("main", first)

    def commit_at(self, revision: str) -> Commit:
        """Find a branch, a tag or a commit, which may be shortened."""
        if revision in self.branches or revision in self.tags:
            return self.branches.get(revision) or self.tags[revision]
        for tip in (*self.branches.values(), *self.tags.values()):
            for commit in tip.history():
                if len(revision) >= 7 and commit.oid.startswith(revision):
                    return commit
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def add(self, files: dict[str, bytes | Blob | None], *, branch: str = "main", title: str = "change") -> Commit:
        """Commit files (None deletes one) on a branch, as somebody else would."""
        head = self.branches[branch]
        new = dict(head.files)
        for path, content in files.items():
            if content is None:
                if path not in new:
                    raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
                del new[path]
            else:
                new[path] = content if isinstance(content, Blob) else Blob(content, path.endswith(LFS_ENDINGS))
        self.branches[branch] = Commit(head, title, "", new)
        return self.branches[branch]

    def info(self, revision: str, *, blobs: bool = False, card: bool = True) -> dict[str, Any]:
        """What model info says."""
        commit, newest = self.commit_at(revision), self.branches["main"]
        metadata = card_data(newest)
        words = [metadata.get("library_name"), metadata.get("pipeline_tag"), *(metadata.get("tags") or [])]
        if metadata.get("license"):
            words.append(f"license:{metadata['license']}")
        of_data = metadata.get("datasets") or []
        words += [f"dataset:{name}" for name in ([of_data] if isinstance(of_data, str) else of_data)]
        return {
            "_id": hashlib.md5(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "modelId": self.id,
            "author": self.id.partition("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": newest.history()[-1].date,
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(dict.fromkeys(word for word in words if word)),
            "siblings": [blob.sibling(path, blobs) for path, blob in sorted(commit.files.items())],
            **{key: metadata[key] for key in ("library_name", "pipeline_tag", "model-index") if key in metadata},
            **({"cardData": metadata} if card and metadata else {}),
        }


def card_data(commit: Commit) -> dict[str, Any]:
    """The metadata at the head of a commit's README.md."""
    text = commit.files["README.md"].content.decode() if "README.md" in commit.files else ""
    found, problems = read_metadata(text)
    return {} if problems else found


def read_metadata(text: str) -> tuple[dict[str, Any], list[str]]:
    """A card's metadata, and what the Hub would not accept in it."""
    parts = text.split("---\n")
    if not text.startswith("---\n") or len(parts) < 3:
        return {}, []
    try:
        found = yaml.safe_load(parts[1]) or {}
    except yaml.YAMLError as e:
        return {}, [f"invalid YAML: {e}"]
    if not isinstance(found, dict):
        return {}, ["the metadata must be a mapping"]
    problems = [f'"{key}" must be a string' for key in ("license", "library_name", "pipeline_tag")
                if not isinstance(found.get(key, ""), str)]  # fmt: skip
    problems += [f'"{key}" must be strings' for key in ("tags", "datasets")
                 if not all(isinstance(word, str) for word in found.get(key) or [])]  # fmt: skip
    for number, model in enumerate(found.get("model-index") or []):
        results = model.get("results") if isinstance(model, dict) and isinstance(model.get("name"), str) else None
        if not isinstance(results, list):
            problems.append(f'"model-index[{number}]" needs a name and a list of results')
            continue
        for i, result in enumerate(results):
            where = f'"model-index[{number}].results[{i}]'
            if not isinstance(result.get("task", {}).get("type"), str):
                problems.append(f'{where}.task.type" must be a string')
            if any(not isinstance(result.get("dataset", {}).get(key), str) for key in ("type", "name")):
                problems.append(f'{where}.dataset" needs type and name')
            for metric in result.get("metrics") or [{}]:
                if not isinstance(metric.get("type"), str) or "value" not in metric:
                    problems.append(f'{where}.metrics" need type and value')
    return found, problems
