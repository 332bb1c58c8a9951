"""`genzoo.evaluate` against what is known of the samples that it is given."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import genzoo
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, Features
from genzoo.core.evaluation.report import Report
from genzoo.core.model import Model
from genzoo.core.networks import Encoder, Generator, Ports
from genzoo.core.posterior import NormalHead
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.datasets.toys import Ring8
from genzoo.plugins.extractors.shipped import FashionClassifier
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.registry.verbs import evaluate as evaluation

evaluate = genzoo.evaluate
QUICK = {f"{m}.samples": 3 for m in ("log-likelihood", "elbo", "bits-per-dimension")}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def clothes():
    return genzoo.load_data("fashion-mini", split="test")


def pixels(data, index=slice(None)):
    return data.x[index]


# Samples whose numbers are known.


def test_the_data_against_itself(clothes):
    some = clothes.take(slice(400))
    how = {"frechet.resamples": 5, "sliced-wasserstein.resamples": 3, "sliced-wasserstein.projections": 32}
    report = evaluate(some.x, some, "frechet,kid,fidelity,c2st,sliced-wasserstein,mmd,class-kl", options=how)
    assert abs(report["frechet"].value) < 1e-6
    assert report["kid"].value <= 0
    assert [report[m].value for m in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert report["sliced-wasserstein"].value == 0
    assert report["class-kl"].value == pytest.approx(0, abs=1e-12)
    assert report["c2st"].interval.low <= 0.5
    assert all(r.n_fake == r.n_real == 400 for r in report)
    assert report["mmd"].value <= 0


def test_fresh_data_is_hard_to_tell_from_data(clothes):
    train = genzoo.load_data("fashion-mini")
    report = evaluate(pixels(train, slice(1000)), clothes, ["c2st", "kid"])
    assert report["c2st"].interval.low <= 0.5 <= report["c2st"].interval.high
    assert report["kid"].interval.low <= 0 <= report["kid"].interval.high


def test_missing_classes_are_named(clothes):
    kept = clothes.y > 2
    report = evaluate(pixels(clothes, kept), clothes, ["classes", "class-kl"])
    assert report["classes"].value == 7
    assert report["classes"].details["missing"] == list(clothes.spec.class_names[:3])
    # Seven of ten equal classes: KL is log 10/7, less what the classifier's errors hide.
    assert 0.15 < report["class-kl"].value < math.log(10 / 7)
    shares = report["classes"].details["corrected shares"]
    truth = clothes.y[kept].bincount(minlength=10) / kept.sum()
    assert list(shares.values()) == pytest.approx(truth.tolist(), abs=0.03)
    assert report["classes"].interval.low is None
    assert report["classes"].interval.how == "a count over all samples"


def test_conditional_accuracy_is_the_classifiers_own_on_real_data(clothes):
    clothes = clothes.take(slice(300))
    logits = FashionClassifier.pretrained()(clothes.x.float() / 255)
    accuracy = (logits.argmax(1) == clothes.y).double().mean().item()
    right = evaluate((pixels(clothes), clothes.y), clothes, "conditional-accuracy")["conditional-accuracy"]
    assert right.value == pytest.approx(accuracy)
    assert right.details["accuracy of the classifier"] == pytest.approx(accuracy)
    wrong = evaluate((pixels(clothes), (clothes.y + 1) % 10), clothes, "conditional-accuracy")["conditional-accuracy"]
    assert wrong.value < 0.1
    assert right.compare(wrong) == "better"
    by_class, names = right.details["accuracy by class"], clothes.spec.class_names
    here = (logits.argmax(1) == clothes.y)[clothes.y == 8].double().mean().item()
    assert by_class[names[8]] == pytest.approx(here)
    assert set(right.details["coverage by class"].values()) == {1.0}  # of the data by themselves
    one = clothes.x.clone()
    one[clothes.y == 8] = clothes.x[clothes.y == 8][:1]  # one bag, again and again: right, and covers next to nothing
    few = evaluate((one, clothes.y), clothes, "conditional-accuracy")["conditional-accuracy"]
    assert few.details["accuracy by class"][names[8]] == 1
    assert few.details["coverage by class"][names[8]] < 0.4
    assert few.details["coverage by class"][names[1]] == 1
    with pytest.raises(UsageError, match="conditional-accuracy cannot be measured here: the samples were not asked"):
        evaluate(pixels(clothes), clothes, "conditional-accuracy")


def test_reconstruction_accuracy_is_the_classifiers_own_of_what_the_model_makes(clothes):
    clothes, model = clothes.take(slice(300)), genzoo.load("vae/fashion-mnist")
    x = clothes.x.float() / 255
    again = (model.reconstruct(x) * 255).round() / 255
    made, there = (FashionClassifier.pretrained()(v).argmax(1) == clothes.y for v in (again, x))
    found = evaluate(model, clothes, "reconstruction-accuracy")["reconstruction-accuracy"]
    assert 0.5 < found.value < 0.9
    assert found.value == pytest.approx(made.double().mean().item())
    assert found.details["accuracy on the observations"] == pytest.approx(there.double().mean().item())
    few = {"reconstruction-accuracy.limit": 50}
    first = evaluate(model, clothes, "reconstruction-accuracy", options=few)["reconstruction-accuracy"]
    assert first.value == pytest.approx(made[:50].double().mean().item())
    with pytest.raises(UsageError, match="reconstruction-accuracy cannot be measured here: the model has no encoder"):
        evaluate("gan/fashion-mnist", clothes, "reconstruction-accuracy")


def test_reconstructions_are_judged_also_where_no_samples_can_be_drawn(clothes, tmp_path):
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 32, "encoder.width": 32}
    genzoo.fit("ae", "fashion-mini", tmp_path / "ae", steps=300, options=small, progress=False)
    clothes, how = clothes.take(slice(200)), {"extractor": "raw", "strict": False}
    found = evaluate(tmp_path / "ae", clothes, "reconstruction-accuracy,classes", training="fashion-mini", **how)
    right = found["reconstruction-accuracy"]
    assert right.details["classifier"] == "logistic regression on raw"
    assert right.details["told the class"] is False
    assert 0.2 < right.value <= right.details["accuracy on the observations"] + 0.1
    assert {a.metric: a.reason for a in found.absent}.keys() == {"classes"}  # of samples, and nothing says how to draw
    bare = genzoo.load_data("fashion-mini").x[:300]
    told = evaluate(tmp_path / "ae", clothes, "reconstruction-accuracy", training=bare, **how)
    assert "no labels to fit a classifier on" in told.absent[0].reason
    given = evaluate("cvae/fashion-mnist", clothes, "reconstruction-accuracy")["reconstruction-accuracy"]
    assert given.details["told the class"] is True


def test_copies_are_found_and_shown_and_unseen_data_are_not(clothes):
    train = genzoo.load_data("fashion-mini")
    copies = torch.cat([pixels(train, slice(10, 40)), pixels(clothes, slice(500, 770))])
    found = evaluate(copies, "fashion-mini", "memorization")["memorization"]
    assert found.value == pytest.approx(30 / 300, abs=0.02)
    assert found.details["found"] is True
    assert set(range(30)) <= set(found.details["samples"])
    assert set(range(10, 40)) <= set(found.details["originals"])
    shown = found.pictures["copies"]
    assert torch.equal(shown[:10], shown[10:])  # a copy stands above its original
    clean = evaluate(pixels(clothes, slice(500, 800)), "fashion-mini", "memorization")["memorization"]
    assert clean.details["found"] is False


def test_duplicates_tell_the_support(clothes):
    g = torch.Generator().manual_seed(0)
    drawn = pixels(clothes)[torch.randint(100, (400,), generator=g)]
    found = evaluate(drawn, clothes, "duplicates")["duplicates"]
    assert found.interval.low <= 100 <= found.interval.high * 1.2
    assert found.details["pairs"] > 500
    assert found.pictures["pairs"].shape == (20, 1, 28, 28)


def test_modes_of_the_ring():
    centres = torch.tensor(Ring8.centres)
    x = torch.cat([centres[:6].repeat_interleave(50, 0), torch.full((100, 2), 3.0)])
    report = evaluate(x, "ring8", "modes,high-quality,mode-kl")
    assert report["modes"].value == 6
    assert report["high-quality"].value == 0.75
    assert report["mode-kl"].value == pytest.approx(math.log(8 / 6))
    with pytest.raises(UsageError, match="the centres of the data's modes are not known"):
        evaluate(torch.randn(50, 2), torch.randn(40, 2), "modes")


def test_mixtures_have_their_own_count_of_samples():
    model = genzoo.create("gan", genzoo.load_data("ring8").spec)
    report = evaluate(model, "ring8", options={"frechet.resamples": 0, "mode-kl.resamples": 0})
    assert report.record["fake"] == 2500
    assert "modes" in report
    assert "mig" not in report
    assert not any(a.metric == "mig" for a in report.absent)  # nobody asked for factors


def test_stacked_modes_of_real_stacks():
    data = genzoo.load_data("stacked-fashion", split="test", options={"samples": 200})
    one = data.x[:1].expand(200, -1, -1, -1)
    report = evaluate(one, data, "stacked-modes,stacked-kl")
    assert report["stacked-modes"].value == 1
    assert report["stacked-kl"].value == pytest.approx(math.log(1000))
    assert 100 < report["stacked-modes"].details["modes of the data"] < 200


# Models whose numbers are known.


class Identity(Encoder):
    """The posterior mean is the observation itself, with log variance -9."""

    def forward(self, x, y=None):
        return torch.cat([x, torch.full_like(x, -9.0)], 1)


class Passes(Generator):
    def __init__(self, ports):
        super().__init__(ports)
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, z, y=None):
        return z + self.anchor


def identity(spec):
    d = spec.shape[0]
    ports, latent = Ports((d,), (d,)), Latent(d)
    return Model(
        spec, latent, Passes(ports), Gaussian(spec), Identity(Ports((d,), (2 * d,))), NormalHead(latent)
    ).eval()


def test_a_perfect_code_of_known_factors():
    factors = torch.randint(6, (3000, 3), generator=torch.Generator().manual_seed(0))
    spec = DataSpec("vector", (3,))
    data = Data(spec, factors.float(), factors=factors, factor_names=("a", "b", "c"))
    report = evaluate(identity(spec), data, "disentanglement")
    assert report["mig"].value == pytest.approx(1, abs=0.01)
    assert report["sap"].value == pytest.approx(1, abs=0.01)
    assert report["modularity"].value == pytest.approx(1, abs=0.01)
    assert report["factor-vae"].value == 1
    assert report["factor-vae"].details["chance"] == pytest.approx(1 / 3)
    assert report["dci-disentanglement"].value == pytest.approx(1, abs=1e-6)
    assert report["dci-informativeness"].value == 1


def test_noise_knows_nothing_of_the_factors():
    g = torch.Generator().manual_seed(0)
    factors = torch.randint(6, (3000, 3), generator=g)
    spec = DataSpec("vector", (3,))
    data = Data(spec, torch.randn(3000, 3, generator=g), factors=factors)
    report = evaluate(identity(spec), data, "disentanglement")
    assert report["mig"].value < 0.01
    assert report["factor-vae"].interval.low < 1 / 3 < report["factor-vae"].interval.high
    assert report["dci-informativeness"].value < 0.03
    assert report["modularity"].value == 0


def test_posterior_of_a_known_encoder():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.001])
    spec = DataSpec("vector", (2,))
    report = evaluate(identity(spec), Data(spec, x), "active-units,posterior-kl")
    assert report["active-units"].value == 1
    assert report["active-units"].details["collapsed"] is False
    expected = 0.5 * (x.double() ** 2 + math.exp(-9) + 9 - 1)
    assert report["posterior-kl"].value == pytest.approx(expected.sum(1).mean().item(), rel=1e-5)
    assert report["posterior-kl"].details["kl per dimension"] == pytest.approx(expected.mean(0).tolist(), rel=1e-5)


def test_a_gan_has_no_likelihood(clothes):
    model = genzoo.create("gan", clothes.spec)
    some = clothes.take(slice(60))
    report = evaluate(model, some, "precision,likelihood,psnr", strict=False)
    reasons = {a.metric: a.reason for a in report.absent}
    assert "a GAN's generator puts out samples" in reasons["log-likelihood"]
    assert reasons["psnr"] == "the model has no encoder"
    assert report["precision"].n_fake == 60
    with pytest.raises(UsageError, match="elbo cannot be measured here: the model has no likelihood"):
        evaluate(model, some, "elbo")
    with pytest.raises(UsageError, match="has no elbo: the model has no likelihood"):
        report["elbo"]


def test_default_metrics_of_a_vae_and_reconstructions(clothes):
    from genzoo.plugins.metrics.similarity import psnr

    model = genzoo.create("vae", clothes.spec, options={"latent.size": 2, "generator": "mlp", "encoder": "mlp"})
    some = clothes.take(slice(40))
    report = evaluate(
        model, some, options={"log-likelihood.samples": 3, "elbo.samples": 3, "bits-per-dimension.samples": 3}
    )
    assert {"frechet", "kid", "precision", "classes", "elbo", "psnr", "ssim", "active-units"} <= {
        r.metric for r in report
    }
    x = some.x.float() / 255
    again = model.reconstruct(x).mul(255).round() / 255
    assert report["psnr"].value == pytest.approx(psnr(x, again).mean().item(), abs=1e-3)
    reasons = report.absences()
    (why,) = [r for r, names in reasons.items() if "memorization" in names]
    assert "the training data is not known" in why


# How it is asked.


def test_one_seed_one_report_and_the_seed_is_no_part_of_the_protocol(clothes):
    model = genzoo.create("gan", clothes.spec)
    some = clothes.take(slice(100))
    a, b, c = (evaluate(model, some, "frechet,kid", seed=s, batch_size=k) for s, k in ((3, 256), (3, 64), (4, 256)))
    assert a["kid"].value == pytest.approx(b["kid"].value, rel=1e-3)
    assert a["frechet"].value != c["frechet"].value
    assert a["frechet"].protocol == c["frechet"].protocol
    with pytest.raises(UsageError, match="real=100 against real=50, fake=100 against fake=50"):
        a["frechet"].compare(evaluate(model, some, "frechet", n=50)["frechet"])
    with pytest.raises(UsageError, match=r"size=0 against size=10"):
        a["kid"].compare(evaluate(model, some, "kid", options={"kid.size": 10})["kid"])
    few = evaluate(model, some, "frechet", options={"frechet.resamples": 3})["frechet"]
    assert few.protocol == a["frechet"].protocol  # how the interval was made is not what was measured


def test_samples_are_judged_as_8_bit(clothes):
    x = clothes.x[:64].float() / 255
    dithered = (x + (torch.rand(x.shape) - 0.5) * 0.9 / 255).clamp(0, 1)
    a, b = (evaluate(v, clothes.take(slice(64)), "frechet")["frechet"].value for v in (x, dithered))
    assert a == b


def test_a_model_and_its_saved_samples_score_the_same(clothes, tmp_path):
    model = genzoo.create("gan", clothes.spec)
    genzoo.sample(model, tmp_path / "s.npz", 64)
    genzoo.sample(model, tmp_path / "pictures", 64)
    some = clothes.take(slice(64))
    scores = [evaluate(s, some, "frechet")["frechet"] for s in (model, tmp_path / "s.npz", tmp_path / "pictures")]
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-4)
    assert scores[2].value == pytest.approx(scores[1].value, rel=1e-9)  # in another order
    assert scores[0].protocol == scores[1].protocol == scores[2].protocol


def test_conditional_samples_keep_the_labels_that_were_asked_for(tmp_path, clothes):
    model = genzoo.create("cvae", clothes.spec, options={"generator": "mlp", "encoder": "mlp"})
    genzoo.sample(model, tmp_path / "s.npz", 50)
    some = clothes.take(slice(50))
    a, b = (evaluate(s, some, "conditional-accuracy")["conditional-accuracy"] for s in (model, tmp_path / "s.npz"))
    assert a.value == b.value


@pytest.mark.parametrize("write", ["numbers", "floats", "names", "folder"])
def test_labels_of_samples_that_lack_a_class_are_the_datas(write, tmp_path, clothes):
    few = clothes.take((clothes.y > 6).nonzero().flatten())  # sneakers, bags and boots
    names = [clothes.spec.class_names[k] for k in few.y]
    whole = evaluate(few, clothes, "conditional-accuracy")["conditional-accuracy"].value
    if write == "folder":
        for i, (x, name) in enumerate(zip(few.x, names, strict=True)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(x[0].numpy()).save(tmp_path / name / f"{i}.png")
        given = tmp_path
    else:
        given = few.x, {"numbers": few.y, "floats": few.y.double().numpy(), "names": np.array(names)}[write]
    assert whole > 0.8
    assert evaluate(given, clothes, "conditional-accuracy")["conditional-accuracy"].value == whole


def test_labels_of_samples_that_the_data_lack(clothes):
    none = "the samples were not asked to be of classes of the data"
    some, loud = "some samples were asked to be of class 'Hat', which is none of the data's", []
    for words, why, quiet in ((["Hat", "Cap"], none, ""), (["Hat", "Bag"], some, some)):
        given, kind = (clothes.x[:40], np.array(words * 20)), "conditional-accuracy"
        others = evaluate(given, clothes, ["classes", kind], strict=False)
        assert [a.reason for a in others.absent] == [why]
        with pytest.raises(UsageError, match=why):
            evaluate(given, clothes, kind)
        assert others.why_not(kind) == why
        usual = evaluate(given, clothes, cache=False)
        assert usual.why_not(kind) == quiet
        loud.append({a.metric for a in usual.absent if a.reason})
    assert loud[1] - loud[0] == {kind}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"metrics": "frechett"}, r"there is no metric 'frechett' \(did you mean 'frechet' or 'frechet-infinity'\?\)"),
        ({"metrics": "zzz"}, "there is no metric 'zzz'; see 'genzoo list metric'"),
        ({"metrics": ","}, "no metric is named"),
        ({"metrics": "frechet", "options": {"kid.size": 3}}, r"'kid.size' is no option of a metric that is measured"),
        ({"metrics": "kid", "options": {"kid.sise": 3}}, r"kid has no option 'sise' \(did you mean .*kid.size"),
        ({"metrics": "frechet", "extractor": "scatering"}, r"no extractor 'scatering' \(did you mean 'scattering'\?\)"),
        ({"metrics": "frechet", "extractor": "./none.onnx"}, r"there is no file none.onnx"),
        ({"metrics": "frechet", "n": 1}, "at least 2, not 1"),
        ({"metrics": "frechet", "n": 1000}, "there are 30 samples, fewer than 1000"),
        ({"metrics": "fid"}, "FID is of Inception's own features: add extractor="),
    ],
)
def test_wrong_requests(clothes, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        evaluate(clothes.x[:30], clothes.take(slice(30)), **call)


def test_samples_of_another_shape_or_kind(clothes, tmp_path):
    with pytest.raises(UsageError, match="the samples are images of 1×8×8 and the data images of 1×28×28"):
        evaluate(np.zeros((5, 8, 8), np.uint8), clothes, "frechet")
    with pytest.raises(UsageError, match="what is judged is a model, a weights folder, or samples"):
        evaluate(3, clothes, "frechet")
    with pytest.raises(GenzooError, match=r"there is no weights folder.*'nowhere'"):
        evaluate("nowhere", clothes, "frechet")
    (tmp_path / "bad.npz").write_bytes(b"PK not")
    with pytest.raises(GenzooError, match="is damaged, truncated or no NumPy file"):
        evaluate(tmp_path / "bad.npz", clothes, "frechet")
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(UsageError, match="has the arrays a, b: call the samples 'samples'"):
        evaluate(tmp_path / "two.npz", clothes, "frechet")


class Counting(Extractor):
    name = "counting"
    seen = 0

    @classmethod
    def open(cls, spec, path=None):
        return cls()

    def extract(self, x):
        Counting.seen += len(x)
        return Features(x.flatten(1)[:, 300:310])

    def sha256(self):
        return "c" * 64


def test_features_of_the_data_are_kept_and_a_damaged_file_is_made_anew(clothes, tmp_path):
    some = clothes.take(slice(50))

    def run():
        before = Counting.seen
        value = evaluate(clothes.x[50:90], some, "frechet", extractor=Counting())["frechet"].value
        return value, Counting.seen - before

    first, again = run(), run()
    assert (first[1], again[1]) == (90, 40)  # all of the data, and of the samples
    assert first[0] == again[0]
    (file,) = (tmp_path / "cache" / "genzoo" / "features").iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 255
    file.write_bytes(content)
    assert run() == first
    assert run() == again
    assert evaluate(clothes.x[:40], some, "frechet", extractor=Counting(), cache=False)["frechet"].n_real == 50


def test_reports_are_written_and_read(clothes, tmp_path):
    report = evaluate(clothes.x[:50], "fashion-mini", "memorization,classes", n=50)
    assert evaluation.save_report(report, tmp_path / "r") == tmp_path / "r"
    names = sorted(p.name for p in (tmp_path / "r").iterdir())
    assert names[-1] == "report.json"
    assert "memorization-nearest.png" in names
    again = evaluation.read_report(tmp_path / "r")
    assert isinstance(again, Report)
    assert again.to_dict() == json.loads((tmp_path / "r" / "report.json").read_text())
    assert again["classes"].compare(report["classes"]) == "undecided"
    evaluation.save_report(report, tmp_path / "r.json")
    assert evaluation.read_report(tmp_path / "r.json").to_dict() == again.to_dict()
    with pytest.raises(UsageError, match=r"not to 'r\.txt'"):
        evaluation.save_report(report, tmp_path / "r.txt")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(GenzooError, match="is no report of an evaluation"):
        evaluation.read_report(tmp_path / "x.json")


def test_every_metric_that_can_be_is_measured(clothes):
    """None fails on an ordinary model, and every number has an interval or the reason for none."""
    model = genzoo.create("vae", clothes.spec, options={"generator": "mlp", "encoder": "mlp"})
    quick = {f"{m}.samples": 3 for m in ("log-likelihood", "elbo", "bits-per-dimension")} | {"ais.steps": 3}
    report = evaluate(
        model, "fashion-mini", "all", n=120, options=quick | {"linear-probe.training": 200, "knn.training": 200}
    )
    for r in report:
        assert r.interval.known or r.interval.how, r.metric
        if r.interval.known and r.direction != "none":
            assert r.interval.low <= r.value <= r.interval.high, r.metric
        assert r.protocol.startswith(f"metric={r.metric}/")
    assert {a.metric for a in report.absent} == {
        "fid", "modes", "high-quality", "mode-kl", "conditional-accuracy", "stacked-modes", "stacked-kl", "mig", "sap",
        "modularity", "factor-vae", "dci-disentanglement", "dci-completeness", "dci-informativeness", "code-use",
        "code-perplexity", "mr-stft", "si-sdr", "snr", "log-spectral-distance", "mel-distance", "silent-samples",
        "nats-per-character", "distinct-n", "columns", "pairs", "levels-lost", "repeats", "detection", "tstr",
        "row-copies", "nearer", "dcr", "nndr", "membership", "forward-lm", "reverse-lm", "self-bleu", "valid-words",
        "bits-per-byte", "valid-molecules", "unique-molecules", "novel-molecules", "pitch-accuracy",
        "perplexity-per-word", "bleu-n", "copied-runs",
    }  # fmt: skip
