"""Where each complaint about other tools, and each trap, has its test; and the few tests that no other file has."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from genzoo.core.evaluation.evidence import Evidence, Metric  # noqa: E402
from genzoo.core.training import observers  # noqa: E402
from genzoo.plugins.datasets.table_file import FEW, data_of  # noqa: E402
from genzoo.registry import the_registry  # noqa: E402

TESTS = Path(__file__).parents[2]
HERE, PROMISES, TRIPS = (
    f"plugins/modalities/test_table{s}.py" for s in ("_every_promise", "_promises", "_round_trips")
)
RULES, MORE, WHERE, TABLES = (f"plugins/modalities/{s}.py" for s in
                              ("test_rules", "test_table_rules", "test_where", "test_tables"))  # fmt: skip
FILES, ROWS, METRICS = ("plugins/modalities/test_csv_files.py", "plugins/likelihoods/test_table_rows.py",
                        "plugins/metrics/test_tables.py")  # fmt: skip
FILL, AUGMENT = "apps/test_tables.py", "apps/test_augment.py"
COMPLAINTS = {
    "categories exhaust memory": (TRIPS, "test_300_000_categories_train_in_less_than_a_gigabyte"),
    "thousands of columns ask for terabytes": (
        PROMISES,
        "test_wide_tables_are_refused_with_their_widest_columns_before_anything_is_encoded",
    ),
    "mixtures are fitted for hours": (
        PROMISES,
        "test_columns_are_found_in_one_pass_of_less_than_two_seconds_for_a_million_values",
    ),
    "slow, and no forecast": (HERE, "test_the_time_to_the_end_is_shown_after_twenty_steps"),
    "no seed makes two fits equal": (PROMISES, "test_fits_and_samples_are_functions_of_the_seed_bit_for_bit"),
    "integers come back as floats": (TABLES, "test_every_type_and_its_gaps_come_back"),
    "rounding is guessed wrong": (TABLES, "test_numbers_come_back_from_their_codes"),
    "negative money, day 34": (
        PROMISES,
        "test_spikes_shares_ranges_steps_gaps_and_rare_levels_come_back_at_their_shares",
    ),
    "spikes are blurred": (PROMISES, "test_spikes_shares_ranges_steps_gaps_and_rare_levels_come_back_at_their_shares"),
    "missing values vanish": (PROMISES, "test_gaps_that_go_with_another_column_are_reproduced"),
    "dates become 1970": (PROMISES, "test_times_at_a_change_of_clocks_of_long_ago_and_on_leap_days_come_back"),
    "category dtype is not accepted": (MORE, "test_levels_of_a_dictionary_stay_in_their_order_and_declared"),
    "a misspelt column is ignored": (WHERE, "test_what_is_wrong_with_a_condition_is_said"),
    "a condition is only made likelier": (
        WHERE,
        "test_samples_that_meet_a_condition_follow_the_conditional_distribution",
    ),
    "conditional sampling hangs": (WHERE, "test_too_few_and_none_at_all_are_said"),
    "fewer rows than asked for": (PROMISES, "test_as_many_rows_as_asked_for"),
    "several conditions, partial rows": (FILL, "test_gaps_are_filled_by_the_conditional_distribution"),
    "rare categories are lost": (METRICS, "test_levels_that_are_lost_are_named"),
    "repeated rows": (HERE, "test_rows_that_repeat_are_counted_beside_the_datas_own"),
    "one bad row forbids a constraint": (RULES, "test_rows_that_break_a_rule_are_counted"),
    "constraints break each other": (RULES, "test_every_sample_keeps_every_rule"),
    "keys collide": (MORE, "test_made_keys_have_the_form_of_the_training_keys_and_are_none_of_them"),
    "the batch must be a multiple of ten": (PROMISES, "test_small_tables_train_by_any_batch_or_get_one_sentence"),
    "sampling needs memory by the row": (PROMISES, "test_ten_times_the_rows_are_written_in_as_much_memory"),
    "pickles": (TRIPS, "test_a_spec_with_packed_names_survives_config_json"),
    "too close to the real rows": (METRICS, "test_planted_copies_are_found_and_clean_samples_are_not"),
    "good losses, bad data": (PROMISES, "test_rows_that_are_held_out_judge_a_run_unless_told_otherwise"),
    "own data need code": (RULES, "test_a_file_is_inspected_and_its_description_edited"),
    "metrics vanish without a word": (METRICS, "test_what_is_judged_by_unseen_rows_is_refused_of_training_rows"),
    "conditions between columns": (RULES, "test_columns_that_follow_are_not_learnt_and_come_back"),
    "SMOTE-NC runs out of memory": (
        PROMISES,
        "test_rows_between_neighbours_take_memory_that_does_not_grow_with_their_square",
    ),
}
TRAPS = {
    "levels fitted on test rows": (TABLES, "test_what_training_rows_lack_does_not_reach_the_config"),
    "twins across the split": (METRICS, "test_a_bootstrap_of_the_data_is_not_told_from_them_by_its_twins"),
    "the label's share changed": (PROMISES, "test_samples_of_a_model_that_saw_all_classes_equally_often_are_flagged"),
    "floats through JSON": (TRIPS, "test_any_table_comes_back"),
    "one-hot of the whole table": (TRIPS, "test_300_000_categories_train_in_less_than_a_gigabyte"),
    "Gumbel noise within the likelihood": (
        PROMISES,
        "test_drawing_levels_is_declared_noise_so_that_a_resumed_game_is_the_same",
    ),
    "soft one-hots": (ROWS, "test_rows_come_back_from_one_hot_blocks"),
    "packing across the batch's end": (
        PROMISES,
        "test_a_batch_that_packs_do_not_divide_is_refused_with_one_that_they_do",
    ),
    "any order, one order scored": (
        ROWS,
        "test_any_order_is_a_distribution_in_every_order_and_the_plain_one_from_left_to_right",
    ),
    "conditions drawn evenly": (PROMISES, "test_samples_that_are_told_no_class_have_the_shares_of_the_data"),
    "a change of clocks, 1677": (PROMISES, "test_times_at_a_change_of_clocks_of_long_ago_and_on_leap_days_come_back"),
    "words beside missing": (PROMISES, "test_odd_texts_are_levels_beside_missing_in_typed_files"),
    "types": (PROMISES, "test_samples_have_the_schema_of_the_rows"),
    "columns that are copies": (PROMISES, "test_a_column_that_is_a_copy_is_said_and_can_follow_the_other"),
    "one column, one row, only ids": (PROMISES, "test_small_tables_train_by_any_batch_or_get_one_sentence"),
}


@pytest.mark.parametrize("what", [*COMPLAINTS, *TRAPS])
def test_every_complaint_and_every_trap_has_a_test(what):
    file, name = {**COMPLAINTS, **TRAPS}[what]
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert name in [f.name for f in tree.body if isinstance(f, ast.FunctionDef)]


def test_the_time_to_the_end_is_shown_after_twenty_steps(monkeypatch, capsys):
    """Of 5,000 steps of 3 seconds each, 4,980 take four hours and nine minutes."""
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr(observers, "shows_progress", lambda: True)
    trainer = SimpleNamespace(steps=5000, step=0)
    bar = observers.Progress(trainer, "table-ar")
    for _ in range(20):
        clock[0] += 3.0
        bar.step(trainer)
    bar.end(trainer)
    said = capsys.readouterr().err
    assert "20/5000 [<4:09:00" in said
    assert "3.00s/step" in said


def test_rows_that_repeat_are_counted_beside_the_datas_own():
    data = data_of(pa.table({"a": ["u", "v"] * 50, "x": np.arange(100) // 4 / 2}), "rows")
    cls = the_registry().load(the_registry().get("metric", "repeats"), Metric)
    same = data.x[:1].repeat(100, 1)
    found = cls(cls.Options()).measure(Evidence(data, lambda: (same, None), n_fake=100))
    assert found.estimate.value == 0.99
    assert found.details["of the data"] == 0.5  # pairs of rows are alike


def test_small_tables_are_said_to_be_small():
    table = pa.table({"a": ["u", "v"] * (FEW // 2)})
    assert not data_of(table, "rows").read.notes
    assert "learnt by heart" in data_of(table.slice(1), "rows").read.notes[0]
