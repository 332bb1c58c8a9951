"""Every part of the family: it says its paper, it is short, and a test holds it to the truth."""

import inspect
import re
from pathlib import Path

import pytest

from genzoo.registry import the_registry

TESTS = Path(__file__).parents[1]
# Of code: neither blank, nor a comment, nor a docstring. A network is counted with the whole of its file.
MOST_LINES = {"objective": 20, "regularizer": 25, "augmentation": 30, "generator": 250, "critic": 250}

# Entries of the family, and the test against the truth of each.
ROWS = """
objective:gan                gan/test_losses.py::test_the_critics_optimum_is_the_log_ratio
objective:lsgan              gan/test_losses.py::test_least_squares_optimum_and_its_divergence
objective:hinge              gan/test_losses.py::test_the_hinges_optimum_is_the_total_variation
objective:rpgan              gan/test_losses.py::test_pairs_without_penalty_are_r3gans
objective:r3gan              gan/test_oracles_gan.py::test_only_the_relativistic_generator_looks_at_the_real_batch
objective:ragan              gan/test_coupled.py::test_relativistic_averages_of_one_are_pairs
objective:softmax-gan        gan/test_coupled.py::test_softmax_of_scores_that_are_known
objective:fgan               gan/test_losses.py::test_f_gans_bound_is_tight
objective:wgan               gan/test_oracles_gan.py::test_clipping_clips_after_every_turn_of_the_critic
objective:wgan-gp            gan/test_regularizers.py::test_wgan_gp_takes_its_slopes_evenly_between_real_and_fake
objective:wgan-div           gan/test_losses.py::test_the_wasserstein_divergence_between_two_points
objective:gan-qp             gan/test_losses.py::test_the_quadratic_potential_between_two_points
objective:fisher-gan         gan/test_coupled.py::test_fishers_optimum_has_unit_second_moment
objective:sobolev-gan        gan/test_coupled.py::test_sobolevs_optimum_between_two_points
objective:mmd-gan            gan/test_coupled.py::test_mmd_between_normals
objective:cramer-gan         gan/test_coupled.py::test_cramers_distance_of_normals
objective:ebgan              gan/test_losses.py::test_ebgans_margin_is_each_observations_own
objective:began              gan/test_state.py::test_begans_k_of_constant_energies
objective:dual-contrastive   gan/test_coupled.py::test_dual_contrast_of_scores_that_are_known
objective:pacgan             gan/test_losses.py::test_packs_are_judged_as_the_product_of_distributions
objective:unrolled           gan/test_collapse.py::test_the_generators_gradient_goes_through_the_critics_steps
objective:ali                gan/test_losses.py::test_no_critic_tells_a_true_posteriors_pairs_apart
recipe:bigan                 gan/test_collapse.py::test_bigans_codes_are_points
objective:veegan             gan/test_collapse.py::test_a_perfect_inverse_costs_nothing
objective:acgan              gan/test_classes.py::test_acgans_classification
recipe:tacgan                gan/test_classes.py::test_the_twin_learns_samples_and_takes_back_what_the_classifier_gives
recipe:adcgan                gan/test_classes.py::test_fake_classes_of_adcgan_are_classes_of_their_own
objective:contragan          gan/test_classes.py::test_contragans_loss_is_that_of_a_loop
objective:reacgan            gan/test_classes.py::test_reacgans_loss_is_that_of_a_loop
objective:infogan            gan/test_classes.py::test_what_the_critic_misses_of_the_code
objective:fastgan            nets/test_excitation.py::test_the_critic_draws_what_it_is_shown
regularizer:r1               gan/test_regularizers.py::test_r1_and_r2_of_a_quadratic_critic
regularizer:r2               gan/test_regularizers.py::test_r1_and_r2_of_a_quadratic_critic
regularizer:lipschitz        gan/test_regularizers.py::test_a_linear_critic_has_one_slope_everywhere
regularizer:max-slope        gan/test_coupled.py::test_only_the_largest_slope_of_a_batch_costs
regularizer:wgan-div         gan/test_regularizers.py::test_the_wasserstein_divergences_slope_between_two_points
regularizer:dragan           gan/test_regularizers.py::test_dragans_points_are_within_half_a_deviation
regularizer:lecam            gan/test_regularizers.py::test_lecam_of_constant_scores
regularizer:cr               gan/test_generator_terms.py::test_consistency_of_a_linear_critic
regularizer:bcr              gan/test_generator_terms.py::test_consistency_of_a_linear_critic
regularizer:zcr              gan/test_generator_terms.py::test_codes_near_each_other
regularizer:gn               gan/test_generator_terms.py::test_the_normalized_scores_gradient_goes_through_the_slope
regularizer:orthogonal       gan/test_generator_terms.py::test_rows_at_right_angles_cost_nothing_whatever_their_length
regularizer:path-length      gan/test_collapse.py::test_lengths_of_a_linear_generator
regularizer:topk             gan/test_generator_terms.py::test_the_best_count_more_and_the_rest_not_at_all
regularizer:feature-matching gan/test_generator_terms.py::test_features_are_matched_on_average
regularizer:mode-seeking     gan/test_generator_terms.py::test_mode_seeking_is_a_ratio_of_means_and_diversity_of_pairs
regularizer:diversity        gan/test_generator_terms.py::test_mode_seeking_is_a_ratio_of_means_and_diversity_of_pairs
augmentation:diffaugment     gan/test_augment.py::test_gradients_go_through_by_finite_differences
augmentation:ada             gan/test_state.py::test_adas_p_takes_exactly_its_images_to_rise_by_one
augmentation:apa             gan/test_augment.py::test_samples_stand_for_real_observations
augmentation:instance-noise  gan/test_augment.py::test_instance_noise_falls_linearly_to_nothing
generator:conv               nets/test_nets.py::test_initial_scale_of_a_conv_generator
critic:conv                  nets/test_nets.py::test_spectral_norm_makes_the_largest_singular_value_one
generator:mlp                nets/test_nets.py::test_mlp_has_the_articles_sizes
generator:resnet             nets/test_resnet.py::test_a_branch_of_zero_leaves_the_resampled_shortcut
critic:resnet                nets/test_resnet.py::test_scores_are_of_a_sum_over_places
generator:biggan             nets/test_resnet.py::test_a_chunk_of_the_code_moves_no_layer_before_its_own
generator:stylegan2          nets/test_stylegan2.py::test_a_modulated_convolution_is_that_of_each_samples_own_weights
critic:stylegan2             nets/test_stylegan2.py::test_deviation_of_the_batch_as_its_authors_compute_it
generator:r3gan              nets/test_grouped.py::test_at_the_start_the_networks_are_their_resampling
critic:r3gan                 nets/test_grouped.py::test_variance_is_flat_over_depth_and_stays_bounded_when_blocks_wake_up
generator:fastgan            nets/test_excitation.py::test_gates_of_one_change_nothing_and_scale_whole_channels
critic:fastgan               nets/test_excitation.py::test_the_critic_draws_what_it_is_shown
"""  # noqa: E501
# What is an option of other parts: the file that has it, the option, and its test.
OPTIONS = """
objective:gan      smoothing   gan/test_losses.py::test_smoothing_is_on_the_side_of_the_data
objective:r3gan    every       gan/test_regularizers.py::test_r3gan_every_so_often_is_rpgan_with_both_penalties_as_often
objective:wgan-gp  pack        gan/test_losses.py::test_any_loss_of_packs_is_that_of_their_scores
critic:conv        minibatch   gan/test_collapse.py::test_like_observations_count_each_other_and_not_themselves
critic:conv        condition   nets/test_nets.py::test_projection_is_the_inner_product_with_the_features
generator:resnet   norm        gan/test_classes.py::test_conditional_batch_norm_is_batch_norm_with_a_gain_and_a_shift_for_each_class
generator:resnet   attention   nets/test_resnet.py::test_attention_starts_as_the_identity_and_averages_values
"""  # noqa: E501


