"""JSON that can mean only one thing, read in time and memory proportional to its length."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import one_line, open_plain, parse_json, read_json, read_plain


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -5, 2**63, 1.5, "", "ü\u2028\\ud", "\U0001f600", [], {}, [[[]]], {"a": [1, {"b": None}]}, "[[[{{"],
)
def test_what_is_json_is_read_as_the_library_reads_it(value: Any) -> None:
    for ascii_ in (True, False):
        content = json.dumps(value, ensure_ascii=ascii_).encode()
        assert parse_json(content) == json.loads(content) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "'c' twice"),
        (b'{"\\u0061": 1, "a": 1}', "'a' twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e999", "1e999"),
        (b"-1e400", "-1e400"),
        (b"9" * 10_000, "10000 digits"),
        (b"18446744073709551616", "beyond 64 bits"),
        (b"-9223372036854775809", "beyond 64 bits"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b'{"a":' * 100_000, "deeper than 32"),
        (b'["' + b'[\\"' * 100_000 + b'"' + b"[" * 40, "deeper than 32"),
        (b'"\\ud800"', "not UTF-8"),
        (b'{"\\uDFFF": 1}', "not UTF-8"),
        (b'"\xff"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"", "no JSON"),
        (b"{} {}", "no JSON"),
        (b"{'a': 1}", "no JSON"),
        (b'"a\nb"', "no JSON"),
        (b"\xef\xbb\xbf{}", "no JSON"),
        (b"[1,]", "no JSON"),
        (b"0x10", "no JSON"),
    ],
)
def test_what_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_json(content)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("unit", [b"[", b"{", b'"', b'\\"', b'"[', b'"\\', b"]", b"1", b"[],", b'{"a":', b" ", b"\\"])
def test_a_megabyte_of_anything_takes_no_time(unit: bytes) -> None:
    for before in (b"", b'["'):
        start = time.process_time()
        with pytest.raises(ValueError, match=r"."):
            parse_json(before + unit * (2**20 // len(unit)))
        assert time.process_time() - start < 2


def test_only_plain_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"x" * 100)
    assert read_plain(plain) == read_plain(plain, 100) == b"x" * 100
    with pytest.raises(GenzooError, match=r"plain is larger than the 99 bytes"):
        read_plain(plain, 99)
    big = tmp_path / "big"
    with open(big, "wb") as f:
        f.truncate(10**12)  # a terabyte of nothing
    with pytest.raises(GenzooError, match="larger than the 524,288 bytes"):
        read_json(big)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GenzooError, match=r"cannot read .*folder: is a directory"):
        read_json(tmp_path / "folder")


def test_nothing_that_waits_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(tmp_path)  # a socket's path is short
        listening.bind("socket")
        done = []

        def read() -> None:
            for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/tty")):
                with pytest.raises((GenzooError, FileNotFoundError)):
                    open_plain(path)
            done.append(True)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(5)
        assert done


def test_links_lead_only_where_they_may(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "123").write_text("1")
    (tmp_path / "secret").write_text("2")
    (snapshot / "good").symlink_to("../../blobs/123")
    (snapshot / "out").symlink_to("../../../secret")
    (snapshot / "sly").symlink_to("../../blobs/../../secret")
    (blobs / "chain").symlink_to("../../secret")
    (snapshot / "chained").symlink_to("../../blobs/chain")
    (snapshot / "loop").symlink_to("loop")
    (snapshot / "gone").symlink_to("../../blobs/none")
    (snapshot / "dir").symlink_to("../../blobs")
    os.mkfifo(blobs / "pipe")
    (snapshot / "pipe").symlink_to("../../blobs/pipe")
    assert read_json(snapshot / "good", within=blobs) == 1
    with pytest.raises(GenzooError, match=r"good is a link, no plain file"):
        read_json(snapshot / "good")
    for name in ("out", "sly", "chained"):
        with pytest.raises(GenzooError, match=f"{name} is a link that leads out of"):
            read_json(snapshot / name, within=blobs)
    for name in ("loop", "dir", "pipe"):
        with pytest.raises(GenzooError):
            read_json(snapshot / name, within=blobs)
    with pytest.raises(FileNotFoundError):
        read_json(snapshot / "gone", within=blobs)


def test_text_for_a_terminal() -> None:
    assert one_line("a\x1b[31m\nb\r\u2028c") == "a [31m b c"
    assert one_line("plain  text ü") == "plain  text ü"
    assert len(one_line("x" * 10_000)) == 600
