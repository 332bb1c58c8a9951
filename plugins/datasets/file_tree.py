"""Pictures in a folder or a .zip file: which files there are, what their folders mean, and which are left out."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from genzoo.core.data.labels import in_order
from genzoo.core.data.summary import SYSTEM
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import regular
from genzoo.plugins.datasets.image_files import MOST_PIXELS, SUFFIXES, is_picture

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
BESIDE = ("metadata.csv", "metadata.jsonl", "dataset.json")  # files of labels beside pictures
COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
_SYSTEM = (".ds_store", "thumbs.db", "desktop.ini", "__macosx", "@eadir", ".ipynb_checkpoints", ".git")
_RUNS = ({"config.json", "model.safetensors"}, {"log.jsonl", "checkpoints"})  # what a run's folder holds
_MOST_LABELS = 2**28  # bytes of a file of labels


class Tree:
    """The files under a folder by their names from there, with /, each found once; links are followed."""

    def __init__(self, root: Path) -> None:
        self.root, self.notes = root, list[str]()
        self.files: list[str] = []
        self.folders: set[str] = set()
        self.hidden: Counter[str] = Counter()
        seen, later = set[tuple[int, int]](), list[tuple[str, Path]]()
        try:
            self._walk("", root, seen, later)
            followed = again = 0
            while later:  # what is really here comes first, then what links lead to
                name, path = later.pop(0)
                followed, again = (
                    (followed + 1, again) if self._walk(name, path, seen, later) else (followed, again + 1)
                )
        except OSError as e:
            raise GenzooError(f"the folder {e.filename} cannot be read: {e.strerror}") from None
        if followed:
            self.notes.append(f"{followed:,} linked {'folders were' if followed > 1 else 'folder was'} followed")
        if again:
            self.hidden["links to folders that were read already"] += again

    def _walk(self, name: str, path: Path, seen: set[tuple[int, int]], later: list[tuple[str, Path]]) -> bool:
        """Find the files of a folder and those below; False if it was seen already."""
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:
            return False
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda e: e.name)
        if name and any(run <= {e.name for e in entries} for run in _RUNS):
            self.hidden["folders of genzoo's runs"] += 1
            return True
        if name:
            self.folders.add(name)
        for entry in entries:
            here = f"{name}/{entry.name}" if name else entry.name
            if what := unseen(entry.name):
                self.hidden[what] += 1
            elif _is_folder(entry):
                if entry.is_symlink():
                    later.append((here, Path(entry.path)))
                else:
                    self._walk(here, Path(entry.path), seen, later)
            else:
                self.files.append(here)
        return True

    def open(self, name: str) -> Path | bytes:
        """Where a file is."""
        return self.root / name

    def listing(self, column: str) -> Listing:
        """The pictures among the files, with labels from ``column`` of a file beside them; see `list_pictures`."""
        return list_pictures(self, column)

    def start(self, name: str) -> bytes:
        """How a file begins; nothing, if it is none that can be read."""
        try:
            with open(regular(self.root / name), "rb") as file:
                return file.read(16)
        except (OSError, GenzooError):
            return b""


class Zip(Tree):
    """The files in a .zip file by their names in it, or in the one folder that holds all pictures."""

    def __init__(self, root: Path) -> None:
        self.root, self.notes, self.hidden = regular(root), list[str](), Counter[str]()
        self.folders, self._names = set(), dict[str, str]()  # as they are in the archive
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        several = False
        try:
            with zipfile.ZipFile(root) as archive:
                for info in archive.infolist():
                    parts = [p for p in re.split(r"[/\\]", info.filename) if p not in ("", ".")]
                    if any(map(unseen, parts)):
                        self.hidden[next(filter(None, map(unseen, parts)))] += 1
                        continue
                    inside = parts if info.is_dir() else parts[:-1]
                    self.folders |= {"/".join(inside[: i + 1]) for i in range(len(inside))}
                    if not info.is_dir():
                        several |= "/".join(parts) in self._names
                        self._names["/".join(parts)] = info.filename
        except (OSError, zipfile.BadZipFile, ValueError) as e:
            raise GenzooError(f"{root} is damaged or no .zip file ({e})") from None
        if several:
            raise UsageError(f"{root} holds several files of one name: pack it anew")
        tops = {n.parts[0] if len(n.parts) > 1 else "" for n in map(PurePosixPath, self._names) if self._counts(n)}
        if len(tops) == 1 and (top := tops.pop()):  # packed from beside it
            self._names = {name.removeprefix(f"{top}/"): as_is for name, as_is in self._names.items()}
            self.folders = {name.removeprefix(f"{top}/") for name in self.folders if name != top}
        self.files = list(self._names)

    def _counts(self, name: PurePosixPath) -> bool:
        """Whether a file is a picture or holds labels; what else lies beside their folder says nothing."""
        if name.suffix.lower() in SUFFIXES or name.name.lower() in BESIDE:
            return True
        return not name.suffix and is_picture(self.start(str(name)))

    def open(self, name: str) -> Path | bytes:
        """What a file holds; refused if it unpacks to more than any picture has."""
        as_is = self._names[name]
        try:
            with self._archive().open(as_is) as file:
                held = file.read(8 * MOST_PIXELS + 1)
        except Exception as e:  # zipfile and zlib raise a dozen kinds
            raise GenzooError(f"{self.root}: {as_is} cannot be unpacked ({e})") from None
        if len(held) > 8 * MOST_PIXELS:
            raise GenzooError(f"{self.root}: {as_is} is too large for a picture")
        return held

    def start(self, name: str) -> bytes:
        with self._archive().open(self._names[name]) as file:
            return file.read(16)

    def _archive(self) -> zipfile.ZipFile:
        """The file, opened once in each process: those that were forked would share its position."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.root)
        return self._opened[1]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that leads to itself counts as a file."""
    try:
        return entry.is_dir()
    except OSError:
        if entry.is_symlink():
            return False
        raise


def unseen(name: str) -> str:
    """Why a file or folder of this name is no part of any data, "" if it may be one."""
    if name.lower() in _SYSTEM or name.startswith("._"):
        return SYSTEM
    return "hidden files" if name.startswith(".") else ""


@dataclass
class Listing:
    """The pictures of a tree.

    Attributes:
        splits: names of files by split, in order; only ``""`` where there are no splits of its own.
        labels: the class of each file by its name; empty where there are none.
        classes: their names.
        left_out: what is not read, and how often.
        notes: a sentence each.
    """

    splits: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def list_pictures(tree: Tree, column: str) -> Listing:
    """Find the pictures of a tree, their splits and classes.

    Folders are splits where there are no others, and one of them is for training. Labels are those that a file beside
    the pictures says, in ``column`` of it (``auto`` goes by the known names, ``none`` takes none), else sub-folders
    are classes where there are several.
    """
    found = Listing(left_out=Counter(tree.hidden), notes=list(tree.notes))
    pictures = []
    for name in sorted(tree.files):
        path = PurePosixPath(name)
        suffix = path.suffix.lower()
        if suffix in SUFFIXES or (not suffix and is_picture(tree.start(name))):
            pictures.append(name)
        elif path.name.lower() not in BESIDE:
            found.left_out[f"{suffix} files" if suffix else "files without a suffix"] += 1
    if not pictures:
        others = ", ".join(f"{what} {n:,}" for what, n in found.left_out.items())
        if packed := [name for name in tree.files if name.lower().endswith(".zip")]:
            raise UsageError(f"{tree.root} has no images of its own: give the .zip file, {tree.root / packed[0]}")
        raise UsageError(
            f"{tree.root} has no images: files that end in {', '.join(SUFFIXES)}"
            + (f" (it has {others})" if others else "")
        )
    tops = {name.partition("/")[0] for name in pictures}
    own = all("/" in name for name in pictures) and {SPLITS.get(t.lower()) for t in tops} >= {"train"}
    if own and all(t.lower() in SPLITS for t in tops):
        for name in pictures:
            found.splits.setdefault(SPLITS[name.partition("/")[0].lower()], []).append(name)
        parts = {top: [n for n in pictures if n.startswith(f"{top}/")] for top in sorted(tops)}
    else:
        found.splits, parts = {"": pictures}, {"": pictures}
    said = {} if column == "none" else _beside(tree, parts, column, found.notes)
    if said:
        _require_all(tree, pictures, said, found)
        classes = in_order(set(said[n] for n in pictures))
    else:
        said, classes = ({}, []) if column == "none" else _folders(tree, parts, found.notes)
    found.classes = tuple(map(written, classes))
    number = {name: i for i, name in enumerate(classes)}
    found.labels = {name: number[said[name]] for name in pictures} if classes else {}
    return found


def _folders(tree: Tree, parts: dict[str, list[str]], notes: list[str]) -> tuple[dict[str, str], list[str]]:
    """The class of each file by the sub-folder that it is in, and the classes; none unless there are several."""
    said, by_part = dict[str, str](), dict[str, set[str]]()
    deeper = set[str]()
    for top, names in parts.items():
        where = tree.root / top
        inner = {name: name.removeprefix(f"{top}/" if top else "").split("/") for name in names}
        loose = [name for name, path in inner.items() if len(path) == 1]
        within = [name for name, path in inner.items() if len(path) > 1]
        if loose and within:
            raise UsageError(
                f"{where} has images of its own ({PurePosixPath(loose[0]).name}) and in sub-folders "
                f"({inner[within[0]][0]}): move them apart, or take all without classes: --set data.labels=none"
            )
        said |= {name: inner[name][0] for name in within}
        by_part[top] = {inner[name][0] for name in within}
        deeper |= {inner[name][1] for name in within if len(inner[name]) > 2}
        depth = top.count("/") + 2 if top else 1
        inside = {
            f.split("/")[-1]
            for f in tree.folders
            if f.startswith(f"{top}/" if top else "") and f.count("/") + 1 == depth
        }
        if empty := sorted(inside - by_part[top] - set("" if top else parts)):
            named = ", ".join(map(repr, empty[:3])) + (", …" if len(empty) > 3 else "")
            notes.append(f"sub-folders without images, which are no classes: {named}")
    train = next((top for top in parts if SPLITS.get(top.lower()) == "train"), "")
    classes = by_part[train]
    if len(classes) < 2 and not any(len(here) > 1 for here in by_part.values()):
        return {}, []
    for top, here in by_part.items():
        if here - classes or bool(here) != bool(classes):
            what = f"the class {min(here - classes)!r}" if classes and here else "other sub-folders"
            raise UsageError(f"{tree.root / top} has {what} that {tree.root / train} does not have")
    if deeper:
        some = ", ".join(sorted(deeper)[:3]) + (", …" if len(deeper) > 3 else "")
        notes.append(f"folders within classes ({some}) are no classes of their own")
    return said, in_order(classes)


def _beside(tree: Tree, parts: dict[str, list[str]], column: str, notes: list[str]) -> dict[str, str]:
    """Labels that files beside the pictures say, by the names of the pictures."""
    said = dict[str, str]()
    for top in dict.fromkeys(["", *parts]):
        for name in BESIDE:
            file = f"{top}/{name}" if top else name
            if file not in tree.files:
                continue
            where = tree.open(file)
            text = (where if isinstance(where, bytes) else _content(where)).decode("utf-8-sig", "replace")
            try:
                rows = list(_rows(name, text, column))
            except (ValueError, KeyError, TypeError, IndexError, csv.Error) as e:
                raise UsageError(
                    f"{tree.root / file} is beside the pictures and cannot be read as their labels ({e}): repair it, "
                    "or --set data.labels=none"
                ) from None
            said |= {f"{top}/{picture}" if top else picture: label for picture, label in rows}
            if not rows:
                notes.append(f"{file} has no labels that are known: --set data.labels=COLUMN takes a column of it")
            else:
                notes.append(f"labels are those of {file}")
    return said


def _content(path: Path) -> bytes:
    if path.stat().st_size > _MOST_LABELS:
        raise UsageError(f"{path} is too large for a file of labels")
    return regular(path).read_bytes()


def _rows(name: str, text: str, column: str) -> Iterator[tuple[str, str]]:
    """The picture and the label of each line."""
    if name.endswith(".json"):  # of StyleGAN's tools
        for picture, label in json.loads(text).get("labels") or []:
            yield _plain(picture), json.dumps(label) if isinstance(label, (list, dict)) else str(label)
        return
    rows: list[dict[str, Any]] = (
        [json.loads(line) for line in text.splitlines() if line.strip()]
        if name.endswith(".jsonl")
        else list(csv.DictReader(io.StringIO(text)))
    )
    if not rows:
        return
    columns = {str(c).strip().lower(): c for c in rows[0]}
    files = next((columns[c] for c in FILE_COLUMNS if c in columns), None)
    wanted = [c.strip() for c in [column] if column != "auto"]
    label = next((columns[c.lower()] for c in wanted or COLUMNS if c.lower() in columns), None)
    if files is None:
        raise ValueError(f"it has the columns {', '.join(columns)} and no file_name")
    if label is None and wanted:
        raise ValueError(f"it has the columns {', '.join(columns)} and no {column}")
    for row in rows if label is not None else ():
        yield _plain(row[files]), str(row[str(label)])


def _plain(name: Any) -> str:
    return str(PurePosixPath(str(name).replace("\\", "/")))


def _require_all(tree: Tree, pictures: list[str], said: dict[str, str], found: Listing) -> None:
    """Refuse labels that some pictures lack; count those of pictures that are not there."""
    without = [name for name in pictures if name not in said]
    if without:
        some = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
        raise UsageError(
            f"{len(without):,} of {len(pictures):,} pictures in {tree.root} have no label in the file beside them "
            f"({some}): add them, or --set data.labels=none"
        )
    if gone := len(said) - len(pictures):
        found.left_out["labels of pictures that are not there"] += gone


def written(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 become question marks."""
    return name.encode(errors="replace").decode()
