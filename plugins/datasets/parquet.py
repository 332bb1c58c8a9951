"""Pictures in .parquet files, the form in which the Hub keeps data sets of images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from genzoo.core.data.labels import in_order
from genzoo.core.errors import GenzooError, UsageError, said
from genzoo.core.storage.strict import regular
from genzoo.plugins.datasets.file_tree import COLUMNS, SPLITS, Listing, Tree, written

IMAGES = ("image", "img", "images", "picture", "pixel_values", "jpg", "png")


class Parquet(Tree):
    """The rows of one .parquet file, or of all in a folder, whose names may begin with their split."""

    def __init__(self, root: Path) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError:
            raise GenzooError(f"{root} needs pyarrow to be read: pip install 'genzoo[hub-data]'") from None
        self.root, self.notes, self.hidden, self.files, self.folders = root, [], Counter(), [], set()
        self.rows: dict[str, tuple[Any, int]] = {}  # column of pictures and row, by name
        self.parts: list[tuple[str, Any, list[str]]] = []  # split, table, names of its rows
        for path in [root] if root.is_file() else sorted(root.rglob("*.parquet")):
            try:
                schema = pq.read_schema(regular(path))
                image = _image_column(schema, path)
                table = pq.read_table(
                    path, columns=[image, *(c for c in schema.names if c != image and _plain(schema, c))]
                )
            except GenzooError:
                raise
            except Exception as e:  # pyarrow raises its own kinds
                raise GenzooError(f"{path} is damaged or no .parquet file ({str(e).splitlines()[0]})") from None
            names = [f"{path.relative_to(root if root.is_dir() else root.parent)}:{i:06}" for i in range(len(table))]
            self.rows |= {name: (table.column(image), i) for i, name in enumerate(names)}
            self.parts.append((SPLITS.get(path.stem.split("-")[0].split("_")[0].lower(), ""), table, names))
        self.files = list(self.rows)
        if not self.files:
            raise UsageError(f"{root} has no rows")

    def open(self, name: str) -> Path | bytes:
        column, i = self.rows[name]
        value = column[i].as_py()
        held = value.get("bytes") if isinstance(value, dict) else value
        if not held:
            raise GenzooError(f"{self.root}: {name} holds no picture, only where it was")
        return bytes(held)

    def listing(self, column: str) -> Listing:
        found = Listing()
        splits = [split for split, _, _ in self.parts]
        own = all(splits) and "train" in splits
        for split, _, names in self.parts:
            found.splits.setdefault(split if own else "", []).extend(names)
        if column == "none":
            return found
        said_of, declared = dict[str, str](), tuple[str, ...]()
        for _, table, names in self.parts:
            key = next((c for c in ([column] if column != "auto" else COLUMNS) if c in table.column_names), None)
            if key is None and column != "auto":
                raise UsageError(f"{self.root} has the columns {', '.join(table.column_names)} and no {column}")
            if key is None:
                continue
            declared = _declared(table.schema, key)
            values = table.column(key).to_pylist()
            if any(v is None or isinstance(v, (list, dict)) for v in values):
                raise UsageError(f"{self.root} has rows without one {key}: {said(labels='none')} leaves labels out")
            words = (
                declared[v] if declared and isinstance(v, int) and 0 <= v < len(declared) else str(v) for v in values
            )
            said_of |= dict(zip(names, words, strict=True))
        if said_of and len(said_of) == len(self.files):
            there = set(said_of.values())
            classes = [c for c in declared if c in there] if there <= set(declared) else in_order(there)
            found.classes = tuple(map(written, classes))
            number = {name: i for i, name in enumerate(classes)}
            found.labels = {name: number[word] for name, word in said_of.items()}
        return found


def _image_column(schema: Any, path: Path) -> str:
    """The column of encoded pictures: bytes, or bytes and where they were."""
    import pyarrow as pa

    def holds(name: str) -> bool:
        kind = schema.field(name).type
        inner = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return inner or (name.lower() in IMAGES and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)))

    found = [name for name in schema.names if holds(name)]
    if not found:
        raise UsageError(f"{path} has the columns {', '.join(schema.names)}, and none of them holds pictures")
    return str(next((c for c in found if c.lower() in IMAGES), found[0]))


def _plain(schema: Any, name: str) -> bool:
    """Whether a column may hold labels."""
    import pyarrow as pa

    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind))


def _declared(schema: Any, key: str) -> tuple[str, ...]:
    """Names of the classes, as the package datasets writes them into the file."""
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][key]
        return tuple(str(n) for n in feature.get("names") or ())
    except (TypeError, KeyError, ValueError, AttributeError):
        return ()
