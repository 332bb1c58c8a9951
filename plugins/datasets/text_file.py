"""A user's own file of texts, and one that comes with genzoo."""

from __future__ import annotations

import lzma
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.data.rows import read as all_rows
from genzoo.core.data.summary import Read
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


@dataclass(frozen=True)
class TextOptions(DataSource.Options):
    """Options of all texts."""

    tokens: Literal["characters", "bytes", "bpe"] = option("characters", "what a token is")
    length: int = option(160, "longest text in characters, or bytes; longer ones are left out", low=1, high=4096)
    pieces: int = option(512, "kinds of pieces of byte-level BPE, learnt from the training texts", low=243, high=10_000)


def data_of(texts: list[str], y: Any, o: TextOptions, name: str, license: str = "") -> Data:
    """Texts without those that are too long or there before, so that none is both trained on and tested."""
    from genzoo.plugins.modalities import alphabet as tokens

    first = dict.fromkeys(texts)
    labels = None if y is None else dict(zip(reversed(texts), reversed(y), strict=True))
    unit = "characters" if o.tokens == "characters" else "bytes"
    sizes = {text: len(text if unit == "characters" else tokens.whole(text).encode()) for text in first}
    kept = [text for text in first if sizes[text] <= o.length]
    if not kept:
        least = min(sizes.values())
        way = f"--set data.length={least}" if least <= 4096 else "split it into lines of at most 4096"
        raise UsageError(f"{name} has no text of at most {o.length} {unit}, the shortest has {least:,}: {way}")
    notes = []
    if len(first) < len(texts):
        notes.append(f"{len(texts) - len(first):,} texts that are there twice are left out")
    if len(kept) < len(first):
        notes.append(f"{len(first) - len(kept):,} texts of more than {o.length} {unit} are left out: "
                     "--set data.length=… takes longer ones")  # fmt: skip
    plain = from_arrays(kept, None if labels is None else [labels[text] for text in kept], name=name, modality="text",
                        license=license)  # fmt: skip
    facts: dict[str, Any] = {
        "tokens": o.tokens,
        "alphabet": tokens.alphabet_of(kept) if o.tokens == "characters" else "",
    }
    if o.tokens == "bpe":
        learnt = parted(replace(plain, rows=torch.arange(len(kept))), "train").rows
        facts["merges"] = tokens.learn([kept[int(i)] for i in all_rows(learnt, "cpu")], o.pieces)
    longest = tokens.longest(kept, facts) + 1
    spec = DataSpec("text", (longest,), tokens.levels(facts), plain.spec.classes, plain.spec.class_names, name=name,
                    facts=facts)  # fmt: skip
    rows = tokens.encode(kept, facts, longest)
    lost = int((rows == tokens.UNKNOWN).sum())
    if lost:
        notes.append(f"{lost:,} characters that are rare or of control are unknown: --set data.tokens=bytes keeps all")
    return replace(plain, spec=spec, rows=rows, read=Read(len(kept), "held out").noting(*notes))


@declare.dataset("text-file", summary="your .txt, .jsonl or .csv file of texts", modalities=("text",), tags=("own",))
class TextFile(DataSource):
    """Texts in a file: the lines or paragraphs of ``.txt``, the objects of ``.jsonl``, the rows of ``.csv``.

    Of the latter two the column ``text`` is read, with labels under ``label``. UTF-8 only. Texts that are there
    twice are taken once; a tenth is held out to test, with seed 0.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        path: str = option("", "the file")
        split: Literal["line", "paragraph"] = option("line", "what a text is in a .txt file")
        column: str = option("text", "which column or key is the text")

    options: Options

    def read(self, split: Split) -> Data:
        from genzoo.plugins.modalities import text_files

        o = self.options
        if not o.path:
            raise UsageError("the data set 'text-file' needs a path: give the file itself, --data FILE.txt")
        path = Path(o.path).expanduser()
        label = {"auto": "", "none": None}.get(o.labels, o.labels)
        texts, y = text_files.read(path, text_files.How(o.split, o.column, label))
        return parted(data_of(texts, y, o, path.stem), split)

    def own_splits(self) -> bool:
        return False


def bundled(file: Path) -> list[str]:
    """The lines of a compressed file that comes with genzoo."""
    try:
        return lzma.decompress(file.read_bytes()).decode().split("\n")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as e:
        raise GenzooError(f"{file}, which comes with genzoo, is damaged ({e}): install genzoo again") from None


def parted(whole: Data, split: Split) -> Data:
    """All texts, or those to train on, or the tenth that is held out with seed 0."""
    if split == "all" or len(whole) < 2:
        lone = ("there is one text alone: it is trained on and tested, too",) * (split != "all")
        return replace(whole, split=split, read=replace(whole.read, splits="").noting(*lone))
    held = len(whole) // 10 or 1
    train, test = whole.hold_out(held, seed=0)
    read = replace(whole.read, others=(("held out", held),) if split == "train" else ())
    return replace(train if split == "train" else test, split=split, read=read)


@declare.dataset(
    "kjv-mini",
    summary="3,000 verses of the King James Bible that come with genzoo",
    modalities=("text",),
    tags=("bundled",),
)
class KJVMini(DataSource):
    """3,000 verses of at most 160 characters of the King James Bible, evenly over all of it: 2,700 and 300 to test.

    The text is in the public domain; it was taken from Debian's package ``bible-kjv-text``.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        """What a token is."""

    options: Options

    def read(self, split: Split) -> Data:
        texts = bundled(Path(__file__).parent / "kjv_mini.txt.xz")
        return parted(data_of(texts, None, self.options, "kjv-mini", "public domain"), split)

    def own_splits(self) -> bool:
        return False
