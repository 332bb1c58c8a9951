"""No way for data to become code: none in the source, and no pickle in what genzoo writes."""

from __future__ import annotations

import ast
import io
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import genzoo

ROOT = Path(__file__).parents[2]
SOURCES = [p for folder in ("core", "registry", "plugins", "cli") for p in sorted((ROOT / folder).rglob("*.py"))]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.save", "torch.jit.load", "torch.hub.load",
    "torch.package.PackageImporter", "pd.read_pickle", "yaml.load", "yaml.load_all", "yaml.full_load",
    "yaml.unsafe_load", "pickle.load", "pickle.loads", "os.system", "os.popen", "runpy.run_path",
}  # fmt: skip


def offences(tree: ast.AST) -> Iterator[str]:
    """What could turn data into code, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: import {a.name}" for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"{node.lineno}: from {node.module}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            how = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in CALLS:
                yield f"{node.lineno}: {name}"
            elif name in ("np.load", "numpy.load") and how.get("allow_pickle") != "False":
                yield f"{node.lineno}: {name} without allow_pickle=False"
            elif how.get("allow_pickle") not in (None, "False") or how.get("trust_remote_code") not in (None, "False"):
                yield f"{node.lineno}: {name} trusts"
            elif how.get("shell") not in (None, "False"):
                yield f"{node.lineno}: {name} with a shell"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_turns_data_into_code(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "yaml.load(x)", "torch.load(p)", "torch.load(p, weights_only=True)",
     "np.load(p)", "np.load(p, allow_pickle=True)", "eval(x)", "exec(x)", "import joblib.numpy_pickle", 
     "f(shell=True)"],
)  # fmt: skip
def test_the_check_itself(code: str) -> None:
    assert list(offences(ast.parse(code)))
    assert not list(offences(ast.parse("np.load(p, allow_pickle=False); model.eval(); ast.literal_eval(x)")))


def pickled(content: bytes) -> bool:
    """Whether bytes are, or a zip among them holds, a pickle."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(pickled(archive.read(n)) for n in archive.namelist())
    start = content.find(b"\x80")
    while start >= 0:
        if content[start + 1 : start + 2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            try:
                codes = [op.name for op, _, _ in pickletools.genops(content[start:])]
            except Exception:
                codes = []
            if len(codes) > 3:
                return True
        start = content.find(b"\x80", start + 1)
    return False


def test_the_scan_itself() -> None:
    saved = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, saved)
    assert pickled(saved.getvalue())
    assert pickled(b"header" + pickle.dumps({"a": [1, 2, 3]}))
    assert not pickled(b'{"a": 1}' + torch.zeros(9).numpy().tobytes())


def test_no_run_writes_a_pickle(tmp_path: Path) -> None:
    options = {"generator": "mlp", "generator.width": 8, "encoder": "mlp", "encoder.width": 8, "train.batch_size": 8,
               "train.checkpoint_every": 2}  # fmt: skip
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    genzoo.fit("vae", x, tmp_path / "run", steps=4, options=options, progress=False)
    written = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert {p.suffix for p in written} <= {".json", ".jsonl", ".safetensors", ".md", ".png"}
    assert any(p.suffix == ".safetensors" and "checkpoints" in p.parts for p in written)
    assert not [p for p in written if pickled(p.read_bytes())]
