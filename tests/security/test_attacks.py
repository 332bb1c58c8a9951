"""Folders made to run code, to leave their place, or to take all memory: each is refused in one sentence."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.core.storage.files import MANIFEST

Refuse, Edit = Callable[..., str], Callable[..., None]
EVIL = [
    "os:system", "os.system", "builtins:eval", "torch.nn:Linear", "genzoo.plugins.nets.mlp:MLPGenerator", "evil_module",
    "evil_module:Net", "../evil_module", "/tmp/evil_module.py", "file:///etc/passwd", "hf:org/name", "__main__:x",
    "nets:os.system", ":mlp", "mlp:", "mlp\x00", "mlp\n", "MLP ", "", "\x1b]0;evil\x07", "\u202emlp", "a" * 900,
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["generator", "objective", "likelihood"])
def test_names_are_looked_up_in_the_registry_alone(
    vae: Path, edit: Edit, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before, real = set(sys.modules), importlib.import_module
    asked: list[str] = []
    monkeypatch.setattr(importlib, "import_module", lambda n, *a: (asked.append(n), real(n, *a))[1])
    monkeypatch.setattr(os, "system", lambda *a: pytest.fail("a command was run"))
    edit(vae, lambda c: c[kind].update(name=name))
    refuse(vae)
    edit(vae, lambda c: c[kind].update(name="mlp", plugin=name, distribution=name, version=name))
    if name or kind != "generator":
        refuse(vae)
    assert not (tmp_path / "ran").exists()
    assert all(m.startswith("genzoo.") for m in asked)
    assert not {m for m in set(sys.modules) - before if "evil" in m}


def test_a_class_that_is_no_network_is_refused(vae: Path, edit: Edit, refuse: Refuse) -> None:
    for kind, name in (("generator", "vae"), ("objective", "mlp"), ("generator", "fashion-mini"), ("encoder", "conv")):
        edit(vae, lambda c, kind=kind, name=name: c[kind].update(name=name))
        refuse(vae)


def test_code_beside_the_weights_is_never_run(gan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = gan.parent / "ran"
    code = f"open({str(ran)!r}, 'w').close()\n"
    for name in ("__init__.py", "model.py", "config.py", "torch.py", "json.py", "conftest.py", "sitecustomize.py"):
        (gan / name).write_text(code)
    for name in ("pytorch_model.bin", "model.pt", "model.pkl", "model.ckpt", "trainer.pth"):
        os.mkfifo(gan / name)  # whoever opened it would wait for ever
    opened: list[str] = []
    real_open, real_os_open = builtins.open, os.open
    monkeypatch.setattr(builtins, "open", lambda p, *a, **k: (opened.append(str(p)), real_open(p, *a, **k))[1])
    monkeypatch.setattr(os, "open", lambda p, *a, **k: (opened.append(str(p)), real_os_open(p, *a, **k))[1])
    genzoo.load(gan)
    inside = {Path(p).name for p in opened if p.startswith(str(gan))}
    assert inside == {"config.json", "model.safetensors", MANIFEST}
    assert not ran.exists()


@pytest.mark.parametrize("made", ["config.json", "model.safetensors", MANIFEST])
@pytest.mark.parametrize("how", ["pipe", "folder", "link", "dangling", "loop", "device"])
def test_files_that_are_no_files(gan: Path, refuse_unsigned: Refuse, made: str, how: str) -> None:
    path, away = gan / made, gan.parent / "away"
    path.rename(away)
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link": away, "dangling": gan / "none", "loop": path, "device": Path("/dev/zero")}[how])
    start = time.perf_counter()
    refuse_unsigned(gan)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "..", "a/b", "a\\b", "C:model", "a\x00b", "\x1b[31m", "", "x" * 256]
)
def test_paths_in_the_manifest_stay_in_the_folder(gan: Path, refuse_unsigned: Refuse, name: str) -> None:
    manifest = json.loads((gan / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"]["config.json"]
    (gan / MANIFEST).write_text(json.dumps(manifest))
    refuse_unsigned(gan, "manifest.json is damaged")


def test_each_key_counts_once(gan: Path, refuse: Refuse) -> None:
    path = gan / "config.json"
    path.write_text(path.read_text().replace('"conditional"', '"recipe": "gan", "conditional"', 1))
    refuse(gan, "config.json is no genzoo config: it says 'recipe' twice")


@pytest.mark.parametrize("where", ["config.json", MANIFEST])
def test_json_that_explodes(gan: Path, refuse: Refuse, refuse_unsigned: Refuse, where: str) -> None:
    keys = ",".join(f'"k{i}": {i}' for i in range(10**4))
    bombs = ["[" * 10**5, '{"a":' * 10**5, '["' + "x" * 10**7 + '"]', "9" * 10**6, '{"a": 1e999}']
    bombs += ["[" + "[]," * 10**5 + "1]", f"{{{keys}}}"]
    for bomb in bombs:
        (gan / where).write_text(bomb)
        start = time.process_time()
        (refuse if where == "config.json" else refuse_unsigned)(gan, where)
        assert time.process_time() - start < 2


def numbers(kind: str, **options: Any) -> Callable[[dict[str, Any]], None]:
    return lambda c: c[kind]["options"].update(options)


def shaped(*shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda c: c["data"].update(shape=list(shape), scale=[1.0], shift=[0.0])


GREEDY: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("vae", numbers("generator", depth=10**9)),
    ("vae", numbers("generator", width=10**9)),
    ("vae", numbers("generator", width=65536, depth=64)),
    ("vae", numbers("encoder", width=65536, depth=64, taper=0.125)),
    ("vae", numbers("encoder", width=65536, depth=64, residual=True)),
    ("vae", numbers("generator", width=2**63)),
    ("vae", numbers("generator", width=-1)),
    ("vae", numbers("generator", width=True)),
    ("vae", numbers("generator", width="8")),
    ("vae", numbers("generator", width=8.0)),
    ("vae", numbers("generator", residual="false")),
    ("vae", numbers("generator", taper=0.0)),
    ("vae", lambda c: c["latent"].update(size=65536)),
    ("vae", lambda c: c["latent"].update(size=10**12)),
    ("vae", lambda c: c["data"].update(classes=10**9)),
    ("vae", lambda c: c["data"].update(classes=10**6) or c.update(conditional=True)),
    ("vae", lambda c: c["data"].update(classes=3, class_names=["a" * 5000] * 3)),
    ("vae", lambda c: c["data"].update(class_names=["a"] * 200_000, classes=200_000)),
    ("vae", lambda c: c["data"].update(levels=10**9)),
    ("vae", lambda c: c["data"].update(scale=[1.0] * 10_000)),
    ("vae", shaped(2**31)),
    ("vae", shaped(2**40)),
    ("vae", shaped(*[2**15] * 8)),
    ("vae", shaped(*[1] * 9)),
    ("vae", shaped(65536, 65536)),
    ("gan", numbers("generator", residual=16)),
    ("gan", numbers("generator", residual=10**6)),
    ("gan", numbers("generator", width=1024, max_width=8192, residual=16)),
    ("gan", shaped(2**20, 128, 128)),
    ("gan", shaped(1, 128, 128)),
    ("gan", shaped(1, 10**6, 10**6)),
]


@pytest.mark.parametrize(("name", "change"), GREEDY)
def test_sizes_that_the_file_does_not_hold(
    vae: Path, gan: Path, edit: Edit, refuse: Refuse, name: str, change: Callable[[dict[str, Any]], None]
) -> None:
    folder = vae if name == "vae" else gan
    genzoo.load(folder)
    edit(folder, change)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(folder)
    assert time.process_time() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -100, -4, -1])
def test_tensors_that_were_cut_short(vae: Path, refuse: Refuse, keep: int) -> None:
    path = vae / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refuse(vae, "model.safetensors is no safetensors file")


def test_two_tensors_of_one_place(
    vae: Path, refuse: Refuse, pack: Callable[..., bytes], unpack: Callable[..., Any]
) -> None:
    path = vae / "model.safetensors"
    header, data = unpack(path.read_bytes())
    a, b = "generator.hidden.0.0.bias", "generator.hidden.1.0.bias"
    header[b]["data_offsets"] = header[a]["data_offsets"]
    path.write_bytes(pack(header, data))
    refuse(vae, "overlap", "bias")


def test_a_file_that_is_swapped_for_a_later_format_says_so(vae: Path, edit: Edit, refuse: Refuse) -> None:
    edit(vae, lambda c: c.update(format=3))
    refuse(vae, "format 3", "upgrade")


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "\r", "\x9b31m", "\u2028", "\x00"])
@pytest.mark.parametrize("where", ["recipe", "name", "class"])
def test_text_that_acts_on_a_terminal(vae: Path, edit: Edit, refuse: Refuse, text: str, where: str) -> None:
    def change(c: dict[str, Any]) -> None:
        if where == "recipe":
            c["recipe"] = text
        elif where == "name":
            c["data"]["name"] = text
        else:
            c["data"].update(classes=1, class_names=[text])

    edit(vae, change)
    refuse(vae, "one line of text")
