"""GANs of texts: the score function is the slope of what is expected, and state follows what a turn found."""

from __future__ import annotations

import itertools

import pytest
import torch

import genzoo
from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError
from genzoo.core.math.tables import from_levels
from genzoo.core.networks import Ports
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gumbel_gan import GumbelGAN, one_hot
from genzoo.plugins.gan.reinforce_gan import ReinforceGAN
from genzoo.plugins.nets.text_critics import ConvolutionalCritic, RecurrentCritic

SPEC = DataSpec("text", (3,), 5, facts={"tokens": "characters", "alphabet": "ab"})
ROWS = torch.tensor([[*w, 1, *[0] * (2 - len(w))] for n in range(3) for w in itertools.product((2, 3, 4), repeat=n)])
EVERY = from_levels(ROWS, 5)  # all texts there are, 13


@pytest.fixture
def likelihood():
    from genzoo.plugins.likelihoods.ar_gru import RecurrentLikelihood as L

    torch.manual_seed(0)
    return L(SPEC, L.Options(hidden=8, embed=4, features=3)).eval()


def test_the_score_function_is_the_slope_of_the_expected_reward(likelihood) -> None:
    """Summed over all texts: Σ p(x) Σ_t (R_t - b) ∇log p(x_t|x_<t) = ∇ Σ p(x) Σ_t γ^t r_t with γ = 1, whatever b is."""
    objective = ReinforceGAN(ReinforceGAN.Options(discount=1.0))
    objective.baseline.fill_(0.37)
    torch.manual_seed(1)
    critic = RecurrentCritic(Ports((3, 5), (3,)), RecurrentCritic.Options(hidden=6, embed=4))
    there, h = ROWS != 0, torch.randn(1, 3, requires_grad=True)
    with torch.no_grad():
        logits = critic(one_hot(EVERY, 5))
        worth, _ = objective.worth(logits, there)
    log_p = likelihood.token_log_prob(h.expand(13, 3), EVERY)
    p = log_p.sum(1).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    found = torch.autograd.grad((p.detach()[:, None] * worth * log_p).sum(), h, retain_graph=True)[0]
    reward = ((2 * torch.sigmoid(logits) - 1) * there).sum(1)
    wanted = torch.autograd.grad((p * reward).sum(), h, retain_graph=True)[0]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    wrong = torch.autograd.grad((p.detach()[:, None] * worth.flip(1) * log_p).sum(), h)[0]  # not what came later
    assert not torch.allclose(wrong, wanted, atol=1e-4)


def test_a_token_is_worth_what_follows_it() -> None:
    objective = ReinforceGAN(ReinforceGAN.Options(discount=0.5))
    logits = torch.logit((torch.tensor([[0.2, -0.4, 0.6], [0.5, 0.1, 0.0]]) + 1) / 2)
    worth, reward = objective.worth(logits, torch.tensor([[True] * 3, [True, True, False]]))
    torch.testing.assert_close(worth, torch.tensor([[0.15, -0.1, 0.6], [0.55, 0.1, 0.0]]))
    torch.testing.assert_close(reward, torch.tensor([0.65 / 3, 0.325]))
    objective.after_step("generator", None, {"reward": torch.tensor(2.0)})
    assert objective.baseline.item() == pytest.approx(0.1)
    plain = ReinforceGAN(ReinforceGAN.Options(weight="maligan"))
    worth, _ = plain.worth(torch.tensor([[1.0, 3.0, 9.0], [0.0, 0.0, 0.0]]), torch.tensor([[True, True, False]] * 2))
    share = torch.softmax(torch.tensor([2.0, 0.0]), 0) * 2 - 1
    torch.testing.assert_close(worth, share[:, None] * torch.tensor([[1.0, 1.0, 0.0]] * 2))


def test_a_score_for_each_token_goes_by_those_before_it() -> None:
    torch.manual_seed(0)
    critic = RecurrentCritic(Ports((3, 5), (3,)))
    x = one_hot(EVERY[4:5], 5).requires_grad_()
    for t in range(3):
        slope = torch.autograd.grad(critic(x)[0, t], x, retain_graph=True)[0][0]
        assert not slope[t + 1 :].any()
        assert slope[: t + 1].any()


