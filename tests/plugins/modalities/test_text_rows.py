"""What there is for texts, and what implementations of them get wrong: for each a test against the truth."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.registry import the_registry

TESTS = Path(__file__).parents[2]
MOST_LINES = 200  # of a file

# Entries of a row, and the test that holds it to the truth.
ROWS = """
recipe:lm                plugins/modalities/test_text_rows.py::test_a_model_of_three_letters_sums_to_one
recipe:text-vae          apps/test_diagnose_sequences.py::test_a_vae_of_texts_that_ignores_its_code_is_named
recipe:text-cvae         plugins/modalities/test_text_rows.py::test_a_label_is_told_to_encoder_and_likelihood
recipe:text-vq           plugins/modalities/test_text_rows.py::test_a_second_stage_over_the_codes_of_texts
recipe:gumbel-gan        plugins/likelihoods/test_text_draws.py::test_relaxed_draws_are_draws
recipe:reinforce-gan     plugins/gan/test_text_gans.py::test_the_score_function_is_the_slope_of_the_expected_reward
likelihood:ar-gru        plugins/likelihoods/test_sequences.py::test_probabilities_of_all_texts_sum_to_one
likelihood:ar-transformer plugins/likelihoods/test_sequences.py::test_teacher_forcing_is_stepping
likelihood:ar-conv       plugins/likelihoods/test_text_draws.py::test_no_place_sees_itself_or_what_follows
encoder:text-gru         plugins/likelihoods/test_sequences.py::test_padding_changes_no_code
critic:text-conv         plugins/gan/test_text_gans.py::test_critics_are_told_labels_and_judge_each_alone
critic:text-gru          plugins/gan/test_text_gans.py::test_a_score_for_each_token_goes_by_those_before_it
posterior:batch-normal   plugins/posteriors/test_bounded.py::test_means_are_normalized_over_the_batch_so_that_the_kl_is_no_less
extractor:token-runs     plugins/metrics/test_text_metrics.py::test_spoilt_texts_are_far_and_new_ones_are_near
metric:nats-per-character plugins/modalities/test_other_tokens.py::test_a_file_of_another_alphabet_is_scored_as_its_strings_are
metric:bits-per-byte     plugins/modalities/test_text_rows.py::test_tokens_of_any_kind_stand_in_one_table
metric:perplexity-per-word plugins/modalities/test_text_rows.py::test_tokens_of_any_kind_stand_in_one_table
metric:bleu-n            plugins/metrics/test_text_metrics.py::test_bleu_is_that_of_another_library
metric:copied-runs       plugins/metrics/test_text_metrics.py::test_the_longest_copied_run_is_found
metric:forward-lm        plugins/metrics/test_text_metrics.py::test_a_character_model_is_a_distribution
metric:reverse-lm        apps/test_bench_text.py::test_shuffled_characters_are_worse_and_a_loop_is_seen
metric:self-bleu         plugins/metrics/test_text_metrics.py::test_bleu_against_others_is_bleu_by_its_definition
metric:distinct-n        apps/test_bench_text.py::test_shuffled_characters_are_worse_and_a_loop_is_seen
metric:valid-molecules   plugins/datasets/test_molecules.py::test_metrics_count_valid_different_and_new_ones
metric:swap-cost         apps/test_diagnose_sequences.py::test_a_vae_of_texts_that_ignores_its_code_is_named
dataset:text-file        plugins/datasets/test_texts.py::test_lines_paragraphs_and_columns
dataset:kjv              plugins/datasets/test_texts.py::test_texts_of_installed_packages
dataset:words            plugins/datasets/test_texts.py::test_texts_of_installed_packages
dataset:names            plugins/datasets/test_texts.py::test_texts_of_installed_packages
dataset:bibles           plugins/datasets/test_texts.py::test_verses_of_two_languages_lose_their_marks_and_footnotes
dataset:fortunes         plugins/datasets/test_texts.py::test_sayings_are_what_lines_of_percent_part
dataset:smiles           plugins/datasets/test_molecules.py::test_splits_are_the_benchmarks_and_its_code_is_not_run
"""  # noqa: E501

# A trap, and the tests that catch it.
TRAPS = """
the decoder sees the target token
    plugins/likelihoods/test_text_draws.py::test_no_place_sees_itself_or_what_follows
    plugins/likelihoods/test_sequences.py::test_a_place_sees_only_what_is_before_it
    plugins/likelihoods/test_sequences.py::test_teacher_forcing_is_stepping
