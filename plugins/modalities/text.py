"""Texts: lines or paragraphs, as numbers of characters, bytes or pieces that end and are then padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from genzoo.core.errors import UsageError
from genzoo.core.modality import Fragment, Modality, Reading
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from genzoo.core.coding.whole import Whole
    from genzoo.core.data import Data


@declare.modality("text")
class Text(Modality):
    """Texts of at most ``shape[0] - 1`` characters, bytes or pieces: numbers of tokens, then the end, then padding.

    Data units are the numbers themselves (0 pads, 1 ends, 2 is a character that the alphabet lacks); `texts` makes
    strings of them. In model space they lie evenly in [-1, 1], as all levels do.
    """

    name: ClassVar[str] = "text"
    one: ClassVar[str] = "text"
    many: ClassVar[str] = "texts"
    preview: ClassVar[int] = 10
    gives: ClassVar[str] = "a list of str"
    reads: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".jsonl")
    units: ClassVar[str] = "numbers of tokens (0 pads, 1 ends, 2 is unknown, then the alphabet)"
    task: ClassVar[str] = "text-generation"
    asks: ClassVar[str] = "A text"

    @dataclass(frozen=True)
    class Facts:
        """What tokens are."""

        tokens: Literal["characters", "bytes", "bpe"] = option("characters", "what a token is")
        alphabet: str = option("", "the characters, in the order of their numbers from 3; of others none")
        merges: tuple[str, ...] = option((), "pairs of pieces that byte-level BPE merges, in order; of others none")

    def check(self, spec: DataSpec) -> None:
        from genzoo.plugins.modalities.pieces import FIRST, NAMES, kinds

        alphabet, characters, known = spec.facts["alphabet"], spec.facts["tokens"] == "characters", kinds(spec.facts)
        if len(spec.shape) != 1 or spec.shape[0] < 2:
            raise UsageError(f"a text's shape is its greatest length and one for the end, not {spec.shape}")
        if len(set(alphabet)) != len(alphabet) or bool(alphabet) != characters:
            raise UsageError("a text of characters has an alphabet of different ones, and other texts have none")
        if spec.facts["merges"] and spec.facts["tokens"] != "bpe":
            raise UsageError("a text that is not of BPE has no merges")
        if spec.levels != known + FIRST:
            raise UsageError(f"texts of {known} kinds of {NAMES[spec.facts['tokens']]} have {known + FIRST} levels")

    def describe(self, spec: DataSpec) -> str:
        from genzoo.plugins.modalities.pieces import FIRST, NAMES

        what = spec.facts["tokens"]
        kinds = f" of {_levels(spec) - FIRST} kinds" if what != "bytes" else ""
        return f"texts of at most {spec.shape[0] - 1} {NAMES[what]}{kinds}"

    def stored(self, spec: DataSpec) -> str:
        return "uint8" if _levels(spec) <= 256 else "int16"

    def alike(self, spec: DataSpec, other: DataSpec) -> bool:
        """Numbers of tokens say the same where the tokens are the same."""
        return (spec.modality, spec.shape, spec.facts) == (other.modality, other.shape, other.facts)

    def reading(self, spec: DataSpec) -> dict[str, str]:
        what = spec.facts["tokens"]
        found = {} if what == "characters" else {"tokens": what}
        return found | ({"pieces": str(_levels(spec) - 3)} if what == "bpe" else {})

    def as_known(self, data: Data, spec: DataSpec) -> Data:
        from genzoo.plugins.modalities.whole_texts import in_tokens_of

        return data if self.alike(spec, data.spec) else in_tokens_of(data, spec)

    def lengths(self, spec: DataSpec, x: Tensor, *, characters: bool = False) -> Tensor:
        import torch

        from genzoo.plugins.modalities.alphabet import PAD

        if characters and spec.facts["tokens"] != "characters":
            return torch.tensor([len(text) + 1 for text in self.texts(spec, x)])
        return (x.cpu() != PAD).sum(1)

    # What people give.

    def opens(self, path: Path) -> str:
        return "text-file" if path.suffix.lower() in (".txt", ".jsonl") and path.is_file() else ""

    def takes(self, x: Any) -> bool:
        return isinstance(x, (list, tuple)) and bool(x) and all(isinstance(text, str) for text in x)

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        from genzoo.core.data import Data
        from genzoo.core.data.labels import labels
        from genzoo.plugins.modalities import alphabet as tokens

        what = about.name or "the data"
        if not self.takes(x):
            raise UsageError(f"{what} is no list of strings: give texts as a list of str")
        told = labels(y, len(x), about.class_names, what)
        facts = {"tokens": "characters", "alphabet": tokens.alphabet_of(x)}
        if not facts["alphabet"]:
            raise UsageError(f"{what} has no text in it")
        length = max(map(len, x)) + 1
        spec = DataSpec("text", (length,), tokens.levels(facts), told.classes, told.names, name=about.name, facts=facts)
        rows = tokens.encode(x, facts, length)
        return told.conditioned(Data(spec, rows, told.y, about.name, about.license, about.split))

    def read_samples(self, path: Path, spec: DataSpec, **options: Any) -> Data:
        from genzoo.core.data import Data
        from genzoo.core.data.labels import known_words, labels
        from genzoo.plugins.modalities import alphabet as tokens
        from genzoo.plugins.modalities import text_files

        texts, given = text_files.read(path, text_files.How(exact=True, **options))
        told = labels(given, len(texts), (), path.name)
        own = replace(spec, classes=told.classes, class_names=told.names)
        rows = tokens.encode(texts, spec.facts, spec.shape[0])
        return known_words(Data(own, rows, told.y, path.name, split="all"), spec)

    def samples(self, x: Any, name: str, spec: DataSpec) -> Data:
        from genzoo.core.arguments import array
        from genzoo.core.data import Data

        rows = array(self.given(spec, x[:]), name)
        if tuple(rows.shape[1:]) != spec.shape:
            raise UsageError(
                f"{name} has shape {tuple(rows.shape)}: give texts as a list of str, or (N, {spec.shape[0]})"
            )
        return Data(spec, self.to_storage(spec, self.checked(spec, rows, name)), None, name, split="all")

    def given(self, spec: DataSpec, x: Any) -> Any:
        from genzoo.plugins.modalities import alphabet as tokens

        texts = [x] if isinstance(x, str) else x
        return tokens.encode(texts, spec.facts, spec.shape[0]) if self.takes(texts) else x

    def presented(self, spec: DataSpec, x: Tensor) -> Any:
        """Lists of str, of as many dimensions as there are before a text's own."""
        return self.texts(spec, x) if x.dim() < 3 else [self.presented(spec, part) for part in x]

    def typed(self, spec: DataSpec, text: str) -> Tensor:
        from genzoo.plugins.modalities import alphabet as tokens

        return tokens.encode([text], spec.facts, spec.shape[0])

    # Stored form, model space, data units: stored numbers are data units.

    def from_rows(self, spec: DataSpec, rows: Tensor) -> Tensor:
        import torch

        return rows.to(torch.float32).mul_(2 / (_levels(spec) - 1)).sub_(1)

    def to_model(self, spec: DataSpec, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != spec.shape:
            raise UsageError(f"texts of shape {tuple(x.shape[1:])} given where the model takes {spec.shape}")
        return self.from_rows(spec, x.clone())

    def to_units(self, spec: DataSpec, x: Tensor) -> Tensor:
        return x.float().add(1).mul_((_levels(spec) - 1) / 2).round_().clamp_(0, _levels(spec) - 1)

    def checked(self, spec: DataSpec, x: Tensor, who: str) -> Tensor:
        from genzoo.core.data.rows import require_finite

        low, high = require_finite(x, who)
        if low < 0 or high >= _levels(spec):
            raise UsageError(f"the data for {who} has token numbers from {low:g} to {high:g}, "
                             f"which are not 0 to {_levels(spec) - 1}: give texts as a list of str")  # fmt: skip
        return x

    def to_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        import torch

        return x.detach().round().to(getattr(torch, self.stored(spec))).cpu()

    def to_array(self, spec: DataSpec, x: Tensor, *, spare: bool = False) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self.to_storage(spec, x).numpy()
        return found

    def array_dtype(self, spec: DataSpec) -> str:
        return self.stored(spec)

    def rounded(self, spec: DataSpec, x: Tensor) -> bytes | None:
        return self.to_array(spec, x).tobytes()

    # What people get.

    def texts(self, spec: DataSpec, x: Tensor) -> list[str]:
        """Data units ``(N, L)`` as strings."""
        from genzoo.plugins.modalities import alphabet as tokens

        return tokens.decode(x, spec.facts)

    def lines(self, spec: DataSpec, x: Tensor) -> list[str]:
        return self.texts(spec, x)

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        from genzoo.plugins.modalities import text_files

        text_files.write(path, spec, ((self.texts(spec, x), y) for x, y in batches))

    def undrawn(self, spec: DataSpec, n: int) -> str:
        return "" if n <= 200 else f"a picture of {n} texts would be too long"

    def picture(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Image.Image | None:
        from genzoo.plugins.modalities import text_files

        return text_files.drawn(self.texts(spec, x[: 2 * self.preview]))

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        from genzoo.core.text import html

        items = "".join(f"<li>{html(text)}</li>" for text in self.texts(spec, x[: 2 * self.preview]))
        return Fragment(f"<ol>{items}</ol>", "", "Each line is a whole text.")

    def complaint(self, spec: DataSpec, x: Tensor) -> str:
        from genzoo.plugins.modalities.text_files import loops

        looping = sum(map(loops, self.texts(spec, x)))
        return f"{looping:,} of {len(x):,} samples loop: half of each is a few words again and again." * (
            2 * looping > len(x)
        )

    # What is compressed.

    def lossless(self, spec: DataSpec, given: Any) -> Whole:
        from genzoo.plugins.modalities import whole_texts

        return whole_texts.whole(spec, given)

    def restored(self, spec: DataSpec, whole: Whole) -> list[str]:
        from genzoo.plugins.modalities import whole_texts

        return whole_texts.texts_of(spec, whole)[0]

    def write_whole(self, path: Path, spec: DataSpec, whole: Whole) -> None:
        from genzoo.plugins.modalities import whole_texts

        whole_texts.write(path, spec, whole)

    # What fits it.

    def extractor(self, spec: DataSpec) -> str:
        return "token-runs"

    def likelihood(self, spec: DataSpec) -> str:
        return "ar-gru"

    def network(self, kind: str) -> str:
        return "text-gru" if kind == "encoder" else "mlp"

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        named = DataSpec("text", (8,), 7, classes, facts={"tokens": "characters", "alphabet": "abc "})
        return (named, DataSpec("text", (5,), 246, classes, facts={"tokens": "bytes"}))

    def random(self, spec: DataSpec, n: int, seed: int = 0, *, units: bool = False) -> Tensor:
        import torch

        g = torch.Generator().manual_seed(seed)
        length = spec.shape[0]
        whole = spec.facts["tokens"] == "characters"
        letters = (3, _levels(spec)) if whole else (3 + 97, 3 + 123)  # which are UTF-8
        rows = torch.randint(*letters, (n, length), generator=g)
        end, at = torch.randint(0, length, (n, 1), generator=g), torch.arange(length)
        x = self.from_rows(spec, torch.where(at < end, rows, (at == end).long()))
        return self.to_units(spec, x) if units else x


def _levels(spec: DataSpec) -> int:
    assert spec.levels is not None  # as `check` says
    return spec.levels
