"""State that follows what training finds: in closed form, in parts of a batch, and after going on."""

import pytest
import torch

from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer
from genzoo.plugins.apps.kit.cases import small_data
from genzoo.plugins.augmentations.adaptive import ADA, APA
from genzoo.plugins.gan.energy import BEGAN
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.regularizers.lecam import LeCam
from genzoo.plugins.regularizers.slopes import R1


@pytest.mark.parametrize(("real", "fake"), [(2.0, 0.5), (1.0, 0.9), (0.1, 5.0)])
def test_begans_k_of_constant_energies(real, fake):
    """k after T turns is rate T (γ E(x) - E(G(z))), within [0, 1]."""
    objective = BEGAN(BEGAN.Options(gamma=0.75, rate=0.01))
    for turns in range(1, 101):
        objective.follow("critic", None, {"real": torch.tensor(real), "fake": torch.tensor(fake)})
        objective.follow("generator", None, {})
        expected = min(max(0.01 * turns * (0.75 * real - fake), 0), 1)
        assert objective.k.item() == pytest.approx(expected, abs=1e-5)


def test_began_weighs_fakes_by_k_and_tells_both_energies(game):
    built = game("gan", objective="began", objective__hidden=3)
    built.objective.k.fill_(0.3)
    x, noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), built.noise("critic", 8)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    coder, decoder = built.nets.critics["coder"], built.nets.critics["decoder"]
    fake = built.nets.model.mean(noise["z"])
    for name, v in (("real", x), ("fake", fake)):
        torch.testing.assert_close(loss.terms[name], (decoder(coder(v)) - v).abs().mean(1))
    torch.testing.assert_close(loss.total(), (loss.terms["real"] - 0.3 * loss.terms["fake"]).mean())
    generator = built.objective.loss("generator", built.nets, Batch(x), noise)
    torch.testing.assert_close(generator.total(), loss.terms["fake"].mean())


def test_adas_p_takes_exactly_its_images_to_rise_by_one():
    part = ADA(ADA.Options(images=640.0, highest=1.0))
    for _ in range(9):
        part.after_step({"sign": torch.tensor(0.9), "images": torch.tensor(64.0)})
    assert part.p.item() == pytest.approx(0.9)
    part.after_step({"sign": torch.tensor(0.9), "images": torch.tensor(64.0)})
    assert part.p.item() == pytest.approx(1.0)
    for _ in range(3):
        part.after_step({"sign": torch.tensor(0.2), "images": torch.tensor(64.0)})
    assert part.p.item() == pytest.approx(0.7)
    for _ in range(20):
        part.after_step({"sign": torch.tensor(-1.0), "images": torch.tensor(64.0)})
    assert part.p.item() == 0
    assert ADA().options.highest < 1  # by itself it stays where samples do not look augmented


class Following(GAN):
    """Keeps what it was told: a watched mean, and a sum of a shape of its own."""

    watched = ("real",)

    def loss(self, player, nets, batch, noise):
        found = super().loss(player, nets, batch, noise)
        if player == "critic":
            object.__setattr__(found, "sums", {"moments": batch.x.T @ batch.x, "n": torch.tensor(float(len(batch.x)))})
        return found

    def after_step(self, player, nets, seen):
        self.heard = [*getattr(self, "heard", []), (player, dict(seen))]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_after_step_is_told_of_the_whole_batch(trainer, parts):
    run = trainer("gan", train__accumulate=parts, train__steps=2, train__lr=0.0, critic__spectral_norm=False)
    objective = Following()
    run.objective = objective
    for playing in run.player_states:
        playing.turn.objective = objective
    run.train()
    x = run.feed.at(0)[0]
    (critic, seen), (generator, nothing) = objective.heard[:2]
    assert (critic, generator, nothing) == ("critic", "generator", {})
    torch.testing.assert_close(seen["moments"], x.T @ x)
    assert seen["n"] == 8
    torch.testing.assert_close(seen["real"], run.nets.critic(x).mean().detach())
    assert not any(v.requires_grad for v in seen.values())


def parted(trainer, toy, which, accumulate, steps=20, **more):
    """A short run of a loss with state, on SGD: Adam makes whole steps of rounding where a gradient is zero."""
    spec = DataSpec.image(1, 8, 8)
    given = {"objective": {"lecam": "hinge", "ada": "gan", "apa": "gan"}.get(which, which), "train__batch_size": 16,
             "train__steps": steps, "train__optimizer": "sgd", "train__lr": 0.02, "generator__norm": "none",
             "train__accumulate": accumulate}  # fmt: skip
    if which != "began":
        given["critic__spectral_norm"] = False
    run = trainer("gan", small_data(spec) if which == "ada" else toy(60), **given, **more)
    if which == "lecam":
        run.objective.regularizers.update({"lecam": LeCam(), "r1": R1(R1.Options(weight=0.1))})
    if which in ("ada", "apa"):
        part = {"ada": ADA, "apa": APA}[which]
        run.objective.augmentations[which] = part(part.Options(images=4000.0, target=0.0))
        run.objective.augmentations[which].p.fill_(0.5)
    return run


@pytest.mark.parametrize("which", ["began", "lecam", "ada", "apa"])
def test_parts_of_a_batch_move_state_as_the_whole_does(trainer, toy, which):
    found = []
    for accumulate in (1, 2):
        run = parted(trainer, toy, which, accumulate)
        run.train()
        found.append({**run.nets.state_dict(), **run.objective.state_dict()})
    moved = [v for k, v in found[0].items() if k in run.objective.state_dict()]
    assert moved
    assert all(v.abs().sum() > 0 and (v != 0.5).any() for v in moved)
    for name, a in found[0].items():
        assert (a - found[1][name]).norm() <= 1e-5 * a.norm() + 1e-7, name


class StopsAtFour(Observer):
    def step(self, trainer):
        trainer.stopping = trainer.step == 4


@pytest.mark.parametrize("which", ["began", "fisher-gan", "lecam", "ada", "apa"])
def test_a_run_that_goes_on_keeps_its_state(trainer, toy, which):
    whole, first, second = (parted(trainer, toy, which, 1, steps=8) for _ in range(3))
    whole.train()
    first.observers.append(StopsAtFour())
    first.train()
    first.prepare_state()
    tensors, plain = first.state()
    second.load_state(first.model.state_dict(), tensors, plain)
    second.train()
    for a, b in zip(whole.objective.state_dict().values(), second.objective.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.nets.parameters(), second.nets.parameters(), strict=True):
        assert torch.equal(a, b)
