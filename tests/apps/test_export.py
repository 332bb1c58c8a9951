"""`genzoo.export`: programs that other tools run, with the original's numbers, for any batch size."""

from __future__ import annotations

import json
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.model import Model
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.export import export as exporting

GREY = DataSpec.image(1, 9, 8, classes=3, class_names=("a", "b", "c"), name="small")
COLOUR = DataSpec.image(3, 8, 8, name="colour")
POINTS = DataSpec("vector", (2,), scale=(2.0, 0.5), shift=(30.0, -1.0), name="points")
SMALL = {"latent.size": 3}
NARROW = {"generator.width": 8, "encoder.width": 8, "generator": "mlp", "encoder": "mlp"}
CASES: dict[str, Callable[[], Model]] = {
    "cvae": lambda: genzoo.create("cvae", GREY, seed=1, options=SMALL),
    "vae of points": lambda: genzoo.create("vae", POINTS, seed=2, options=SMALL | NARROW),
    "conditional gan": lambda: genzoo.create("gan", GREY, seed=3, options=SMALL | {"conditional": True}),
    "gan in colour": lambda: genzoo.create("gan", COLOUR, seed=4, options=SMALL),
}


def onnx(path: Path) -> Callable[..., list[Any]]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda **given: session.run(None, given)


@pytest.mark.parametrize("case", ["cvae", *(pytest.param(c, marks=pytest.mark.slow) for c in CASES if c != "cvae")])
def test_onnx_gives_the_originals_numbers(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = CASES[case]()
    done = genzoo.export(model, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["parts"] == done.parts
    for n in (1, 7):
        g = torch.Generator().manual_seed(n)
        code, label = torch.randn(n, 3, generator=g), torch.arange(n) % 3 if model.classes else None
        labels = {} if label is None else {"label": label.numpy()}
        (made,) = onnx(tmp_path / "out" / "generator.onnx")(code=code.numpy(), **labels)
        original = model.decode(code, label)
        assert np.abs(made - original.numpy()).max() < 1e-4 * max(1, original.abs().max())
        if model.encoder is None:
            assert set(done.parts) == {"generator"}
            continue
        mean, std = onnx(tmp_path / "out" / "encoder.onnx")(observation=original.numpy(), **labels)
        assert np.abs(mean - model.encode(original, label).numpy()).max() < 1e-3
        draws = torch.stack([model.encode(original, label, sample=True, seed=s) for s in range(300)])
        # The deviation of 300 draws has a standard error of 4 %.
        assert torch.allclose(draws.std(0), torch.from_numpy(std), rtol=0.25)


@pytest.mark.slow
def test_of_torch(tmp_path: Path) -> None:
    model = CASES["cvae"]()
    done = genzoo.export(model, tmp_path / "out", "torch-export")
    for name, part in done.parts.items():
        with zipfile.ZipFile(tmp_path / "out" / part["file"]) as archive:
            for member in archive.namelist():
                content = archive.read(member)
                assert str(Path(exporting.__file__).parents[2]).encode() not in content, f"{name}: {member}"
                assert not content.startswith(b"\x80") or not _is_pickle(content)
    code = ("import sys, torch; p = torch.export.load(sys.argv[1]).module()\n"
            "x = p(torch.full((5, 3), 0.3), torch.arange(5) % 3); print(x.sum(dim=(1, 2, 3)).tolist())")  # fmt: skip
    run = [sys.executable, "-c", code, str(tmp_path / "out" / "generator.pt2")]
    said = subprocess.run(run, capture_output=True, text=True, timeout=100, check=True).stdout
    original = model.decode(torch.full((5, 3), 0.3), torch.arange(5) % 3).sum(dim=(1, 2, 3))
    assert torch.allclose(torch.tensor(json.loads(said)), original, rtol=1e-4)


def _is_pickle(content: bytes) -> bool:
    try:
        list(pickletools.genops(content))
    except Exception:
        return False
    return True


def test_the_page_beside_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    genzoo.export(CASES["cvae"](), tmp_path / "out", part="encoder")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "encoder.onnx", "export.json"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "a, b, c" in page
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {}
    exec(compile(page.split("```python\n")[1].split("```")[0], "README.md", "exec"), names)
    assert [o.shape for o in names["outputs"]] == [(8, 3), (8, 3)]


class Counting(nn.Module):
    """A network that asks for the number of observations in plain Python, as people's do."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.inside(z, y).view(len(z), -1).reshape(len(z), *GREY.shape)


class Branching(Counting):
    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.inside(z, y) if z.sum().item() > 0 else self.inside(-z, y)


def test_a_network_that_counts_its_observations(tmp_path: Path) -> None:
    model = CASES["conditional gan"]()
    model.generator = Counting(model.generator)  # type: ignore[assignment]
    with pytest.raises(GenzooError, match=r"write x.shape\[0\]"):
        genzoo.export(model, tmp_path / "out", "torch-export")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path) -> None:
    model = CASES["conditional gan"]()
    model.generator = Branching(model.generator)  # type: ignore[assignment]
    with pytest.raises(GenzooError, match="cannot be exported") as failed:
        genzoo.export(model, tmp_path / "out", "torch-export")
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = exporting.GeneratorProgram.forward
    monkeypatch.setattr(exporting.GeneratorProgram, "forward", lambda self, code: before(self, code) + 0.1)
    with pytest.raises(GenzooError, match="not what the original computes"):
        genzoo.export(CASES["vae of points"](), tmp_path / "out", "torch-export", part="generator")
    assert list(tmp_path.iterdir()) == []


def test_requests_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CASES["gan in colour"]()
    with pytest.raises(UsageError, match="no encoder"):
        genzoo.export(model, tmp_path / "out", part="encoder")
    with pytest.raises(UsageError, match="onnx or torch-export"):
        genzoo.export(model, tmp_path / "out", "tflite")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="generator or encoder"):
        genzoo.export(model, tmp_path / "out", part="critic")  # type: ignore[arg-type]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(UsageError, match="not an empty folder"):
        genzoo.export(model, tmp_path / "full")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(GenzooError, match=r"needs onnxscript: pip install 'genzoo\[onnx\]'"):
        genzoo.export(model, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
