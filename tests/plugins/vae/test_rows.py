"""Every variant of the family: its file is small and says paper, when and cost, and a test holds it to the truth."""

import importlib
import inspect
from pathlib import Path

import pytest

from genzoo.registry import the_registry

TESTS = Path(__file__).parents[1]
MOST_LINES = 100  # of code: neither blank, nor a comment, nor a docstring

# Entries of a variant, and its test against the truth.
ROWS = """
objective:ae                vae/test_autoencoders.py::test_a_linear_autoencoder_spans_the_subspace_of_pca
objective:rae               vae/test_autoencoders.py::test_slopes_are_the_decoders_squared_jacobian_by_chance
recipe:rae-l2               vae/test_autoencoders.py::test_the_decay_is_a_term_whose_gradient_is_twice_the_weights
recipe:rae-gp               vae/test_traps.py::test_slopes_of_a_decoder_are_by_the_code_and_not_by_the_data
recipe:rae-sn               vae/test_autoencoders.py::test_a_spectrally_normalized_decoder_has_no_singular_value_above_one
objective:vae               vae/test_oracles_vae.py::test_training_reaches_probabilistic_pca
objective:beta-vae          vae/test_oracles_vae.py::test_the_objective_is_the_negative_bound_in_expectation
recipe:cvae                 priors/test_fitted.py::test_a_prior_by_class_is_a_normal_for_each
objective:annealed-vae      vae/test_disentangling.py::test_a_capacity_is_of_the_batch_and_lets_each_observation_take_what_it_needs
objective:geco              vae/test_geco.py::test_the_constraint_is_met_on_the_linear_model
objective:info-vae          vae/test_discrepancies.py::test_an_mmd_that_would_be_maximized_is_refused
objective:wae               vae/test_discrepancies.py::test_of_equal_distributions_it_is_zero_on_average
objective:swae              vae/test_discrepancies.py::test_sliced_distances_are_those_of_normals
objective:beta-tc-vae       vae/test_disentangling.py::test_of_a_whole_population_the_parts_are_exact
objective:dip-vae           vae/test_disentangling.py::test_dip_costs_nothing_at_the_identity_and_the_squares_elsewhere
objective:ms-ssim-vae       vae/test_perceptual.py::test_equal_pictures_cost_nothing_and_one_opposed_scale_does_not_hide_the_others
objective:dfc-vae           vae/test_perceptual.py::test_features_are_the_classifiers_and_it_gets_no_gradient
objective:iwae              vae/test_iwae.py::test_more_codes_are_nearer_to_log_p_and_never_above
objective:miwae             vae/test_iwae.py::test_the_others_are_between_the_two
objective:ciwae             vae/test_iwae.py::test_the_others_are_between_the_two
objective:piwae             vae/test_iwae.py::test_each_part_of_a_piwae_follows_its_own_bound
objective:joint-vae         vae/test_disentangling.py::test_numbers_and_categories_have_capacities_of_their_own
objective:factor-vae        vae/test_factor_vae.py::test_a_trained_critic_tells_the_total_correlation
objective:aae               vae/test_games.py::test_the_critic_of_codes_becomes_the_ratio_of_two_normals
recipe:wae-gan              vae/test_games.py::test_wae_gan_is_a_twentieth_of_the_squared_error
objective:avb               vae/test_games.py::test_the_critic_of_pairs_becomes_log_q_less_log_p
objective:vae-gan           vae/test_games.py::test_a_player_moves_by_the_slope_of_its_own_loss_and_nothing_else_moves
objective:intro-vae         vae/test_games.py::test_both_introspective_losses_by_finite_differences
objective:soft-intro-vae    vae/test_games.py::test_the_exponent_is_a_mean_over_dimensions_and_does_not_overflow
objective:vq-gan            vae/test_games.py::test_the_balance_is_that_of_the_slopes_by_finite_differences
objective:ali               gan/test_coupled.py::
objective:fit-prior         priors/test_second_stage.py::test_a_second_stage_goes_on_where_it_stopped
posterior:normal            vae/test_oracles_vae.py::test_posterior_density_and_samples
posterior:bounded-normal    posteriors/test_bounded.py::test_the_least_kl_of_a_bounded_normal_is_delta_for_the_whole_code
posterior:batch-normal      posteriors/test_bounded.py::test_means_are_normalized_over_the_batch_so_that_the_kl_is_no_less
posterior:point             vae/test_autoencoders.py::test_points_are_refused_where_their_density_is_asked_for
posterior:planar            posteriors/test_flows.py::test_planar_layers_are_invertible_on_every_line
posterior:iaf               posteriors/test_posteriors.py::test_a_flow_scores_its_samples_by_inverting_itself_and_by_the_jacobian
posterior:spline            posteriors/test_flows.py::test_splines_leave_noise_beyond_five_as_it_is
posterior:normal-full       posteriors/test_flows.py::test_the_full_normal_is_the_one_of_torch
posterior:vmf               posteriors/test_spaces.py::test_von_mises_fisher_by_quadrature_is_that_of_bessel_functions
posterior:power-spherical   posteriors/test_spaces.py::test_power_spherical_by_quadrature_is_its_closed_form
posterior:wrapped-normal    posteriors/test_spaces.py::test_the_wrapped_normal_integrates_to_one_over_the_hyperbolic_disc
posterior:categorical       posteriors/test_spaces.py::test_categories_are_drawn_by_their_probabilities_and_their_kl_is_exact
posterior:product           posteriors/test_spaces.py::test_a_product_is_its_parts
posterior:gamma             posteriors/test_spaces.py::test_the_gamma_posterior_is_the_one_of_torch
posterior:hamiltonian       posteriors/test_posteriors.py::test_leapfrog_steps_raise_the_bound_of_a_posterior_that_is_off
posterior:riemannian        posteriors/test_flows.py::test_its_steps_keep_volume_the_better_the_smaller_they_are
posterior:implicit          vae/test_games.py::test_contrast_is_a_constant_and_the_prior_is_known
posterior:top-down          posteriors/test_hierarchical.py::test_the_bound_by_closed_divergences_is_the_bound_by_weights
posterior:ladder            posteriors/test_hierarchical.py::test_a_ladder_weighs_data_and_prior_by_their_precision_and_without_data_is_the_prior
recipe:two-level-vae        posteriors/test_hierarchical.py::test_weights_average_to_the_evidence_that_the_prior_gives
recipe:top-down-vae         posteriors/test_hierarchical.py::test_at_the_start_the_posterior_is_the_prior_and_every_layer_counts
recipe:nvae                 posteriors/test_hierarchical.py::test_spectral_cost_is_the_sum_of_the_largest_singular_values_and_its_gradient_theirs
recipe:pixel-vae            likelihoods/test_pixelcnn.py::test_pixel_vae_uses_its_code
recipe:ten-level-pixel-vae  likelihoods/test_pixelcnn.py::test_ten_levels_and_rows_are_better_than_ten_levels_and_use_their_code
posterior:vq                posteriors/test_vq.py::test_the_book_is_the_average_of_what_falls_to_each_code
posterior:vq-gradient       posteriors/test_quantizers.py::test_each_gradient_of_a_learned_book_has_its_own_weight
posterior:residual-vq       posteriors/test_vq.py::test_every_level_of_residuals_brings_the_sum_nearer_and_is_quantized_for_itself
posterior:fsq               posteriors/test_quantizers.py::test_fsq_and_entropies_are_vector_quantize_pytorch_s
posterior:lfq               posteriors/test_quantizers.py::test_entropies_of_bits_are_those_of_all_words
posterior:bsq               posteriors/test_quantizers.py::test_codes_on_the_sphere_have_unit_length_and_are_no_further_than_half_its_width
posterior:simvq             posteriors/test_quantizers.py::test_gradients_of_simvq_reach_the_map_only_and_move_every_code
posterior:gumbel-vq         posteriors/test_quantizers.py::test_drawn_codes_have_the_chances_that_log_q_says_and_weights_average_to_the_evidence
posterior:hrq               posteriors/test_quantizers.py::test_with_nothing_left_to_chance_hrq_is_a_residual_quantizer_and_long_codes_below_pay
posterior:two-grids-vq      posteriors/test_quantizers.py::test_the_fine_grid_goes_by_the_coarse_one_and_its_gradient_reaches_both
prior:normal                priors/test_priors.py::test_it_integrates_to_one_and_samples_have_its_moments
prior:mixture               priors/test_fitted.py::test_stepwise_em_finds_what_em_finds
prior:vamp                  posteriors/test_wrong_codes.py::test_a_mixture_of_posteriors_with_a_parenthesis_displaced_integrates_to_anything
prior:real-nvp              priors/test_priors.py::test_a_flow_scores_its_samples_by_base_density_and_jacobian
prior:maf                   priors/test_fitted.py::test_flows_of_zuko_score_samples_by_base_and_jacobian
prior:iaf                   priors/test_fitted.py::test_flows_of_zuko_score_samples_by_base_and_jacobian
prior:nsf                   priors/test_fitted.py::test_flows_of_zuko_score_samples_by_base_and_jacobian
prior:second-vae            priors/test_fitted.py::test_the_second_stages_bound_is_exact_where_its_decoder_says_nothing
prior:sphere                posteriors/test_spaces.py::test_densities_on_the_sphere_integrate_to_one
prior:poincare              posteriors/test_spaces.py::test_the_wrapped_normal_integrates_to_one_over_the_hyperbolic_disc
prior:manifold              priors/test_manifold.py::test_it_integrates_to_one_and_is_the_volume_in_a_normal
prior:uniform-codes         posteriors/test_quantizers.py::test_code_use_and_perplexity_are_of_the_tokens_of_each_level
prior:pixelcnn              priors/test_fitted.py::test_a_pixelcnn_draws_what_it_says_place_by_place
prior:transformer           priors/test_second_stage.py::test_a_transformer_sums_to_one_over_all_tokens_and_draws_what_it_says
prior:conditional           priors/test_fitted.py::test_a_prior_by_class_is_a_normal_for_each
prior:ar1                   priors/test_priors.py::test_numbers_in_a_row_are_normal_with_falling_correlations_and_cost_an_independent_posterior
prior:gamma                 posteriors/test_spaces.py::test_gamma_numbers_are_quantiles_with_the_slopes_of_the_distribution_function
prior:product               posteriors/test_spaces.py::test_a_product_is_its_parts
likelihood:gaussian         likelihoods/test_tails_and_mixtures.py::test_a_predicted_gaussian_is_scipys
likelihood:logistic-mixture likelihoods/test_tails_and_mixtures.py::test_a_pixel_sums_to_one_and_so_does_each_channel_given_those_before_it
likelihood:student-t        likelihoods/test_tails_and_mixtures.py::test_student_t_and_laplace_are_torchs_in_data_units
likelihood:laplace          likelihoods/test_tails_and_mixtures.py::test_student_t_and_laplace_are_torchs_in_data_units
likelihood:log-cosh         likelihoods/test_tails_and_mixtures.py::test_densities_integrate_to_one_and_draws_follow_them
likelihood:pixelcnn         likelihoods/test_pixelcnn.py::test_it_sums_to_one_over_all_images
likelihood:row-made         likelihoods/test_pixelcnn.py::test_it_sums_to_one_over_all_images
metric:ais                  metrics/test_estimate.py::
metric:total-correlation    metrics/test_information.py::
metric:mutual-information   metrics/test_information.py::
metric:dimension-wise-kl    metrics/test_information.py::
"""  # noqa: E501
NO_PAPER = {"posterior:normal-full", "posterior:product", "posterior:point", "posterior:implicit", "recipe:vae"}


def rows():
    return [line.split() for line in ROWS.strip().splitlines()]


@pytest.mark.parametrize(("entry", "test"), rows(), ids=[entry for entry, _ in rows()])
def test_a_row_is_a_small_file_with_its_paper_and_a_test_against_the_truth(entry, test, code_lines, functions_in):
    kind, _, name = entry.partition(":")
    found = the_registry().get(kind, name)
    assert found.paper or kind in ("prior", "likelihood", "metric") or entry in NO_PAPER
    file, _, function = test.partition("::")
    assert not function or function in functions_in(TESTS / file)
    assert (TESTS / file).is_file()
    if kind not in ("recipe", "metric"):
        target = the_registry().load(found)
        assert inspect.getdoc(target)
        assert code_lines(Path(inspect.getsourcefile(target))) <= MOST_LINES


def test_what_a_file_counts_is_its_code(code_lines):
    module = importlib.import_module("genzoo.plugins.vae.beta_vae")
    whole = Path(module.__file__).read_text(encoding="utf-8")
    assert code_lines(Path(module.__file__)) < len(whole.splitlines()) - 10
