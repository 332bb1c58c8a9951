"""Priors fitted to trained models: densities over tokens, stages that are one model, and a better bound."""

import hashlib
import json

import pytest
import torch

import genzoo
from genzoo.core.build import build
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.storage.weights import read_config
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver
from genzoo.registry.weights import resolve
from genzoo.registry.weights.reproduce import plan

FLAT = {"generator": "mlp", "encoder": "mlp", "generator.width": 16, "encoder.width": 16}
TOKENS = FLAT | {"latent.size": 3, "posterior.dim": 1, "posterior.codes": 4}
TINY = {"prior.width": 16, "prior.depth": 2, "prior.heads": 2}


@pytest.fixture
def of_tokens():
    def make(classes=0):
        torch.manual_seed(0)
        spec = DataSpec("vector", (3,), classes=classes)
        given = TOKENS | TINY | {"prior": "transformer", "conditional": bool(classes)}
        config = compose(the_registry(), spec, "vq-vae", given)
        model = build(config, resolver(the_registry(), config))[1].model.eval()
        with torch.no_grad():
            for p in model.prior.parameters():
                p.add_(0.5 * torch.randn(p.shape))
        return model

    return make


@pytest.mark.parametrize("classes", [0, 3])
@torch.no_grad()
def test_a_transformer_sums_to_one_over_all_tokens_and_draws_what_it_says(of_tokens, classes):
    model = of_tokens(classes)
    prior = model.prior
    words = torch.cartesian_prod(*[torch.arange(4)] * 3)
    z = model.head.embed(words)
    by_class = []
    for c in range(max(classes, 1)):
        y = torch.full((64,), c) if classes else None
        p = prior.log_prob(z, y).double().exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        n = 20_000
        u = torch.rand(n, *prior.noise_shape, generator=torch.Generator().manual_seed(0))
        tokens = model.head.tokens_of(prior.sample(u, torch.full((n,), c) if classes else None))
        share = torch.bincount((tokens * torch.tensor([16, 4, 1])).sum(1), minlength=64).double() / n
        assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()
        assert p.max() > 3 / 64  # not uniform, which would prove nothing
        by_class.append(p)
    if classes:
        assert (by_class[0] - by_class[1]).abs().max() > 0.01


@torch.no_grad()
def test_a_token_goes_by_those_before_it_only(of_tokens):
    prior = of_tokens().prior
    tokens = torch.tensor([[1, 2, 3]])

    def logits(tokens):
        h = prior.tokens(torch.cat([torch.full((1, 1), prior.first), tokens[:, :-1]], 1)) + prior.place
        for block in prior.blocks:
            h = block(h)
        return prior.last(h)[0]

    for i in range(3):
        other = tokens.clone()
        other[0, i] = 0
        same = (logits(tokens) - logits(other)).abs().amax(-1) < 1e-6
        assert same[: i + 1].all()
        assert not same[i + 1 :].any()


def test_a_quantizer_with_a_fitted_prior_is_one_model_with_a_better_bound(tmp_path):
    first = genzoo.fit("vq-vae", "ring8", tmp_path / "first", steps=150, batch_size=64, device="cpu", progress=False,
                       options=TOKENS | {"latent.size": 2, "posterior.codes": 8, "train.lr": 5e-3,
                                         "train.validation": 200})  # fmt: skip
    run = genzoo.fit_prior(tmp_path / "first", "transformer", tmp_path / "second", steps=150, device="cpu",
                           progress=False, options=TINY | {"train.lr": 5e-3})  # fmt: skip
    before, after = genzoo.load(tmp_path / "first"), genzoo.load(tmp_path / "second")
    kept = before.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in after.state_dict().items() if not k.startswith("prior."))
    x = genzoo.load_data("ring8", split="test").x[:500]
    gain = (after.log_likelihood(x, samples=1).values - before.log_likelihood(x, samples=1).values).mean().item()
    nats = run.metrics["held-out loss"]
    assert gain == pytest.approx(2 * torch.tensor(8.0).log().item() - nats, abs=0.15)
    assert gain > 0.3
    # Its samples score better under it than those of tokens that do not go together.
    old, new = (after.log_likelihood(m.sample(500), samples=1).values.mean().item() for m in (before, after))
    assert new > old + 0.3
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert config["objective"]["options"]["first"] == "vq-vae"
    assert len(config["objective"]["options"]["sha256"]) == 64
    assert config["posterior"]["name"] == "vq"
    assert config["prior"]["name"] == "transformer"
    assert genzoo.verify(tmp_path / "second").ok
    assert first.finished


