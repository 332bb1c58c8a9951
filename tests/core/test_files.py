"""Files are whole or not there: whatever fails, whenever it fails, and if the process dies."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from genzoo.core.errors import GenzooError
from genzoo.core.storage import files
from genzoo.core.storage.files import (
    MANIFEST,
    creating_folder,
    read_manifest,
    replacing,
    update_folder,
    verify,
    write_bytes,
    write_folder,
    write_json,
    writing,
)
from genzoo.core.storage.weights import write_tensors

OLD, NEW = {"a.txt": b"old a", "b.txt": b"old b"}, {"a.txt": b"new a", "b.txt": b"new b"}


def writers(content: dict[str, bytes]) -> dict[str, Callable[[Path], None]]:
    return {name: lambda path, data=data: (path.write_bytes(data), None)[1] for name, data in content.items()}


def version(folder: Path) -> dict[str, bytes] | None:
    """What a folder holds according to its manifest, or None if it is not valid."""
    try:
        names = read_manifest(folder)
        verify(folder, names)
    except GenzooError:
        return None
    return {name: (folder / name).read_bytes() for name in names}


def calls_of(failing_at: Any, action: Callable[[], object]) -> int:
    with failing_at(-10, OSError()) as made:
        action()
    assert len(made) > 3
    return len(made)


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- one file ---------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file.txt"
    write_bytes(path, b"one")
    os.chmod(path, 0o600)
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_file_has_the_permissions_that_open_gives(tmp_path: Path) -> None:
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_the_temporary_file_ends_like_the_real_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "picture.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def half_written(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [no_space(), GenzooError("no"), KeyboardInterrupt(), ValueError("x")], ids=repr)
def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old.txt").write_bytes(b"old")
    for path in (tmp_path / "old.txt", tmp_path / "new" / "deep" / "new.txt"):
        with pytest.raises((GenzooError, KeyboardInterrupt, ValueError)):
            half_written(path, error)
    assert os.listdir(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_bytes() == b"old"


def test_whatever_call_fails_the_file_is_old_or_new(tmp_path: Path, failing_at: Any) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    for number in range(calls_of(failing_at, lambda: write_bytes(tmp_path / "probe", b"x"))):
        (tmp_path / "probe").unlink(missing_ok=True)
        path.write_bytes(b"old")
        with failing_at(number, no_space()), suppress(GenzooError):
            write_bytes(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        assert os.listdir(tmp_path) == ["file.txt"]
        with failing_at(number, failing_at.Killed()), suppress(failing_at.Killed):
            write_bytes(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        for left in tmp_path.glob(".*"):
            left.unlink()


def test_json_is_strict(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


# --- sentences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_out_of_disk(tmp_path: Path, number: int) -> None:
    with pytest.raises(GenzooError, match=f"no space left to write {tmp_path}.*untouched"), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_failures_say_why(tmp_path: Path) -> None:
    with (
        pytest.raises(GenzooError, match="cannot write x: permission denied; choose another place"),
        writing(Path("x")),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(GenzooError, match="cannot write x: encoder error"), writing(Path("x")):
        raise OSError("encoder error -2 when writing image file")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "a" / "b" / "x"):
        with pytest.raises(GenzooError, match="file is a file, not a folder"):
            write_bytes(path, b"")
    with pytest.raises(GenzooError, match="is a directory"):
        write_bytes(tmp_path, b"")


# --- folders ----------------------------------------------------------------------------------------------


def test_a_folder_comes_whole_with_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "weights"
    write_folder(folder, writers(OLD))
    assert version(folder) == OLD
    listed = json.loads((folder / MANIFEST).read_text())
    assert listed["format"] == 1
    assert listed["files"]["a.txt"] == {"size": 5, "sha256": hashlib.sha256(b"old a").hexdigest()}
    assert sorted(os.listdir(folder)) == ["a.txt", "b.txt", MANIFEST]
    assert os.listdir(folder.parent) == ["weights"]


def test_whatever_call_fails_a_new_folder_is_there_or_not(tmp_path: Path, failing_at: Any) -> None:
    total = calls_of(failing_at, lambda: write_folder(tmp_path / "probe", writers(NEW)))
    shutil.rmtree(tmp_path / "probe")
    for number in range(total):
        with failing_at(number, no_space()), suppress(GenzooError):
            write_folder(tmp_path / "up" / "weights", writers(NEW))
        if (tmp_path / "up").exists():  # only what is done after the last rename may fail unnoticed
            assert version(tmp_path / "up" / "weights") == NEW
            shutil.rmtree(tmp_path / "up")
        assert os.listdir(tmp_path) == []
        with failing_at(number, failing_at.Killed()), suppress(failing_at.Killed):
            write_folder(tmp_path / "weights", writers(NEW))
        if (tmp_path / "weights").exists():
            assert version(tmp_path / "weights") == NEW
        for left in tmp_path.iterdir():
            shutil.rmtree(left)


def test_creating_a_folder_over_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(GenzooError, match="cannot write"), creating_folder(tmp_path / "full") as temporary:
        (temporary / "x").touch()
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == ["mine"]
    (tmp_path / "empty").mkdir()
    with creating_folder(tmp_path / "empty") as temporary:
        (temporary / "x").touch()
    assert os.listdir(tmp_path / "empty") == ["x"]


def test_an_update_keeps_what_else_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("mine")
    update_folder(tmp_path, writers(OLD | {"c.txt": b"c"}))
    update_folder(tmp_path, writers(NEW))
    assert version(tmp_path) == NEW | {"c.txt": b"c"}
    (tmp_path / "c.txt").unlink()
    update_folder(tmp_path, writers(OLD))
    assert version(tmp_path) == OLD
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt", "log.jsonl", MANIFEST]


def test_an_update_does_not_vouch_for_what_it_did_not_write(tmp_path: Path) -> None:
    update_folder(tmp_path, writers(OLD | {"c.txt": b"c"}))
    (tmp_path / "c.txt").write_bytes(b"d")
    update_folder(tmp_path, writers(NEW))
    with pytest.raises(GenzooError, match=r"c\.txt is damaged"):
        verify(tmp_path, ["c.txt"])


def test_a_damaged_manifest_does_not_prevent_an_update(tmp_path: Path) -> None:
    update_folder(tmp_path, writers(OLD))
    (tmp_path / MANIFEST).write_text("{")
    update_folder(tmp_path, writers(NEW))
    assert version(tmp_path) == NEW


@pytest.mark.slow
def test_whatever_call_fails_an_update_is_never_a_mixture(tmp_path: Path, failing_at: Any) -> None:
    folder = tmp_path / "weights"
    update_folder(folder, writers(OLD))
    seen = set()
    for number in range(calls_of(failing_at, lambda: update_folder(folder, writers(OLD)))):
        for error in (no_space(), failing_at.Killed()):
            update_folder(folder, writers(OLD))
            with failing_at(number, error) as made, suppress(GenzooError, failing_at.Killed):
                update_folder(folder, writers(NEW))
            now = version(folder)
            assert now in (OLD, NEW, None)
            seen.add("old" if now == OLD else "new" if now == NEW else "incomplete")
            if isinstance(error, OSError) and made[number] not in ("unlink", "rmdir"):
                assert now in (OLD, NEW)  # even if it is a rename that fails
                assert not list(folder.glob(".*"))
            update_folder(folder, writers(NEW))  # what is left behind is no obstacle, and goes
            assert version(folder) == NEW
            assert sorted(os.listdir(folder)) == ["a.txt", "b.txt", MANIFEST]
    assert seen == {"old", "new", "incomplete"}


def test_a_full_disk_leaves_the_earlier_version(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    update_folder(folder, writers(OLD))

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise no_space()

    for content in ({"a.txt": full}, {**writers(NEW), "c.txt": full}):
        with pytest.raises(GenzooError, match="no space left"):
            update_folder(folder, content)
        assert version(folder) == OLD
        assert sorted(os.listdir(folder)) == ["a.txt", "b.txt", MANIFEST]
    with pytest.raises(GenzooError, match="no space left"):
        update_folder(tmp_path / "up" / "new", {"a.txt": full})
    with pytest.raises(GenzooError, match="no space left"):
        write_folder(tmp_path / "up" / "new", {"a.txt": full})
    assert os.listdir(tmp_path) == ["weights"]


# --- verification -----------------------------------------------------------------------------------------


def test_every_flipped_byte_and_every_truncation_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    write_folder(folder, writers(OLD))
    path, whole = folder / "a.txt", OLD["a.txt"]
    damaged = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    for content in (*damaged, *(whole[:i] for i in range(len(whole))), whole + b"!"):
        path.write_bytes(content)
        with pytest.raises(GenzooError, match=r"a\.txt is damaged: its content does not match manifest\.json"):
            verify(folder, ["a.txt", "b.txt"])
    path.write_bytes(whole)
    verify(folder, ["a.txt", "b.txt"])
    with pytest.raises(GenzooError, match=r"holds no c\.txt"):
        verify(folder, ["c.txt"])
    path.unlink()
    with pytest.raises(GenzooError, match=r"a\.txt is missing"):
        verify(folder, ["a.txt"])
    path.mkdir()
    with pytest.raises(GenzooError, match=r"a\.txt is missing"):
        verify(folder, ["a.txt"])


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "weights", writers(OLD))

    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sha256", fail)
    with pytest.raises(GenzooError, match=r"cannot read .*a\.txt: input/output error"):
        verify(tmp_path / "weights", ["a.txt"])
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(GenzooError, match=r"cannot read .*manifest\.json: is a directory"):
        read_manifest(tmp_path)


# --- tensors ----------------------------------------------------------------------------------------------


def test_equal_tensors_give_equal_bytes_whatever_their_order_and_layout(tmp_path: Path) -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor([1, 2])
    write_tensors(tmp_path / "1", {"a": a, "b": b})
    write_tensors(tmp_path / "2", {"b": b, "a": a.T.contiguous().T.requires_grad_()})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_tied_tensors_are_written(tmp_path: Path) -> None:
    a = torch.arange(6.0)
    write_tensors(tmp_path / "tied", {"one": a, "two": a, "part": a[:2], "none": torch.empty(0), "no": torch.empty(0)})
    stored = load_file(tmp_path / "tied")
    assert torch.equal(stored["one"], a)
    assert torch.equal(stored["two"], a)
    assert torch.equal(stored["part"], a[:2])


def test_a_full_disk_under_tensors_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores SIGXFSZ, so writes fail with EFBIG
    try:
        with pytest.raises(GenzooError, match="no space left to write"), replacing(path) as temporary:
            write_tensors(temporary, {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
