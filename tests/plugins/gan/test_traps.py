"""Wrong forms that published code has, put in place of ours: the tests of the right ones fail, so they have teeth."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError
from torch.nn.functional import normalize, softplus

from genzoo.plugins.gan import dual_contrastive, feature_critics, fgan, relativistic
from genzoo.plugins.gan.dual_contrastive import DualContrastive
from genzoo.plugins.gan.energy import EBGAN, Energy
from genzoo.plugins.gan.feature_critics import CramerGAN
from genzoo.plugins.gan.fisher_gan import SecondMoment
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.gan_qp import QuadraticPotential
from genzoo.plugins.gan.hinge import Hinge
from genzoo.plugins.gan.lsgan import LSGAN
from genzoo.plugins.gan.relativistic import RaGAN, RpGAN
from genzoo.plugins.gan.softmax_gan import SoftmaxGAN
from genzoo.plugins.gan.wgan import Wasserstein


def beside(name):
    """The module of a test file in this folder."""
    spec = importlib.util.spec_from_file_location(f"traps_{name}", Path(__file__).parent / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOSSES, COUPLED, ORACLES = beside("test_losses"), beside("test_coupled"), beside("test_oracles_gan")


@pytest.fixture
def teeth(monkeypatch):
    """``teeth(test, *its_arguments, owner, name, wrong)``: the test, which passes, fails where ``wrong`` is put in."""

    def check(test, *given, owner, name, wrong):
        test(*given)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, wrong)
            with pytest.raises((AssertionError, GradcheckError)):
                test(*given)

    return check


def log_of_sigmoid(self, real, fake):
    return -(real.sigmoid() + 1e-8).log() - (1 - fake.sigmoid() + 1e-8).log()


def one_minus(self, fake, real):  # in place of the sign: σ(1 - d)
    return -(1 - fake.sigmoid() + 1e-6).log()


def smoothed_twice(self, real, fake):
    s = self.options.smoothing
    return softplus(-real) + s * real + softplus(fake) - s * fake


@pytest.mark.parametrize(("name", "wrong"), [("critic_loss", log_of_sigmoid), ("generator_loss", one_minus)])
def test_sigmoids_under_a_logarithm(teeth, name, wrong):
    test = ORACLES.test_losses_and_gradients_over_logits_from_minus_to_plus_100
    teeth(test, owner=GAN, name=name, wrong=wrong)


def test_smoothing_of_both_sides(teeth):
    test = LOSSES.test_smoothing_is_on_the_side_of_the_data
    teeth(test, owner=GAN, name="critic_loss", wrong=smoothed_twice)


def test_a_hinge_of_means(teeth):
    def wrong(self, real, fake):
        return ((1 - real.mean()).relu() + (1 + fake.mean()).relu()).expand(len(real))

    teeth(LOSSES.test_the_hinge_stops_at_its_margin, owner=Hinge, name="critic_loss", wrong=wrong)


def test_a_hinge_with_one_sign_swapped(teeth):
    def wrong(self, real, fake):
        return (1 - real).relu() + (1 - fake).relu()

    teeth(LOSSES.test_the_hinges_optimum_is_the_total_variation, owner=Hinge, name="critic_loss", wrong=wrong)


@pytest.mark.parametrize("targets", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_targets_of_least_squares_swapped(teeth, targets):
    def wrong(self, real, fake):
        a, b, _ = self.options.targets
        return ((real - a).square() + (fake - b).square()) / 2

    test = LOSSES.test_least_squares_optimum_and_its_divergence
    teeth(test, *targets, owner=LSGAN, name="critic_loss", wrong=wrong)


def test_a_relativistic_generator_whose_loss_is_overwritten(teeth, game):
    def wrong(self, fake, real):
        return softplus(-fake)

    test = ORACLES.test_only_the_relativistic_generator_looks_at_the_real_batch
    teeth(test, game, owner=RpGAN, name="generator_loss", wrong=wrong)


def half_of_the_sum(self, real, fake):
    return self._wanted(real - fake.mean()) / 2


def the_other_way_round(self, real, fake):
    return (self._wanted(real - fake.mean()) + self._wanted(-(fake.mean() - real))) / 2


@pytest.mark.parametrize("form", ["ragan", "ragan-ls", "ragan-hinge"])
@pytest.mark.parametrize("wrong", [half_of_the_sum, the_other_way_round])
def test_relativistic_averages_of_one_side_only(teeth, form, wrong):
    test = COUPLED.test_losses_of_whole_batches_are_those_of_loops
    teeth(test, form, "critic", owner=RaGAN, name="critic_loss", wrong=wrong)


def test_averages_that_are_held_fixed(teeth):
    for form in ("ragan", "ragan-ls", "ragan-hinge"):
        test = COUPLED.test_gradients_go_through_what_the_batch_shares
        teeth(test, form, "critic", owner=relativistic, name="all_gather", wrong=torch.Tensor.detach)


class Unpatched:
    """Leaves all_gather what it is on one process, the identity."""

    def setattr(self, module, name, value):
        pass


@pytest.mark.parametrize("form", ["ragan", "softmax", "dual", "fisher"])
def test_averages_of_each_processs_own_part(form):
    with pytest.raises(AssertionError):
        COUPLED.test_halves_of_a_batch_are_played_as_the_whole(form, "critic", Unpatched())


def test_a_softmax_without_its_maximum(teeth):
    def wrong(self, real, fake):
        return (torch.cat([real, fake]).exp().sum() + 1e-8).log() - real

    teeth(COUPLED.test_softmax_of_scores_that_are_known, owner=SoftmaxGAN, name="critic_loss", wrong=wrong)


def test_a_generator_that_carries_the_critics_gradient(teeth):
    def wrong(self, fake, real):
        return 2 * self.critic_loss(real, fake) + (real - fake) / 2

    test = COUPLED.test_losses_of_whole_batches_are_those_of_loops
    teeth(test, "softmax", "generator", owner=SoftmaxGAN, name="generator_loss", wrong=wrong)


def test_a_positive_among_the_negatives(teeth):
    def wrong(self, real, fake):
        against = torch.logaddexp(fake.logsumexp(0), real)
        return softplus(against - real) + softplus(torch.logaddexp((-real).logsumexp(0), -fake) + fake)

    teeth(COUPLED.test_dual_contrast_of_scores_that_are_known, owner=DualContrastive, name="critic_loss", wrong=wrong)
    test = COUPLED.test_gradients_go_through_what_the_batch_shares
    teeth(test, "dual", "critic", owner=dual_contrastive, name="all_gather", wrong=torch.Tensor.detach)


def test_exponentials_without_a_bound(teeth):
    teeth(
        LOSSES.test_no_divergence_overflows_or_goes_flat, owner=fgan, name="exp", wrong=lambda v, most=10: torch.exp(v)
    )


@pytest.mark.parametrize("name", ["kl", "jensen-shannon", "hellinger"])
def test_a_conjugate_of_the_score_itself(teeth, name):
    """f*(v) where f*(g(v)) belongs, or for KL without its 1."""
    g, _ = fgan.FORMS[name]
    wrong = {**fgan.FORMS, name: (g, lambda v: g(v).exp())}
    teeth(LOSSES.test_f_gans_bound_is_tight, name, owner=fgan, name="FORMS", wrong=wrong)


def test_a_multiplier_of_the_wrong_sign(teeth):
    def wrong(self, seen):
        self.multiplier.add_(self.options.rho * seen["constraint"])

    for test in (
        COUPLED.test_fishers_multiplier_of_a_constant_constraint,
        COUPLED.test_fishers_optimum_has_unit_second_moment,
    ):
        teeth(test, owner=SecondMoment, name="after_step", wrong=wrong)


def test_a_constraint_on_one_side(teeth):
    def wrong(self, judged):
        c = (1 - judged.real_score.square()).mean()
        return (self.options.rho / 2 * c.square() - self.multiplier * c).expand(len(judged.real_score))

    teeth(COUPLED.test_fishers_optimum_has_unit_second_moment, owner=SecondMoment, name="term", wrong=wrong)


def test_a_distance_that_grows_with_the_dimension(teeth):
    def wrong(self, judged):
        distance = (judged.real.x - judged.fake).abs().flatten(1).sum(1)
        return (judged.real_score - judged.fake_score).square() / (2 * self.options.scale * distance)

    test = LOSSES.test_the_quadratic_potential_between_two_points
    teeth(test, 0.7, owner=QuadraticPotential, name="term", wrong=wrong)


def test_a_divergence_of_slopes_that_is_not_halved(teeth):
    def wrong(self, judged):
        return sum(judged.squared_slopes(side) ** (self.options.power / 2) for side in self.slopes)

    from genzoo.plugins.regularizers.slopes import Divergence

    test = LOSSES.test_the_wasserstein_divergence_between_two_points
    teeth(test, owner=Divergence, name="term", wrong=wrong)


def test_the_diagonal_left_in(teeth):
    def wrong(x, y):
        kernel = feature_critics.kernel
        return kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()

    teeth(COUPLED.test_mmd_between_normals, owner=COUPLED, name="squared_mmd", wrong=wrong)


def test_one_sample_taken_twice(teeth, game):
    def wrong(self, player, draws, model):
        noise = super(CramerGAN, self).draw(player, draws, model)
        return noise | {"second": noise["z"]}

    test = COUPLED.test_distances_of_features_in_a_game
    teeth(test, "cramer-gan", game, owner=CramerGAN, name="draw", wrong=wrong)


def test_the_critics_surrogate_in_the_generators_turn(teeth, game):
    def wrong(self, real, fake, other):
        return self.critic_distance(real, fake, other)

    test = COUPLED.test_distances_of_features_in_a_game
    teeth(test, "cramer-gan", game, owner=CramerGAN, name="distance", wrong=wrong)


def without_its_square(codes):
    s, n = normalize(codes, dim=1), len(codes)
    return ((s @ s.T).sum() - n) / (n * (n - 1))


def normed_over_the_batch(codes):
    s, n = normalize(codes, dim=0), len(codes)
    return ((s @ s.T).square().sum() - n) / (n * (n - 1))


def with_its_diagonal(codes):
    s, n = normalize(codes, dim=1), len(codes)
    return (s @ s.T).square().sum() / (n * (n - 1))


@pytest.mark.parametrize("wrong", [without_its_square, normed_over_the_batch, with_its_diagonal])
def test_pulling_away_otherwise(teeth, wrong):
    teeth(LOSSES.test_pulling_away_of_codes_that_are_known, owner=LOSSES, name="pulling_away", wrong=wrong)


def test_a_margin_of_the_batchs_mean(teeth, game):
    right = EBGAN.judged

    def wrong(self, real, fake):
        return right(self, real, fake.mean().expand(len(fake)))

    teeth(LOSSES.test_ebgans_margin_is_each_observations_own, game, owner=EBGAN, name="judged", wrong=wrong)


def test_a_target_that_is_held_fixed(teeth, game):
    right = Energy.energy

    def wrong(self, nets, x, y):
        code = nets.critics["coder"](x, y)
        error = nets.model.likelihood.mean(nets.critics["decoder"](code, y)) - x.detach()
        return error.abs().flatten(1).mean(1), right(self, nets, x, y)[1]

    teeth(LOSSES.test_the_generator_is_taught_by_the_autoencoder, game, owner=Energy, name="energy", wrong=wrong)


def test_a_critic_that_is_rewarded_for_fakes(teeth):
    def wrong(self, real, fake):
        return real - fake

    test = LOSSES.test_the_quadratic_potential_between_two_points
    teeth(test, 0.7, owner=Wasserstein, name="critic_loss", wrong=wrong)