def test_a_second_stage_goes_on_where_it_stopped(tmp_path):
    genzoo.fit("vae", "ring8", tmp_path / "first", steps=20, device="cpu", progress=False, options=FLAT)
    how = {"device": "cpu", "progress": False, "options": {"train.checkpoint_every": 5, "prior.components": 4}}
    whole = genzoo.fit_prior(tmp_path / "first", "mixture", tmp_path / "whole", steps=20, **how)

    class Stop:
        def __call__(self, trainer, config):
            trainer.observers.append(self)

        def __getattr__(self, name):
            return lambda *a, **k: None

        def step(self, trainer):
            trainer.stopping = trainer.step == 10

    half = genzoo.fit_prior(tmp_path / "first", "mixture", tmp_path / "half", steps=20, on_start=Stop(), **how)
    assert not half.finished
    rest = genzoo.fit_prior(tmp_path / "first", "mixture", tmp_path / "half", steps=20, resume=True, **how)
    assert rest.finished
    for k, v in whole.model.state_dict().items():
        assert torch.equal(v, rest.model.state_dict()[k]), k
    again = genzoo.reproduce(tmp_path / "whole", tmp_path / "again", metrics=False, progress=False)
    assert again.same_bytes


def test_a_mixture_fits_codes_that_are_not_normal(tmp_path):
    genzoo.fit("beta-vae", "ring8", tmp_path / "first", steps=200, device="cpu", progress=False,
               options=FLAT | {"train.lr": 5e-3, "objective.beta": 0.05, "train.validation": 200})  # fmt: skip
    run = genzoo.fit_prior(tmp_path / "first", "mixture", steps=200, device="cpu", progress=False,
                           options={"train.lr": 2e-2})  # fmt: skip
    before = genzoo.load(tmp_path / "first")
    x = genzoo.load_data("ring8", split="test").x[:500]
    old, new = (m.log_likelihood(x, samples=20).values.mean().item() for m in (before, run.model))
    assert new > old + 0.1
    assert run.model.prior.log_prob(run.model.codes(0, 5)).shape == (5,)


def test_a_first_stage_may_be_older_than_an_option(tmp_path):
    genzoo.fit("vae", "ring8", tmp_path / "first", steps=2, device="cpu", progress=False, options=FLAT)
    folder = tmp_path / "first"
    config, manifest = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "manifest"))

    def write():
        content = json.dumps(config).encode()
        listed = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"]["config.json"] = listed
        (folder / "config.json").write_bytes(content)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    del config["objective"]["options"]["free_bits"], config["train"]["patience"]
    write()
    assert genzoo.fit_prior(tmp_path / "first", "mixture", steps=2, device="cpu", progress=False).finished
    config["objective"]["options"]["free_bits"] = 0.5  # and what it said still holds
    write()
    assert plan(tmp_path / "first").arguments["options"]["objective.free_bits"] == 0.5


def test_what_has_no_codes_to_fit_is_refused(tmp_path):
    small = {"generator": "mlp", "critic": "mlp", "generator.width": 8, "critic.width": 8}
    genzoo.fit("gan", "ring8", tmp_path / "gan", steps=2, device="cpu", progress=False, options=small)
    with pytest.raises(UsageError, match="no posterior over codes"):
        genzoo.fit_prior(tmp_path / "gan", "mixture")
    genzoo.fit("vae", "ring8", tmp_path / "vae", steps=2, device="cpu", progress=False, options=FLAT)
    with pytest.raises(UsageError, match="over tokens"):
        genzoo.fit_prior(tmp_path / "vae", "transformer", steps=2)
    with pytest.raises(UsageError, match="nothing to learn"):
        genzoo.fit_prior(tmp_path / "vae", "normal", steps=2)


