"""`genzoo.diagnose` on models whose faults are known since they were made by hand, and on short runs."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.data import Data, to_model
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.likelihood import Implicit
from genzoo.core.model import Model
from genzoo.core.networks import Generator, Ports
from genzoo.core.spec import Latent
from genzoo.plugins.apps.diagnose import diagnose as diagnosing
from genzoo.plugins.apps.diagnose import symptoms
from genzoo.plugins.apps.diagnose.sample_health import CURES, TELLING
from genzoo.plugins.apps.diagnose.verdicts import NAMES, Remedy, Verdict
from genzoo.plugins.datasets.toys import Ring8
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose

TINY = {"generator.width": 8, "encoder.width": 8, "latent.size": 4, "generator": "mlp", "encoder": "mlp"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def clothes():
    return genzoo.load_data("fashion-mini")


@pytest.fixture(scope="module")
def known(clothes):
    """Training data; what comes after is new."""
    return clothes.take(slice(3000))


class Shows(Generator):
    """Pictures out of a table, which one the code decides, with a little noise on them."""

    def __init__(self, ports, table, noise=0.0):
        super().__init__(ports)
        self.noise = noise
        self.table = nn.Parameter(table)

    def forward(self, z, y=None):
        u = torch.special.ndtr(z)
        x = self.table[(u[:, 0] * len(self.table)).long().clamp(max=len(self.table) - 1)]
        return x + self.noise * (u[:, 1] * 1e4 % 1)[:, None, None, None]


def shows(data: Data, noise=0.0) -> Model:
    spec = data.spec
    ports = Ports((2,), spec.shape)
    model = Model(spec, Latent(2), Shows(ports, (0.9999 * to_model(spec, data.x)).atanh(), noise), Implicit(spec))
    return model.requires_grad_(False).eval()


def diagnose(model, data, n=1000, **how):
    return genzoo.diagnose(model, data, n=n, device="cpu", **how)


def test_new_pictures_of_every_class_are_healthy(clothes, known):
    found = diagnose(shows(clothes.take(slice(3000, 6000))), known)
    assert found.problems == ()
    assert found.healthy
    assert [v.name for v in found] == list(NAMES)
    assert {v.name for v in found if v.status == "unknown"} == {
        "divergence", "exploding-gradients", "vanishing-gradients", "overfitting", "under-training"
    }  # fmt: skip
    share = found["mode-collapse"].facts[0].value
    assert 0.8 < share < 1.25  # the features vary as the data's do


def test_missing_classes_are_named_and_shown(clothes, known, tmp_path):
    later = torch.arange(3000, 6000)
    later = later[torch.isin(clothes.y[later], torch.tensor([1, 5, 8]))]
    found = diagnose(shows(clothes.take(later)), known)
    assert found.problems == ("mode-collapse",)
    names = clothes.spec.class_names
    assert set(found["mode-collapse"].missing) == set(names) - {names[i] for i in (1, 5, 8)}
    assert all(name in found["mode-collapse"].says for name in found["mode-collapse"].missing)
    folder = diagnosing.save_diagnosis(found, tmp_path / "found")
    assert (folder / "mode-collapse-missing.png").stat().st_size > 1000
    saved = json.loads((folder / "diagnosis.json").read_bytes())
    assert saved == json.loads(json.dumps(found.to_dict()))
    assert saved["problems"] == ["mode-collapse"]


@pytest.mark.slow
def test_rare_classes_are_a_hint(clothes, known):
    """What early models make is of most classes now and then, which is no collapse."""
    y = clothes.y[3000:6000]
    rare = torch.cat([(y == c).nonzero().flatten()[: 9 if c < 5 else None] for c in range(10)]) + 3000
    found = diagnose(shows(clothes.take(rare)), known, n=2000)
    assert found.problems == ()
    assert found["mode-collapse"].status == "hint"


def test_one_picture_over_and_over(clothes, known):
    found = diagnose(shows(clothes.take(slice(5000, 5001)), noise=0.01), known)
    assert found.problems == ("mode-collapse",)
    assert found["mode-collapse"].facts[0].wrong


@pytest.mark.slow
def test_without_labels_the_collapse_is_still_found(clothes, known):
    bare = Data(known.spec, known.x, name="bare")
    kept = torch.arange(3000, 6000)[clothes.y[3000:6000] == 5]
    found = diagnose(shows(clothes.take(kept)), bare)
    assert found.problems == ("mode-collapse",)
    assert diagnose(shows(clothes.take(slice(3000, 6000))), bare).problems == ()


@pytest.mark.parametrize("noise", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
def test_copies(clothes, known, noise):
    found = diagnose(shows(known.take(slice(200)), noise), known)
    assert found.problems == ("memorization",)
    copies = found["memorization"]
    assert copies.facts[0].value > (0.9 if noise == 0 else 0.3)
    assert "copies" in copies.says
    assert {"nearest", "copies"} <= set(copies.pictures)


def test_modes_of_a_mixture():
    spec = genzoo.load_data("ring8", options={"samples": 10}).spec

    class Ring(Generator):
        def __init__(self, ports, modes):
            super().__init__(ports)
            self.centres = nn.Parameter(torch.tensor(Ring8.centres)[modes] / Ring8.spread())

        def forward(self, z, y=None):
            u = torch.special.ndtr(z[:, 0])
            return self.centres[(u * len(self.centres)).long().clamp(max=len(self.centres) - 1)] + 0.01 * z

    data = genzoo.load_data("ring8", options={"samples": 5000})
    for modes, missing in ((range(8), 0), (range(3), 5)):
        made = Model(spec, Latent(2), Ring(Ports((2,), (2,)), list(modes)), Implicit(spec)).eval()
        found = diagnose(made.requires_grad_(False), data, n=2500)
        assert len(found["mode-collapse"].missing) == missing
        assert found.problems == (("mode-collapse",) if missing else ())


def test_too_few_steps_are_the_cause_and_advice_is_of_the_run_s_own_kind(known, tmp_path):
    x = known.take(slice(200))
    small = {"generator.width": 4, "critic.width": 4}
    genzoo.fit("gan", x, tmp_path / "gan", steps=3, progress=False, options=small)
    found = diagnose(tmp_path / "gan", x, n=200)
    assert found.problems == ("under-training",)
    assert f"--resume {tmp_path / 'gan'} --steps 5000" in found["under-training"].remedies[0].text()
    assert all(v.because == "under-training" and not v.remedies for v in found if v.name == "mode-collapse")


@pytest.mark.parametrize(
    ("recipe", "lr", "verdict", "advised"),
    [
        ("vae", 1e6, "divergence", 1e-3),
        ("vae", 1e-3, "divergence", 1e-4),
        ("vae", 1e-4, "divergence", 1e-5),
        ("gan", 1.0, "mode-collapse", 2e-4),
        ("gan", 2e-4, "mode-collapse", 6.7e-5),
        ("gan", 1e-6, "mode-collapse", None),
    ],
)
def test_learning_rates_go_back_to_the_recipe_s_own(known, recipe, lr, verdict, advised):
    config = compose(the_registry(), known.spec, recipe, {"train.lr": lr})
    smaller = (Remedy("", options=(("train.lr", "÷10"),)),) if verdict == "divergence" else CURES
    found = diagnosing._possible(Verdict(verdict, "problem", "", (), smaller), config)
    rates = {v for r in found for k, v in r.options if k == "train.lr"}
    assert advised in rates if advised else not rates
    family = {e.name for e in the_registry().entries("recipe", tag=recipe)}
    assert {r.recipe for r in found} - {""} <= family


def test_samples_that_are_not_finite(known):
    model = shows(known.take(slice(100)))
    model.generator.table[3] = torch.nan
    found = diagnose(model, known)
    assert found.problems == ("divergence",)
    assert found["mode-collapse"].because == "divergence"


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "collapsed"
    options = TINY | {"objective.beta": 3000.0, "train.log_every": 10, "train.lr": 3e-3}
    genzoo.fit("beta-vae", "fashion-mini", out, steps=150, options=options, progress=False, device="cpu")
    return out


def test_a_collapsed_posterior_and_what_follows_from_it(collapsed):
    found = genzoo.diagnose(collapsed, n=500, device="cpu")
    assert found.problems == ("posterior-collapse",)
    assert found["mode-collapse"].because in ("", "posterior-collapse")
    tried = [r for r in found["posterior-collapse"].remedies]
    assert ("objective.kl_warmup", 0.3) in [o for r in tried for o in r.options]
    assert "reconstructions" in found["posterior-collapse"].pictures
    assert found.record["data"] == "fashion-mini"
    assert "note" not in found.record  # the data that it was trained on was found again


def test_codes_are_judged_by_all_observations_that_are_held():
    found = genzoo.diagnose("cvae/fashion-mnist", "fashion-mini", n=300)["posterior-collapse"]
    (nats,) = [fact.value for fact in found.facts if fact.what == TELLING["mutual-information"]]
    assert nats > 4  # of two observations it is log 2 at most, of 300 log 300


def test_binary_pictures_are_diagnosed():
    data = genzoo.load_data("fashion-mini", options={"binarize": "static"}).take(slice(300))
    model = genzoo.create("vae", data.spec, options=TINY)
    assert genzoo.diagnose(model, data, n=100)["memorization"].status != "unknown"


def test_a_text_model_whose_codes_vary_and_whose_decoder_does_not_go_by_them():
    """Its posterior is no prior, by batch norm, and its numbers are active: what swapping codes costs tells."""
    texts = genzoo.load_data("kjv-mini").take(slice(300))
    small = {"generator.width": 8, "encoder.hidden": 8, "likelihood.hidden": 8, "latent.size": 4}
    model = genzoo.create("text-vae", texts.spec, options=small, seed=0)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d)):
            norm.momentum = None  # what is seen once counts whole
        model.train().posterior(to_model(texts.spec, texts.x))
        for p in list(model.generator.parameters())[-2:]:
            p.zero_()
    found = diagnose(model.eval(), texts, n=100)
    assert found["posterior-collapse"].status == "problem", found["posterior-collapse"]
    assert "another observation's code" in found["posterior-collapse"].says
    assert found.problems[:1] == ("posterior-collapse",)


def test_what_is_advised_exists_and_differs(collapsed):
    found = genzoo.diagnose(collapsed, n=500, device="cpu")
    recipes = {e.name for e in genzoo.list("recipe")}
    options = {o["name"] for o in genzoo.show("beta-vae")["options"]}
    config = genzoo.load(collapsed).config
    for remedy in (r for v in found for r in v.remedies):
        assert remedy.recipe in recipes | {""}
        assert remedy.recipe != "beta-vae"
        for name, value in remedy.options:
            assert name in options, name
            assert not isinstance(value, str) or "÷" not in value
    (lower,) = [o[1] for r in found["posterior-collapse"].remedies for o in r.options if o[0] == "objective.beta"]
    assert lower < config.parts["objective"].options["beta"]


def test_data_that_cannot_be_found_again(clothes, tmp_path):
    run = genzoo.fit("vae", clothes.take(slice(300)), tmp_path / "run", steps=8, progress=False, device="cpu",
                     options=TINY | {"train.log_every": 1})  # fmt: skip
    found = genzoo.diagnose(run.folder, device="cpu")
    assert found["memorization"].status == found["mode-collapse"].status == "unknown"
    assert "--data" in found["memorization"].says
    assert found["exploding-gradients"].status != "unknown"  # the log is there
    other = genzoo.diagnose(run.folder, "fashion-mini", n=200, device="cpu")
    assert "not the data that it was trained on" in other.record["note"]


def test_a_run_that_stopped_half_way_and_a_run_in_memory(clothes, tmp_path):
    def stop(trainer, config):
        class Stop(genzoo.core.training.trainer.Observer):
            def step(self, trainer):
                trainer.stopping = trainer.step == 6

        trainer.observers.append(Stop())

    import genzoo.core.training.trainer

    run = genzoo.fit("vae", "fashion-mini", tmp_path / "run", steps=12, progress=False, device="cpu",
                     options=TINY | {"train.log_every": 1}, on_start=stop)  # fmt: skip
    assert not run.finished
    found = genzoo.diagnose(run.folder, n=200, device="cpu")
    assert found.record["data"] == "fashion-mini"
    memory = genzoo.fit("vae", clothes, steps=6, progress=False, device="cpu", options=TINY | {"train.log_every": 1})
    assert genzoo.diagnose(memory, clothes, n=200, device="cpu")["exploding-gradients"].status != "unknown"


def test_mistakes(collapsed, tmp_path):
    with pytest.raises(UsageError, match="at least 100"):
        genzoo.diagnose(collapsed, n=5)
    with pytest.raises(UsageError, match="run's folder, weights or a model"):
        genzoo.diagnose(3)
    with pytest.raises(GenzooError, match="vectors"):
        genzoo.diagnose(collapsed, "ring8")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        diagnosing.diagnosis_folder(tmp_path / "file")


def test_watching_changes_nothing_and_warns_once(clothes, tmp_path, capsys):
    options = TINY | {"objective.beta": 3000.0, "train.log_every": 5, "train.lr": 3e-3, "train.sample_every": 1000}
    how = {"steps": 80, "options": options, "progress": False, "device": "cpu"}
    plain = genzoo.fit("beta-vae", clothes, tmp_path / "plain", **how)
    capsys.readouterr()
    watched = genzoo.fit("beta-vae", clothes, tmp_path / "watched", watch=True, **how)
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, watched.model.state_dict()[name]), name
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("genzoo: step ")]
    assert len({line.split(":")[2] for line in said}) == len(said)  # each thing once
    columns = {k for r in watched.history for k in r}
    assert {c for c in columns if c.startswith("warning/")} == {
        f"warning/{line.split(':')[2].strip()}" for line in said
    }


def test_a_rise_after_the_weights_that_were_kept_is_no_overfitting():
    log = [{"step": i, "held-out loss": loss} for i, loss in enumerate([3.0, 2.0, 2.5, 2.6, 2.7], 1)]
    assert symptoms.overfitting(log).status == "problem"
    kept = symptoms.overfitting(log, best_kept=True)
    assert (kept.status, kept.says) == ("healthy", "The held-out loss rose after step 2, whose weights were kept.")
    assert not any(f.wrong for f in kept.facts)


def test_rows_of_a_table_are_judged_as_pictures_are(tmp_path):
    given = {"likelihood.hidden": 8, "train.patience": 1}
    run = genzoo.fit("table-ar", "penguins", tmp_path / "run", steps=3, options=given, device="cpu", progress=False)
    found = genzoo.diagnose(run, n=100, device="cpu")
    assert [v.name for v in found] == list(NAMES)
    assert {found[name].status for name in ("mode-collapse", "memorization")} <= {"healthy", "hint", "problem"}