probabilities after the end
    plugins/modalities/test_text_rows.py::test_a_model_of_three_letters_sums_to_one
    plugins/likelihoods/test_sequences.py::test_draws_have_the_distribution
padding changes the loss
    plugins/likelihoods/test_sequences.py::test_padding_changes_nothing
    plugins/likelihoods/test_sequences.py::test_padding_changes_no_code
    core/test_length_order.py::test_what_is_cut_to_the_longest_costs_less_and_says_the_same
a mean over tokens beside a sum over codes
    plugins/modalities/test_text_rows.py::test_terms_are_sums_of_a_text_and_means_over_the_batch
word dropout where it does not belong
    plugins/likelihoods/test_sequences.py::test_word_dropout_is_for_training_and_inputs_only
    plugins/modalities/test_text_rows.py::test_as_many_inputs_are_dropped_as_was_said
perplexities of different vocabularies
    plugins/modalities/test_text_rows.py::test_tokens_of_any_kind_stand_in_one_table
    plugins/modalities/test_text_rows.py::test_padding_is_no_dimension
a bound called a likelihood
    plugins/modalities/test_text_rows.py::test_a_number_says_what_it_is
a collapsed model called alive by its active units
    plugins/modalities/test_text_rows.py::test_active_units_do_not_hide_a_collapse
noise of Gumbel inside of the network
    plugins/modalities/test_sequences_resume.py::test_what_goes_on_is_what_never_stopped
    plugins/likelihoods/test_text_draws.py::test_relaxed_draws_are_draws
slopes without a temperature, draws without noise
    plugins/likelihoods/test_text_draws.py::test_relaxed_draws_are_draws
a reward without a baseline, or with slopes
    plugins/gan/test_text_gans.py::test_the_score_function_is_the_slope_of_the_expected_reward
    plugins/gan/test_text_gans.py::test_a_bandit_finds_its_better_arm
a GAN of texts judged alone
    apps/test_bench_text.py::test_no_gan_stands_without_the_curve
codes counted as bits
    apps/test_compress.py::test_files_are_within_a_hundredth_of_the_bound_header_included
decoded with other threads or batches
    apps/test_compress.py::test_another_process_with_other_threads_reads_it
    core/test_coding.py::test_what_is_damaged_is_refused
betas of two types
    plugins/modalities/test_text_rows.py::test_every_recipe_of_texts_builds_its_optimizers
pieces that lose bytes, blanks, or what looks like a mark
    plugins/modalities/test_pieces.py::test_every_text_comes_back
    plugins/modalities/test_pieces.py::test_what_was_never_seen_comes_back
