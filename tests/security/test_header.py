"""The header of a safetensors file: what is refused, by name, and that what is accepted the library accepts too."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load as library_load
from safetensors.torch import save as library_save

from genzoo.core.errors import GenzooError
from genzoo.core.storage.weights import DTYPES, TensorInfo, largest_header, read_header, read_tensors

Pack = Callable[..., bytes]


def one(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def why(content: bytes) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read_header(content, len(content))
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_places_of_tensors(pack: Pack) -> None:
    content = pack({"b": one("I64", (1,), (8, 16)), "a": one(), "__metadata__": {"format": "pt"}}, bytes(16))
    begin = len(content) - 16
    assert list(read_header(content, len(content)).items()) == [
        ("a", TensorInfo("F32", (2,), begin, begin + 8)),
        ("b", TensorInfo("I64", (1,), begin + 8, begin + 16)),
    ]


def test_every_dtype_reads_as_the_library_reads_it(tmp_path: Path) -> None:
    tensors = {k: (torch.arange(6).reshape(2, 3) % 2).to(t) for k, t in DTYPES.items()}
    tensors |= {"scalar": torch.tensor(2.5), "none": torch.empty(0, 3)}
    content = library_save(tensors)
    (tmp_path / "x").write_bytes(content)
    ours, theirs = read_tensors(tmp_path / "x"), library_load(content)
    assert set(ours) == set(tensors) == set(theirs)
    for name, t in theirs.items():
        assert ours[name].dtype == t.dtype
        assert ours[name].shape == t.shape
        assert torch.equal(ours[name], t)


def test_tensors_that_lie_askew_are_read(pack: Pack, tmp_path: Path) -> None:
    values = struct.pack("<B2f", 7, 1.5, -2.0)
    (tmp_path / "x").write_bytes(pack({"a": one("U8", (1,), (0, 1)), "b": one(offsets=(1, 9))}, values))
    read = read_tensors(tmp_path / "x")
    assert read["a"].tolist() == [7]
    assert read["b"].tolist() == [1.5, -2.0]
    assert read["b"].data_ptr() % 4 == 0


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": one(offsets=(0, 9))}, 8, "'a' claims the bytes 0 to 9 of 8"),
        ({"a": one(offsets=(8, 0))}, 8, "'a' claims the bytes 8 to 0"),
        ({"a": one(offsets=(-8, 0))}, 8, "'a' has data_offsets that are not two whole numbers"),
        ({"a": one(offsets=(0,))}, 8, "data_offsets"),
        ({"a": one(offsets=(0, 8, 8))}, 8, "data_offsets"),
        ({"a": one(offsets=(0.0, 8.0))}, 8, "data_offsets"),
        ({"a": one(offsets=(False, 8))}, 8, "data_offsets"),
        ({"a": one(offsets=(2**63, 2**63 + 8))}, 8, "claims"),
        ({"a": one(shape=(3,))}, 8, "'a' of F32 and shape (3,) does not take 8 bytes"),
        ({"a": one(shape=(2**40, 2**40))}, 8, "does not take 8 bytes"),
        ({"a": one(shape=(2**32, 2**32))}, 8, "does not take"),  # 2**64 elements are 0 in 64 bits
        ({"a": one(shape=(-1, -2))}, 8, "shape"),
        ({"a": one(shape=("2",))}, 8, "shape"),
        ({"a": one(shape=(True, 2))}, 8, "shape"),
        ({"a": one(shape=[1] * 8 + [2])}, 8, "at most 8"),
        ({"a": one("F8_E4M3", (8,))}, 8, "dtype 'F8_E4M3'"),
        ({"a": one("f32")}, 8, "dtype"),
        ({"a": {**one(), "dtype": ["F32"]}}, 8, "dtype"),
        ({"a": {**one(), "extra": 1}}, 8, "'a' needs dtype, shape and data_offsets, and nothing else"),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "needs"),
        ({"a": [1, 2]}, 8, "needs"),
        ({"a": None}, 8, "needs"),
        ({"a": one(), "b": one()}, 8, "'b' and 'a' overlap"),
        ({"a": one(), "b": one(offsets=(4, 12))}, 12, "overlap"),
        ({"a": one(), "b": one(offsets=(12, 20))}, 20, "'b' and 'a' leave a hole"),
        ({"a": one(offsets=(4, 12))}, 12, "'a' and the header leave a hole"),
        ({"a": one()}, 12, "end at byte"),
        ({}, 4, "end at byte"),
        ({"": one()}, 8, "no tensor is called that"),
        ({"a\nb": one()}, 8, "no tensor is called that"),
        ({"\x1b[31m": one()}, 8, "no tensor is called that"),
        ({"a" * 501: one()}, 8, "no tensor is called that"),
        ({"a": one(), "__metadata__": {"x": 1}}, 8, "__metadata__"),
        ({"a": one(), "__metadata__": "x"}, 8, "__metadata__"),
        (b"[]", 0, "no list of tensors"),
        (b"", 0, "no JSON"),
        (b'{"a"', 0, "no JSON"),
        (b'{"a": {"dtype": "F32", "shape": [[[2]]], "data_offsets": [0, 8]}}', 8, "nest deeper than 3"),
        (b"[" * 1000, 0, "nest deeper"),
        (b'{"a": NaN}', 0, "NaN"),
        (b'{"a": 1, "a": 2}', 0, "'a' twice"),
        (b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}', 8, "'dtype' twice"),
        (b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 8]}}', 8, "5000 digits"),
        (b"\xff\xfe{}", 0, "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), 0, "not UTF-8"),
    ],
)  # fmt: skip
def test_what_does_not_add_up(pack: Pack, header: Any, data: int, words: str) -> None:
    assert words in why(pack(header, bytes(data)))


@pytest.mark.parametrize("length", [3, 100, 2**31, 2**63, 2**64 - 1])
def test_lengths_that_are_not_there(length: int) -> None:
    assert "claims" in why(length.to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x02\x00\x00\x00\x00\x00\x00"])
def test_files_that_are_too_short(content: bytes) -> None:
    assert "takes 8" in why(content)


def test_a_header_of_a_million_tensors_costs_nothing(pack: Pack) -> None:
    row = ',"t%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = "{" + "".join(row % i for i in range(10**6))[1:] + "}"
    content = pack(header.encode())
    tracemalloc.start()
    start = time.perf_counter()
    assert "are read" in why(content)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_the_longest_header_takes_memory_in_proportion() -> None:
    for item in (b"[],", b'{"":1},', b'"a",'):
        for size in (2**16,):
            raw = b'{"a":[' + item * (largest_header(size) // len(item) - 9) + b"1]}"
            content = len(raw).to_bytes(8, "little") + raw + bytes(size)
            tracemalloc.start()
            why(content)
            assert tracemalloc.get_traced_memory()[1] < max(2 * size, 2**25)
            tracemalloc.stop()


def test_a_zip_or_pickle_in_disguise_is_never_run(tmp_path: Path) -> None:
    import io

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    zipped = io.BytesIO()
    torch.save(Evil(), zipped)
    import pickle

    for content in (zipped.getvalue(), pickle.dumps(Evil()), b"PK\x03\x04" * 99, b"GIF89a" * 9, b"\x93NUMPY" * 9):
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(GenzooError, match="no safetensors file"):
            read_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_whatever_is_accepted_the_library_accepts_with_the_same_numbers(pack: Pack) -> None:
    """Every single-number change of a small header."""
    header = {"a": one(), "b": one("I64", (1,), (8, 16)), "c": one("F16", (2, 2), (16, 24))}
    data = bytes(range(24))
    accepted = 0
    text = json.dumps(header)
    for at in range(len(text)):
        for new in '0123456789]},"F':
            content = pack((text[:at] + new + text[at + 1 :]).encode(), data)
            try:
                infos = read_header(content, len(content))
            except ValueError:
                continue
            accepted += 1
            try:
                theirs = library_load(content)
            except SafetensorError as e:  # pragma: no cover
                raise AssertionError(f"accepted {content!r}, which the library refuses: {e}") from e
            assert {k: v.shape for k, v in infos.items()} == {k: tuple(t.shape) for k, t in theirs.items()}
            for name, info in infos.items():
                assert theirs[name].numpy().tobytes() == content[info.start : info.end]
    assert accepted > 10  # other names, swapped dtypes of one size