def rows(table):
    return [line.split() for line in table.strip().splitlines()]


@pytest.mark.parametrize(("entry", "test"), rows(ROWS), ids=[entry for entry, _ in rows(ROWS)])
def test_a_part_is_short_and_has_its_paper_and_a_test_against_the_truth(entry, test, code_lines, functions_in):
    kind, _, name = entry.partition(":")
    found = the_registry().get(kind, name)
    file, _, function = test.partition("::")
    assert function in functions_in(TESTS / file)
    if kind == "recipe":
        assert found.paper
        return
    target = the_registry().load(found)
    about = inspect.getdoc(target) or ""
    assert about
    if kind in ("objective", "regularizer", "augmentation"):
        assert found.paper or re.search(r"\b\d{4}\.\d{5}\b", about)  # a number of arXiv
    named = "" if kind in ("generator", "critic") else target.__name__
    assert code_lines(Path(inspect.getsourcefile(target)), named) <= MOST_LINES[kind]


@pytest.mark.parametrize(("entry", "option", "test"), rows(OPTIONS), ids=[" ".join(r[:2]) for r in rows(OPTIONS)])
def test_an_option_is_there_and_has_a_test_against_the_truth(entry, option, test, functions_in):
    kind, _, name = entry.partition(":")
    assert option in {o.name for o in the_registry().options(the_registry().get(kind, name))}
    file, _, function = test.partition("::")
    assert function in functions_in(TESTS / file)


def test_every_part_of_the_family_is_in_the_table():
    known = {entry for entry, _ in rows(ROWS)}
    of_other_data = {"objective:gumbel-gan", "objective:reinforce-gan", "augmentation:phase-shuffle"}
    longer = {"objective:self-conditioned-gan"}  # it fits clusters, draws from them and counts them
    for kind in ("objective", "regularizer", "augmentation"):
        for found in the_registry().entries(kind):
            if found.plugin == "genzoo" and (kind != "objective" or found.target.startswith("genzoo.plugins.gan.")):
                assert f"{kind}:{found.name}" in known | of_other_data | longer


def test_what_is_counted_is_code(code_lines, tmp_path):
    (tmp_path / "a.py").write_text('"""Told."""\n\n# said\nx = 1\n\n\ndef f():\n    """Told."""\n    return x\n')
    assert (code_lines(tmp_path / "a.py"), code_lines(tmp_path / "a.py", "f")) == (3, 2)