@pytest.mark.parametrize("critic", [ConvolutionalCritic, RecurrentCritic])
def test_critics_are_told_labels_and_judge_each_alone(critic) -> None:
    torch.manual_seed(0)
    d = critic(Ports((3, 5), (1,), classes=2, per_observation=True))
    x, y = one_hot(EVERY[:6], 5), torch.arange(6) % 2
    assert d(x, y).shape == (6, 1)
    assert not torch.equal(d(x, y), d(x, 1 - y))
    torch.testing.assert_close(d(x, y)[:2], d(x[:2], y[:2]))
    assert d.features(x, y).dim() == 2


@pytest.mark.parametrize("name", ["gumbel-gan", "reinforce-gan"])
def test_parts_of_a_batch_are_the_batch(name: str) -> None:
    """State that follows a turn: accumulate 1 = 2."""
    options = {"likelihood.hidden": 8, "likelihood.embed": 4, "critic.hidden": 6, "critic.embed": 4,
               "train.validation": 0, "train.batch_size": 8, "train.optimizer": "sgd", "train.lr": 0.1}  # fmt: skip
    words = ["a", "ab", "ba", "b", "bb", "aa", "", "aab"] * 3
    found = []
    for parts in (1, 2):
        data = from_arrays(words, modality="text")
        run = genzoo.fit(name, data, steps=3, options={**options, "train.accumulate": parts}, device="cpu")
        found.append({k: v.clone() for k, v in run.model.state_dict().items()})
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, atol=1e-5, rtol=1e-4)


def test_pictures_are_refused() -> None:
    for objective in (GumbelGAN(), ReinforceGAN()):
        with pytest.raises(UsageError, match="this GAN is for texts"):
            objective.plan(DataSpec.image(1, 8, 8))


def test_the_generator_rests_while_only_the_critic_learns() -> None:
    options = {"likelihood.hidden": 8, "objective.critic_first": 0.9, "train.validation": 0, "train.batch_size": 4}
    data = from_arrays(["ab", "ba", "a", "b"] * 4, modality="text")
    before = genzoo.create("gumbel-gan", data.spec, options=options, seed=0).state_dict()
    after = genzoo.fit("gumbel-gan", data, steps=2, options=options, device="cpu", seed=0).model.state_dict()
    for key, value in before.items():
        torch.testing.assert_close(after[key], value)


def test_a_bandit_finds_its_better_arm() -> None:
    """Two texts of one letter, of which a critic that is fixed likes one: the chance of it follows its own slope.

    With p the chance of the better one, d/dlogit E[r] = p (1 - p) (r_a - r_b), whatever the baseline.
    """
    likes = torch.tensor([0.6, -0.2])  # rewards of a and b
    torch.manual_seed(0)
    logit = torch.zeros((), requires_grad=True)
    objective = ReinforceGAN(ReinforceGAN.Options(discount=1.0))
    there = torch.tensor([[True]])
    for turn in range(400):
        p = torch.sigmoid(logit)
        drawn = (torch.rand(512) > p.detach()).long()
        scores = torch.logit((likes[drawn, None] + 1) / 2).requires_grad_()
        with torch.no_grad():
            worth, reward = objective.worth(scores, there.expand(512, 1))
        log_p = torch.where(drawn == 0, p.log(), (1 - p).log())
        slope, *rest = torch.autograd.grad((worth[:, 0] * log_p).mean(), [logit, scores], allow_unused=True)
        assert rest == [None]  # a reward has no slopes
        if turn == 0:
            assert objective.baseline == 0
        found, wanted = slope.item(), (p * (1 - p) * (likes[0] - likes[1])).item()
        assert abs(found - wanted) < 5 * 0.5 * (worth.std() + 0.6).item() / 512**0.5
        with torch.no_grad():
            logit += 2 * slope
        objective.after_step("generator", None, {"reward": reward.mean()})
    assert torch.sigmoid(logit).item() > 0.95
    assert objective.baseline.item() == pytest.approx(0.6, abs=0.1)