"""


def rows() -> list[tuple[str, str]]:
    return [(a, b) for a, b in (line.split() for line in ROWS.strip().splitlines())]


def traps() -> list[tuple[str, str]]:
    found, trap = [], ""
    for line in TRAPS.strip().splitlines():
        if line.startswith(" "):
            found.append((trap, line.strip()))
        else:
            trap = line
    return found


def is_there(test: str) -> bool:
    file, _, function = test.partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(("entry", "test"), rows(), ids=[entry for entry, _ in rows()])
def test_a_row_is_a_small_file_and_has_a_test_against_the_truth(entry: str, test: str) -> None:
    kind, _, name = entry.partition(":")
    found = the_registry().get(kind, name)
    assert is_there(test)
    assert found.summary
    if kind != "recipe":
        target = the_registry().load(found)
        assert inspect.getdoc(target)
        file = inspect.getsourcefile(target)
        assert file
        assert len(Path(file).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize(("trap", "test"), traps())
def test_a_trap_has_a_test(trap: str, test: str) -> None:
    assert is_there(test)


# Texts of three letters, four at most.

FACTS = {"tokens": "characters", "alphabet": "abc"}
SPEC = DataSpec("text", (5,), 6, facts=FACTS)
KINDS = {"ar-gru": {"likelihood.embed": 4}, "ar-transformer": {"likelihood.depth": 2, "likelihood.heads": 2},
         "ar-conv": {"likelihood.depth": 2}}  # fmt: skip
EVERY = pytest.mark.parametrize("kind", KINDS)
SMALL = {"likelihood.hidden": 8, "likelihood.features": 4}


def made(kind: str = "ar-gru", recipe: str = "lm", spec: DataSpec = SPEC, **options):
    return genzoo.create(recipe, spec, options={"likelihood": kind} | SMALL | KINDS[kind] | options, seed=1)


@EVERY
def test_a_model_of_three_letters_sums_to_one(kind: str) -> None:
    """V = 3, L = 4: over all strings, ``?`` standing for any character that is not one of the three."""
    model, strings = made(kind), ["".join(t) for n in range(5) for t in itertools.product("abc?", repeat=n)]
    log_p = model.log_likelihood(strings).values.double()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    short = torch.tensor([len(s) < 4 for s in strings])
    rows = of(SPEC).given(SPEC, strings)
    with torch.no_grad():  # what those of less than four leave is what goes on to the fourth place
        h = model.generator(torch.zeros(len(rows), 0), None)
        each = model.likelihood.token_log_prob(h, of(SPEC).to_model(SPEC, rows)).double()
    at_four = each[~short, :4].sum(1).exp().sum()
    assert 1 - log_p[short].exp().sum().item() == pytest.approx(at_four.item(), abs=1e-5)
    torch.testing.assert_close(each.sum(1), log_p, atol=1e-4, rtol=0)  # and the likelihood is the sum of its steps


@EVERY
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_a_seed_is_the_same_texts_in_batches_of_any_size(kind: str, tokens: str) -> None:
    spec = SPEC if tokens == "characters" else DataSpec("text", (6,), 246, facts={"tokens": "bytes"})
    model = made(kind, spec=spec)
    texts = model.sample(40, seed=3)
    assert len(set(texts)) > 5
    for size in (1, 7, 64):
        assert model.sample(40, seed=3, batch_size=size) == texts
    assert model.sample(11, seed=3) == texts[:11]
    assert model.sample(40, seed=4) != texts
    few = {"temperature": 0.7, "top_p": 0.9}
    assert model.sample(40, seed=3, batch_size=9, **few) == model.sample(40, seed=3, **few)


def test_terms_are_sums_of_a_text_and_means_over_the_batch() -> None:
    model = made(recipe="text-vae", **{"encoder.hidden": 4, "latent.size": 3})
    texts = ["abc", "", "ca"]
    one, two = (model.log_likelihood(t, samples=1, seed=5) for t in (texts, texts * 2))
    assert one.values[1] > one.values[0]  # a longer text has the larger sum
    x = of(SPEC).to_model(SPEC, of(SPEC).given(SPEC, texts))
    with torch.no_grad():
        h = model.generator(torch.zeros(3, 3), None)
        each = model.likelihood.token_log_prob(h, x)
        torch.testing.assert_close(model.likelihood.log_prob(h, x), each.sum(1))
        both = model.likelihood.log_prob(torch.cat([h, h]), torch.cat([x, x]))
    torch.testing.assert_close(both.mean(), each.sum(1).mean())
    assert two.values.shape == (6,)


def test_as_many_inputs_are_dropped_as_was_said(monkeypatch) -> None:
    from genzoo.plugins.modalities.alphabet import PAD, UNKNOWN

    spec = DataSpec("text", (401,), 6, facts=FACTS)
    likelihood = made(spec=spec, **{"likelihood.word_dropout": 0.3}).likelihood.train()
    seen: list[torch.Tensor] = []
    embedded = likelihood.embedded
    monkeypatch.setattr(likelihood, "embedded", lambda t: seen.append(t) or embedded(t))
    x = of(spec).to_model(spec, of(spec).given(spec, ["abc" * 133] * 30))
    with torch.no_grad():
        likelihood.log_prob(torch.zeros(30, 4), x)
        likelihood.eval().log_prob(torch.zeros(30, 4), x)
    there = seen[0] != PAD
    assert ((seen[0] == UNKNOWN) & there).sum().item() / there.sum().item() == pytest.approx(0.3, abs=0.015)
    assert not bool((seen[1] == UNKNOWN).any())


def test_tokens_of_any_kind_stand_in_one_table() -> None:
    """Per character and per byte, by the strings; never per token of a vocabulary of one's own."""
    pytest.importorskip("tokenizers")
    from genzoo.plugins.modalities import alphabet, pieces

    texts = ["the sea and the land", "thé son of the sea", "the land"]
    merges = pieces.learn(texts * 9, 256)
    facts = [{"tokens": "characters", "alphabet": alphabet.alphabet_of(texts)}, {"tokens": "bytes"},
             {"tokens": "bpe", "merges": merges}]  # fmt: skip
    characters, size = sum(len(t) + 1 for t in texts), sum(len(t.encode()) + 1 for t in texts)
    tokens = set()
    for fact in facts:
        full = {"tokens": fact["tokens"], "alphabet": fact.get("alphabet", ""), "merges": fact.get("merges", ())}
        spec = DataSpec("text", (40,), alphabet.levels(full), facts=fact)
        model = made(spec=spec)
        ll = model.log_likelihood(texts)
        tokens.add(int((of(spec).given(spec, texts) != 0).sum()))
        asked = "nats-per-character,bits-per-byte,perplexity-per-word"
        found = genzoo.evaluate(model, genzoo.load_data(texts), metrics=asked, n=3)
        assert found["nats-per-character"].value == pytest.approx(-ll.values.sum().item() / characters, rel=1e-5)
        assert found["bits-per-byte"].value == pytest.approx(-ll.values.sum().item() / size / math.log(2), rel=1e-5)
        words = sum(len(t.split()) + 1 for t in texts)
        per_word = found["perplexity-per-word"]
        assert per_word.value == pytest.approx(math.exp(-ll.values.sum().item() / words), rel=1e-4)
        assert per_word.details["words"] == words == 15
        assert ll.nats_per_unit == pytest.approx(found["nats-per-character"].value, rel=1e-5)
        assert ll.units.tolist() == [len(t) + 1 for t in texts]
        said = found["nats-per-character"].details["estimator"]
        assert ("upper bound" in said) is (fact["tokens"] == "bpe")
    assert len(tokens) == 3  # of which each kind has another number


