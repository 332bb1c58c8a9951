"""The package's own weights, published by whoever holds a token."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry import Registry, hookimpl, the_registry
from genzoo.registry.weights.push import publish_all


@pytest.fixture
def shelf(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two weights, the second of which lacks the license of its data, as if it were genzoo's."""
    home = tmp_path / "site" / "own_zoo"
    for name in ("vae/ring8", "vae/ring8@2", "vae/other"):
        (home / "weights" / name).mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "manifest.json", "README.md", "samples.png", "training.json"):
            shutil.copy(trained / file, home / "weights" / name / file)
    (home / "__init__.py").write_text("")
    (home / "weights/vae/other/training.json").write_text("{}")  # damaged
    monkeypatch.syspath_prepend(home.parent)

    class Own:
        @hookimpl
        def genzoo_register(self, registry):
            registry.weights_folder("own_zoo:weights")

    registry = Registry.discover(plugins=False)
    assert registry.add(Own(), "own", "genzoo", "0.1.0").error is None
    for module in ("registry", "weights.push", "weights.locate", "verbs.load"):
        monkeypatch.setattr(import_module(f"genzoo.registry.{module}"), "the_registry", lambda: registry)
    return home


def test_every_version_becomes_a_tag_and_one_that_fails_stops_no_others(hub, shelf: Path, trained: Path) -> None:
    names = ["vae/other", "vae/ring8"]
    done = publish_all("zoo", names=names)
    errors = [d for d in done if isinstance(d, GenzooError)]
    good = [d for d in done if not isinstance(d, GenzooError)]
    assert len(errors) == 1
    assert "vae/other" in str(errors[0])
    assert [(d.repository, d.tag) for d in good] == [("zoo/vae-ring8", "v1"), ("zoo/vae-ring8", "v2")]
    assert "license: apache-2.0" in good[0].card
    assert set(hub.repositories) == {"zoo/vae-ring8"}
    again = [d for d in publish_all("zoo", names=names) if not isinstance(d, GenzooError)]
    assert [d.changed for d in again] == [False, False]
    one = genzoo.load("hf:zoo/vae-ring8@v1", verbose=False)
    assert one.sample(4).equal(genzoo.load(trained).sample(4))


def test_a_rehearsal_and_unknown_names(hub, shelf: Path) -> None:
    told = publish_all("zoo", names=["vae/ring8"], dry_run=True)
    assert [d.tag for d in told if not isinstance(d, GenzooError)] == ["v1", "v2"]
    assert not hub.requests
    with pytest.raises(UsageError, match=r"no weights 'vae/rang8' \(did you mean 'vae/ring8'"):
        publish_all("zoo", names=["vae/rang8"])


def test_the_zoos_own_weights_are_ready(hub) -> None:
    own = [e for e in the_registry().entries("weights") if e.distribution == "genzoo"]
    if not own:
        pytest.skip("the package ships no weights")
    for done in publish_all("zoo", dry_run=True):
        assert not isinstance(done, GenzooError), str(done)
        assert {"README.md", "config.json", "manifest.json", "model.safetensors"} <= {f.name for f in done.files}
