"""Wrong forms of regularizers and augmentations that published code has: the tests of the right ones fail on them."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from genzoo.core import regularizer
from genzoo.core.math import penalties
from genzoo.plugins.augmentations.adaptive import ADA, APA
from genzoo.plugins.gan import unrolled
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.nets.deviation import Comparison
from genzoo.plugins.nets.mlp import MLPCritic
from genzoo.plugins.regularizers import consistency, gradient_normalization, path_length
from genzoo.plugins.regularizers.consistency import Consistency, LatentConsistency
from genzoo.plugins.regularizers.diversity import ModeSeeking
from genzoo.plugins.regularizers.feature_matching import FeatureMatching
from genzoo.plugins.regularizers.lecam import LeCam
from genzoo.plugins.regularizers.orthogonal import Orthogonal, matrices
from genzoo.plugins.regularizers.slopes import DRAGAN, R1, Divergence, Lipschitz
from genzoo.plugins.regularizers.topk import TopK


def beside(name):
    """The module of a test file in this folder."""
    spec = importlib.util.spec_from_file_location(f"part_traps_{name}", Path(__file__).parent / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SLOPES, TERMS, COLLAPSE = beside("test_regularizers"), beside("test_generator_terms"), beside("test_collapse")
AUGMENT, STATE, teeth = beside("test_augment"), beside("test_state"), beside("test_traps").teeth

NORMS = {
    "over the batch": lambda g: g.norm().expand(len(g)),
    "over channels": lambda g: g.norm(dim=1).flatten(1).mean(1),
    "over the last dimension": lambda g: g.norm(dim=-1).flatten(1).mean(1),
    "without a root": lambda g: g.flatten(1).square().sum(1),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_of_something_else(teeth, name):
    linear = SLOPES.test_a_linear_critic_has_one_slope_everywhere
    teeth(linear, (3, 4, 5), 4, owner=regularizer, name="gradient_norm", wrong=NORMS[name])


def test_slopes_squared_without_the_half_or_of_the_batch(teeth):
    test = SLOPES.test_r1_and_r2_of_a_quadratic_critic
    teeth(test, ("real",), True, owner=R1, name="term", wrong=lambda self, judged: judged.squared_slopes("real"))
    batch = lambda g: g.square().sum().expand(len(g))  # noqa: E731
    teeth(test, ("real",), True, owner=regularizer, name="squared_norm", wrong=batch)


def test_one_place_between_real_and_fake_for_the_whole_batch(teeth, game):
    one = lambda self, draws, model: {"mix": draws.uniform(1)[:1].expand(draws.batch, 1)}  # noqa: E731
    test = SLOPES.test_wgan_gp_takes_its_slopes_evenly_between_real_and_fake
    teeth(test, game, owner=Lipschitz, name="draw", wrong=one)


def test_dragan_on_both_sides_of_an_observation(teeth):
    def draw(self, draws, model):
        return {"far": draws.uniform(1), "around": 2 * draws.uniform(*model.spec.shape) - 1}

    teeth(SLOPES.test_dragans_points_are_within_half_a_deviation, owner=DRAGAN, name="draw", wrong=draw)


def test_a_penalty_without_the_loss_beside_it(teeth, game):
    right = Adversarial._loss

    def wrong(self, critic, terms, *more):
        return right(self, critic, {**terms, "adversarial": 0 * terms["adversarial"]}, *more)

    teeth(SLOPES.test_a_penalty_comes_beside_the_loss, game, owner=Adversarial, name="_loss", wrong=wrong)


def test_a_power_of_the_squared_slope(teeth):
    def term(self, judged):
        return sum(judged.squared_slopes(side) ** self.options.power for side in self.slopes) / 2

    test = SLOPES.test_the_wasserstein_divergences_slope_between_two_points
    teeth(test, owner=Divergence, name="term", wrong=term)


def test_a_lazy_term_that_weighs_no_more(teeth, game):
    right = Adversarial._weighed

    def wrong(self, turn, name, found, noise):
        return right(self, turn, name, found, noise) / self.regularizers[name].options.every

    for test, part in ((SLOPES.test_a_lazy_term_keeps_its_expectation, R1),
                       (TERMS.test_a_lazy_term_of_the_generator_keeps_its_expectation, "orthogonal")):  # fmt: skip
        teeth(test, game, part, owner=Adversarial, name="_weighed", wrong=wrong)


def test_lecam_without_a_bound_below(teeth):
    def term(self, judged):
        real, fake = self.means / (1 - torch.pow(self.options.decay, self.turns)).clamp(min=1e-8)
        found = (judged.real_score - fake).square() + (real - judged.fake_score).square()
        return found * (self.turns > 0)

    def untimed(self, seen):  # means that are not corrected for their start
        self.means.lerp_(torch.stack([seen["real"], seen["fake"]]), 1 - self.options.decay)
        self.turns.fill_(1e9)

    teeth(SLOPES.test_lecam_of_constant_scores, owner=LeCam, name="after_step", wrong=untimed)
    part = LeCam()
    part.after_step({"real": torch.tensor(1.0), "fake": torch.tensor(-1.0)})
    scores = type("S", (), {"real_score": torch.full((2,), -2.0), "fake_score": torch.full((2,), 2.0)})
    assert part.term(scores).tolist() == [0, 0]
    assert term(part, scores).min() > 1


def test_slopes_that_are_held_fixed(teeth):
    def fixed(critic, x, attached=False):
        scores, gradient = penalties.input_gradient(critic, x, attached=attached)
        return scores, gradient.detach()

    def cut(critic, x, attached=False):
        return penalties.input_gradient(critic, x)

    for wrong in (fixed, cut):
        test = TERMS.test_the_normalized_scores_gradient_goes_through_the_slope
        teeth(test, owner=gradient_normalization, name="input_gradient", wrong=wrong)


def test_a_normalization_of_the_critics_turn_only(teeth, game):
    right = Adversarial.loss

    def loss(self, player, nets, batch, noise):
        for part in self.regularizers.values():
            part.rescales = player == "critic"
        return right(self, player, nets, batch, noise)

    teeth(TERMS.test_both_turns_and_further_outputs_are_normalized, game, owner=Adversarial, name="loss", wrong=loss)


def test_consistency_by_one_branch(teeth):
    def term(self, judged):
        return (
            judged.real_score.detach()
            - judged.scores_at(consistency.moved(judged.real.x, judged.noise["real"]), "real")
        ).square()

    test = TERMS.test_consistency_of_a_linear_critic
    teeth(test, Consistency(), ("real",), owner=Consistency, name="term", wrong=term)


def test_latent_consistency_of_the_wrong_image_or_sign(teeth):
    test, generator = TERMS.test_codes_near_each_other, LatentConsistency.generator_term

    def other(self, judged):
        near = judged.nets.model.mean(judged.z + judged.noise["change"], judged.real.y)
        return (judged.real_score - judged.scores_at(near + 1, "fake")).square()

    teeth(test, owner=LatentConsistency, name="term", wrong=other)
    teeth(test, owner=LatentConsistency, name="generator_term", wrong=lambda self, made: -generator(self, made))


def test_a_mean_of_ratios(teeth):
    def term(self, made):
        samples, codes = self.apart(made)
        return (1 / ((samples / codes).mean() + 1e-5)).expand(len(made.fake))

    test = TERMS.test_mode_seeking_is_a_ratio_of_means_and_diversity_of_pairs
    teeth(test, owner=ModeSeeking, name="generator_term", wrong=term)


@pytest.mark.parametrize("wrong", [
    lambda net: sum((w @ w.T - torch.eye(len(w))).square().sum() for w in matrices(net)),
    lambda net: sum((w @ w.T).triu(1).square().sum() for w in matrices(net)),
    lambda net: sum((w.T @ w).fill_diagonal_(0).square().sum() for w in matrices(net)),
])  # fmt: skip
def test_rows_of_unit_length_half_of_the_derivative_columns(teeth, wrong):
    test = TERMS.test_rows_at_right_angles_cost_nothing_whatever_their_length
    teeth(test, owner=Orthogonal, name="penalty", wrong=staticmethod(wrong))


def test_the_best_k_without_their_weight_or_the_worst(teeth):
    def plain(self, made):
        kept = made.score.topk(int(made.noise["share"] * len(made.score))).values[-1]
        return -(made.score < kept).double() * made.loss

    def worst(self, made):
        kept = made.loss.topk(int(made.noise["share"] * len(made.score))).values[-1]
        return ((made.loss >= kept) * 2.0 - 1) * made.loss

    for wrong in (plain, worst):
        teeth(TERMS.test_the_best_count_more_and_the_rest_not_at_all, owner=TopK, name="generator_term", wrong=wrong)


def test_features_of_unrelated_pairs(teeth):
    def term(self, made):
        return (made.features("fake") - made.features("real")).square().sum(1)

    teeth(TERMS.test_features_are_matched_on_average, owner=FeatureMatching, name="generator_term", wrong=term)


def test_steps_ahead_without_a_path_through_them(teeth):
    right = unrolled._slopes

    def first_order(loss, weights):
        return {k: v.detach() for k, v in right(loss, weights).items()}

    test = COLLAPSE.test_the_generators_gradient_goes_through_the_critics_steps
    teeth(test, owner=unrolled, name="_slopes", wrong=first_order)


def test_an_observation_that_is_like_itself(teeth):
    right = Comparison.alike
    test = COLLAPSE.test_like_observations_count_each_other_and_not_themselves
    teeth(test, owner=Comparison, name="alike", wrong=lambda self, h: right(self, h) + 1)


def test_lengths_summed_over_layers(teeth):
    right = path_length.lengths
    layers = lambda model, *given: right(model, *given) * model.generator.layers**0.5  # noqa: E731
    teeth(COLLAPSE.test_lengths_of_a_linear_generator, owner=COLLAPSE, name="lengths", wrong=layers)


def test_a_head_that_adds_what_is_beside(teeth):
    def added(self, x, y=None, beside=None):
        said = torch.cat([x.flatten(1).tanh(), beside.tanh()], 1)
        return torch.nn.functional.pad(said, (0, self.head.in_features - said.shape[1]))

    teeth(COLLAPSE.test_a_critic_sees_dependence, "mlp", owner=MLPCritic, name="features", wrong=added)


def test_noise_on_one_side_only(teeth, game):
    right = Adversarial.view

    def view(self, x, noise, side):
        return x if side == "fake" else right(self, x, noise, side)

    teeth(
        AUGMENT.test_instance_noise_is_fresh_on_both_sides_and_in_both_turns,
        game,
        owner=Adversarial,
        name="view",
        wrong=view,
    )


def test_stand_ins_of_other_classes_and_a_probability_without_a_bound(teeth, game):
    test, right = AUGMENT.test_samples_stand_for_real_observations, APA.stand_in
    teeth(test, game, owner=APA, name="stand_in", wrong=lambda self, real, fake, u: right(self, real, fake.flip(0), u))

    def unbounded(self, seen):
        self.p.add_(torch.sign(seen["sign"] - self.options.target) * seen["images"] / self.options.images)

    teeth(STATE.test_adas_p_takes_exactly_its_images_to_rise_by_one, owner=ADA, name="after_step", wrong=unbounded)