def test_padding_is_no_dimension() -> None:
    texts = ["ab", "c", "a"]
    model = made(spec=DataSpec("text", (40,), 6, facts=FACTS))
    found = model.log_likelihood(texts)
    assert found.bits_per_dimension == pytest.approx(-found.values.sum().item() / 7 / math.log(2), rel=1e-6)
    with pytest.raises(UsageError, match="lengths of their own"):
        genzoo.evaluate(model, genzoo.load_data(texts), metrics="bits-per-dimension", n=3)
    pictures = genzoo.create("vae", DataSpec.image(1, 8, 8), options={"encoder": "mlp", "generator": "mlp"})
    ll = pictures.log_likelihood(torch.zeros(2, 1, 8, 8), samples=2)
    assert ll.units is None
    assert ll.bits_per_dimension == pytest.approx(-ll.mean / 64 / math.log(2))


def test_a_number_says_what_it_is() -> None:
    data = genzoo.load_data(["abc", "ca", "b", ""])
    known = replace_spec(data)
    for recipe, said in (("lm", "exact"), ("text-vae", "importance-weighted, K = 50")):
        model = made(recipe=recipe, spec=known, **({"encoder.hidden": 4} if recipe == "text-vae" else {}))
        assert model.exact is (recipe == "lm")
        report = genzoo.evaluate(model, data, metrics="nats-per-character", n=4)
        assert report["nats-per-character"].details["estimator"] == said
    assert genzoo.evaluate(model, data, metrics="elbo", n=4)["elbo"].value < 0
    with pytest.raises(UsageError, match="exact, not bounded"):
        genzoo.evaluate(made(spec=known), data, metrics="elbo", n=4)


def replace_spec(data):
    return DataSpec("text", data.spec.shape, data.spec.levels, facts=dict(data.spec.facts))