def test_a_second_stage_needs_the_weights_that_it_names(tmp_path):
    how = {"device": "cpu", "progress": False, "steps": 2}
    first, other = (
        genzoo.fit("vae", "ring8", tmp_path / f"first{i}", seed=i, options=FLAT, **how).folder for i in (0, 1)
    )
    second = genzoo.fit_prior(first, "mixture", tmp_path / "second", **how).folder
    digest = hashlib.sha256((first / "model.safetensors").read_bytes()).hexdigest()
    asked = FLAT | {"objective": "fit-prior", "prior": "mixture"}
    out = tmp_path / "out"
    with pytest.raises(
        UsageError, match=r"fit-prior trains a part of a model that is there: name its weights with init=…"
    ):
        genzoo.fit("vae", "ring8", out, options=asked, **how)
    asked |= {"objective.first": "vae", "objective.sha256": digest}
    with pytest.raises(UsageError, match=rf"name its weights \(vae whose .* {digest[:12]}…\) with init=…"):
        genzoo.fit(None, "ring8", out, options=asked, **how)
    for wrong in (other, second):
        with pytest.raises(UsageError, match=rf"{wrong.name} is not the first stage that objective.sha256 names"):
            genzoo.fit(None, "ring8", out, options=asked, init=wrong, **how)
    assert not out.exists()
    model, kept = genzoo.fit(None, "ring8", options=asked, init=first, **how).model, genzoo.load(first).state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items() if not k.startswith("prior."))


def test_a_second_stage_that_stopped_before_its_first_checkpoint_starts_from_the_first_stage(tmp_path):
    how = {"device": "cpu", "progress": False, "steps": 2}
    genzoo.fit("vae", "ring8", tmp_path / "first", options=FLAT, **how)

    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "log.jsonl").touch()  # what a run leaves that was killed early
    run = genzoo.fit_prior(tmp_path / "first", "mixture", tmp_path / "second", resume=True, **how)
    kept = genzoo.load(tmp_path / "first").state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in run.model.state_dict().items() if not k.startswith("prior."))


def test_a_card_tells_the_commands_of_both_stages_and_reproduce_what_is_missing(tmp_path):
    how = {"device": "cpu", "progress": False, "steps": 2}
    genzoo.fit("vae", "ring8", tmp_path / "first", options=FLAT, **how)
    genzoo.fit_prior(tmp_path / "first", "mixture", tmp_path / "second", **how)
    card = (tmp_path / "second" / "README.md").read_text()
    assert "\n# vae with a fitted prior on ring8\n" in card
    one, two = (line for line in card.splitlines() if line.startswith("$ genzoo train"))
    assert one.startswith("$ genzoo train vae --data ring8 --out runs/vae --steps 2 ")
    assert "--init runs/vae --objective fit-prior" in two
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(GenzooError, match=r"second is a second stage, and its first stage \(vae, .* does not ship"):
        genzoo.reproduce(tmp_path / "second", tmp_path / "again", progress=False)
    with pytest.raises(GenzooError, match=r"second is another: name it with init=…"):
        genzoo.reproduce(tmp_path / "second", tmp_path / "again", init=tmp_path / "second", progress=False)
    assert not (tmp_path / "again").exists()
    done = genzoo.reproduce(tmp_path / "second", tmp_path / "again", init=tmp_path / "moved", progress=False)
    assert done.same_bytes


@pytest.mark.parametrize("weights", ["vq-gan/fashion-mnist-labels", "audio-codec/spoken-digits"])
def test_of_two_stages_that_ship_as_one_the_commands_of_both_are_told(weights):
    folder = resolve(weights).folder
    first = read_config(folder).parts["objective"].options["first"]
    lines = (folder / "README.md").read_text().splitlines()
    one, two = (line for line in lines if line.startswith(("$ genzoo train", "$ genzoo prior fit")))
    assert one.startswith(f"$ genzoo train {first} ")
    assert two.startswith(f"$ genzoo prior fit {one.split()[one.split().index('--out') + 1]} --prior transformer ")