def test_active_units_do_not_hide_a_collapse() -> None:
    """Codes that vary with the text and say next to nothing of it: units count as active, information does not."""
    data = genzoo.load_data(["".join(t) for t in itertools.product("abc", repeat=5)])
    model = made(recipe="text-vae", spec=replace_spec(data), posterior="normal",
                 **{"encoder.hidden": 4, "latent.size": 32})  # fmt: skip
    with torch.no_grad():
        n = 32  # means of standard deviation .15, variances of 1: a KL of 32 · .15² / 2 = .36 nats
        x = data.batch(torch.arange(243))[0]
        last = model.encoder.last
        last.weight.normal_(generator=torch.Generator().manual_seed(0))
        last.bias.zero_()
        means = model.encoder(x).view(243, 2, n)[:, 0]
        last.weight[:n] *= 0.15 / means.std(0)[:, None]
        last.bias[:n] = -(model.encoder(x).view(243, 2, n)[:, 0]).mean(0)
        last.weight[n:] = 0
    found = genzoo.evaluate(model, data, metrics="active-units,mutual-information,posterior-kl", n=243)
    assert found["active-units"].value >= 28
    assert found["mutual-information"].value < 0.5
    verdict = genzoo.diagnose(model, data, n=243)["posterior-collapse"]
    assert verdict.status == "problem", verdict.says


def test_a_label_is_told_to_encoder_and_likelihood() -> None:
    spec = DataSpec("text", (5,), 6, 2, facts=FACTS)
    model = made(recipe="text-cvae", spec=spec, **{"encoder.hidden": 4, "latent.size": 3})
    found = [model.encode(["abc", "ca"], [k, k]) for k in (0, 1)]
    assert not torch.allclose(*found)
    with torch.no_grad():
        told = [model.generator(torch.zeros(1, 3), torch.tensor([k])) for k in (0, 1)]
    assert not torch.allclose(*told)
    texts = model.sample(4, labels=[0, 1, 0, 1], seed=2)
    assert [type(t) for t in texts] == [str] * 4
    with pytest.raises(UsageError):
        genzoo.fit("text-cvae", genzoo.load_data(["ab", "ba"] * 4), steps=1)


def test_a_second_stage_over_the_codes_of_texts(tmp_path) -> None:
    """Tokens of each text in a row; the prior of the second stage sums to one over all that there can be."""
    data = genzoo.load_data(["".join(t) for t in itertools.product("ab", repeat=3)] * 2)
    options = SMALL | {"encoder.hidden": 4, "latent.size": 2, "latent.grid": 2, "posterior.codes": 3,
                       "train.validation": 0, "train.batch_size": 8}  # fmt: skip
    fit = {"device": "cpu", "progress": False}
    genzoo.fit("text-vq", data, tmp_path / "a", steps=2, options=options, **fit)
    model = genzoo.load(tmp_path / "a")
    assert model.encode(["aba"]).shape[0] == 1
    assert [type(t) for t in model.sample(3, seed=0)] == [str] * 3
    genzoo.fit_prior(tmp_path / "a", "transformer", tmp_path / "b", data=data, steps=2,
                     options={"prior.width": 8, "prior.depth": 1, "prior.heads": 2}, **fit)  # fmt: skip
    second = genzoo.load(tmp_path / "b")
    assert second.sample(2, seed=0) == second.sample(2, seed=0)
    words = torch.cartesian_prod(*[torch.arange(3)] * 4)
    with torch.no_grad():
        p = second.prior.log_prob(second.head.embed(words.view(81, 2, 2))).double().exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-4)


RECIPES = ["lm", "text-vae", "text-cvae", "text-vq", "gumbel-gan", "reinforce-gan"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_of_texts_builds_its_optimizers(recipe: str) -> None:
    """torch 2.13 refuses an int beside a float in betas."""
    data = from_arrays(["ab", "ba", "a", "b"] * 2, [0, 1] * 4, modality="text")
    options = SMALL | {"train.validation": 0, "train.batch_size": 4}
    run = genzoo.fit(recipe, data, steps=1, options=options, device="cpu", progress=False)
    assert all(isinstance(b, float) for b in run.model.config.train.betas)
    assert all(p.isfinite().all() for p in run.model.parameters())
