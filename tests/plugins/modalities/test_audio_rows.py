"""Every member and trap of sound with the test that holds it, and those tests that no other file has."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.augmentations.phase_shuffle import PhaseShuffle
from genzoo.plugins.modalities import fronts
from genzoo.plugins.modalities.sound_files import SUFFIXES, read_sound, resampled, write_one
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize
from genzoo.registry.verbs.outputs import output_kind

TESTS = Path(__file__).parents[2]

# Members, the paper each has (- for an idea without one), and its test.
MEMBERS = """
recipe:wavegan                      1802.04208 plugins/modalities/test_audio.py::test_recipes_take_steps_on_a_folder_and_make_clips
augmentation:phase-shuffle          1802.04208 plugins/modalities/test_audio_rows.py::test_a_shuffled_phase_is_a_shift_that_is_mirrored_at_the_ends
recipe:specgan                      1802.04208 plugins/modalities/test_audio.py::test_recipes_take_steps_on_a_folder_and_make_clips
recipe:spec-vae                     -          plugins/modalities/test_audio.py::test_a_run_on_spectrograms_goes_on_to_the_same_weights
recipe:rave                         2111.05011 plugins/likelihoods/test_spectral.py::test_what_is_trained_by_it_has_no_likelihood_and_says_so
recipe:rave-gan                     2111.05011 plugins/modalities/test_audio_rows.py::test_raves_second_stage_is_one_command_and_moves_the_generator_alone
recipe:audio-codec                  2107.03312 plugins/modalities/test_audio_rows.py::test_bits_of_a_codec_are_those_of_its_file
recipe:notes-gan                    1902.08710 plugins/modalities/test_audio_rows.py::test_recipes_and_fronts_of_the_papers_are_built
likelihood:spectral                 2111.05011 plugins/likelihoods/test_spectral.py::test_it_is_the_distance_of_its_definition
generator:wave                      1802.04208 plugins/modalities/test_long_sounds.py::test_parts_are_the_whole
prior:transformer                   -          plugins/modalities/test_audio_rows.py::test_bits_of_a_codec_are_those_of_its_file
metric:mr-stft                      -          plugins/modalities/test_audio.py::test_distances_of_sound_are_by_clip_and_known_in_simple_cases
metric:si-sdr                       -          plugins/modalities/test_audio.py::test_distances_of_sound_are_by_clip_and_known_in_simple_cases
metric:snr                          -          plugins/modalities/test_audio.py::test_distances_in_db_and_mel_are_known_in_simple_cases
metric:log-spectral-distance        -          plugins/modalities/test_audio.py::test_distances_in_db_and_mel_are_known_in_simple_cases
metric:mel-distance                 -          plugins/modalities/test_audio.py::test_distances_in_db_and_mel_are_known_in_simple_cases
metric:silent-samples               -          plugins/modalities/test_audio.py::test_silent_samples_are_named
extractor:digit-judge               -          plugins/datasets/test_spoken_digits.py::test_the_judge_knows_the_digits_at_any_level_and_no_digit_in_silence
dataset:spoken-digits               -          plugins/datasets/test_spoken_digits.py::test_splits_share_no_clip_and_two_voices_are_in_none_of_them
"""  # noqa: E501

TRAPS = """
a distance over the batch           plugins/likelihoods/test_spectral.py::test_it_is_by_clip_and_the_same_through_bands
a log floor below silence           plugins/modalities/test_audio.py::test_distances_of_sound_are_by_clip_and_known_in_simple_cases
frames that do not come back        plugins/modalities/test_audio_rows.py::test_a_transform_comes_back_whatever_the_length
an MDCT's wrong window              plugins/modalities/test_audio.py::test_an_mdct_with_a_window_that_is_not_its_own_would_not_come_back
SNR of made-up phases               plugins/modalities/test_audio_rows.py::test_signal_to_noise_of_phases_that_are_made_up_is_refused
resampling by slicing               plugins/modalities/test_audio_rows.py::test_a_tone_above_half_the_new_rate_is_100_db_down
clipped numbers that wrap           plugins/modalities/test_audio.py::test_16_bits_go_both_ways_exactly_and_loud_numbers_do_not_wrap
a long .ogg in one piece            plugins/modalities/test_audio_rows.py::test_ten_minutes_are_written_and_read_in_every_format
a synthesizer's state               plugins/datasets/test_spoken_digits.py::test_words_are_said_alike_whatever_was_said_before
windows of a clip in both splits    plugins/modalities/test_audio.py::test_files_are_split_and_not_windows
codes counted as bits               plugins/modalities/test_audio_rows.py::test_bits_of_a_codec_are_those_of_its_file
other sizes of batches              plugins/modalities/test_audio_rows.py::test_bits_of_a_codec_are_those_of_its_file
whole numbers among decay rates     plugins/modalities/test_audio_rows.py::test_recipes_and_fronts_of_the_papers_are_built
seams between parts of a long clip  plugins/modalities/test_long_sounds.py::test_with_less_around_each_part_its_seams_would_show
a silent generator                  apps/test_diagnose_sequences.py::test_a_gan_of_sounds_that_is_silent_is_named
"""  # noqa: E501


def names_in(path: Path) -> set[str]:
    return {n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("row", [line.rsplit(None, 2) for line in MEMBERS.strip().splitlines()], ids=lambda r: r[0])
def test_a_member_is_there_with_its_paper_and_a_test(row: list[str]) -> None:
    entry, paper, test = row
    kind, _, name = entry.partition(":")
    found = the_registry().get(kind, name)
    assert paper == "-" or found.paper == f"arXiv:{paper}"
    file, _, function = test.partition("::")
    assert function in names_in(TESTS / file)


@pytest.mark.parametrize("row", TRAPS.strip().splitlines(), ids=lambda r: r.rsplit(None, 1)[0])
def test_a_trap_has_a_test(row: str) -> None:
    file, _, function = row.rsplit(None, 1)[1].partition("::")
    assert function in names_in(TESTS / file)


@pytest.mark.parametrize("rest", [0, 1, 17, 63])
@pytest.mark.parametrize("n_fft", [256, 128])
def test_a_transform_comes_back_whatever_the_length(n_fft: int, rest: int) -> None:
    """n hops and a rest; of sound without the two things that are left out, the highest pitch and the last frame."""
    total = 32 * 64 + rest
    t = torch.arange(total)
    loud = torch.sin(math.pi * ((t / total - 0.1) / 0.6).clamp(0, 1)) ** 4
    x = ((torch.sin(0.3 * t) + torch.sin(1.7 * t)) * loud)[None, None]
    again = fronts.istft(fronts.stft(x, n_fft, 64 if n_fft == 256 else 32), n_fft, 64 if n_fft == 256 else 32, total)
    assert again.shape == x.shape
    assert (again - x).abs().max() < 1e-5


@pytest.mark.parametrize("hertz", [4500, 6000, 7500])
def test_a_tone_above_half_the_new_rate_is_100_db_down(hertz: int) -> None:
    x = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)[None]
    assert 20 * np.log10(np.abs(resampled(x, 16_000, 8000)[:, 400:-400]).max() + 1e-12) < -100
    assert np.abs(x[:, ::2]).max() > 0.9  # by slicing it is as loud as before


LONG = """
import sys, numpy as np
from pathlib import Path
from genzoo.plugins.modalities.sound_files import write_one
x = (8000 * np.sin(np.arange(16_000 * 600) * 0.05)).astype(np.int16)[None]
write_one(Path(sys.argv[1]), sys.argv[1], 16_000, 1, iter([x]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_ten_minutes_are_written_and_read_in_every_format(tmp_path: Path, suffix: str) -> None:
    """In a process of its own: libsndfile dies of a long .ogg in one piece."""
    path = tmp_path / f"long{suffix}"
    subprocess.run([sys.executable, "-c", LONG, str(path)], check=True, timeout=300)
    x = read_sound(path, 16_000, True)
    assert abs(x.shape[1] - 16_000 * 600) < 3000  # .mp3 has a frame before and after
    assert 0.2 < float(np.abs(x).max()) < 0.3


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_a_file_is_of_the_format_that_its_name_says(tmp_path: Path, suffix: str) -> None:
    x = (8000 * np.sin(np.arange(8000) * 0.05)).astype(np.int16)[None]
    write_one(tmp_path / "aside", f"s{suffix}", 8000, 1, iter([x[:, :5000], x[:, 5000:]]))
    found = soundfile.info(tmp_path / "aside")
    assert found.format == {".mp3": "MP3"}.get(suffix, suffix[1:].upper())
    assert (found.samplerate, found.channels) == (8000, 1)
    again = soundfile.read(tmp_path / "aside")[0][:8000]
    assert np.abs(again - x[0] / 32768).max() < (0.05 if suffix in (".ogg", ".mp3") else 1e-6)


def test_signal_to_noise_of_phases_that_are_made_up_is_refused() -> None:
    data = genzoo.load_data("spoken-digits-mini", split="test")
    seen = of(data.spec).recast(data, ("spectrogram",))
    model = genzoo.create("spec-vae", seen.spec, options={"generator.width": 4, "encoder.width": 4})
    for metric in ("si-sdr", "snr"):
        with pytest.raises(UsageError, match="phases are made up"):
            genzoo.evaluate(model, data, metrics=[metric], n=20)


@pytest.mark.slow
def test_bits_of_a_codec_are_those_of_its_file(tmp_path: Path) -> None:
    """Header included they are within a hundredth of the prior's bound, and far below codes counted by their number."""
    data = genzoo.load_data("spoken-digits-mini")
    small = {f"{part}.width": 8 for part in ("generator", "encoder", "critic")}
    run = genzoo.fit("audio-codec", data, tmp_path / "codec", steps=8, batch_size=8, progress=False,
                     options=small | {"posterior.codes": 32})  # fmt: skip
    genzoo.fit_prior(tmp_path / "codec", "transformer", tmp_path / "both", data=data, steps=60,
                     options={"prior.width": 16, "prior.depth": 1}, progress=False)  # fmt: skip
    model, x = genzoo.load(tmp_path / "both", verbose=False), data.take(slice(400))
    done = genzoo.compress(str(tmp_path / "both"), x, tmp_path / "clips.gz00")
    assert model.head is not None
    q = model.posterior(x.convert(x.x))
    bound = -float(model.prior.log_prob_of(q.tokens).sum()) / math.log(2)
    assert 0.99 * bound < 8 * (tmp_path / "clips.gz00").stat().st_size < 1.01 * bound
    assert done.size == (tmp_path / "clips.gz00").stat().st_size
    counted = 400 * q.tokens.shape[1] * 5
    assert bound < 0.9 * counted
    assert run.model.likelihood.normalized is False
    back = genzoo.decompress(tmp_path / "clips.gz00", tmp_path / "back.npz")
    with np.load(back) as found:
        assert np.abs(found["samples"] / 32768 - model.reconstruct(x.x).numpy()).max() < 1e-3


def test_raves_second_stage_is_one_command_and_moves_the_generator_alone(tmp_path: Path) -> None:
    data = genzoo.load_data("spoken-digits-mini").take(slice(40))
    small = {"generator.width": 8, "encoder.width": 8, "critic.width": 8, "prior": "conditional", "conditional": True}
    first = genzoo.fit("rave", data, tmp_path / "rave", steps=2, batch_size=8, progress=False,
                       options={k: v for k, v in small.items() if "critic" not in k})  # fmt: skip
    second = genzoo.fit("rave-gan", data, tmp_path / "second", init=tmp_path / "rave", steps=2, batch_size=8,
                        progress=False, options={"critic.width": 8})  # fmt: skip
    on = genzoo.fit(data=data, out=tmp_path / "second", resume=True, steps=3, batch_size=8, progress=False)
    assert (on.steps, type(on.model.head)) == (3, type(second.model.head))
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    moved = {k.partition(".")[0] for k in ours if not torch.equal(ours[k], theirs[k])}
    assert moved == {"generator"}
    assert any("critic/adversarial" in record for record in second.history)
    with pytest.raises(UsageError, match="its weights with init"):
        genzoo.fit("rave-gan", data, steps=2, progress=False)


@pytest.mark.parametrize(("recipe", "front", "options"), [
    ("wavegan", "waveform", {"generator.bands": 1, "critic.bands": 1, "generator.kernel": 25, "critic.kernel": 25}),
    ("wavegan", "waveform", {"augmentation": ["phase-shuffle=2"]}),
    ("wavegan", "mdct", {}),
    ("notes-gan", "instantaneous-frequency", {}),
    ("specgan", "log-spectrogram", {}),
    ("spec-vae", "mel", {}),
    ("rave", "mdct", {}),
])  # fmt: skip
def test_recipes_and_fronts_of_the_papers_are_built(recipe: str, front: str, options: dict[str, object]) -> None:
    data = genzoo.load_data("spoken-digits-mini", options={"front": front}).take(slice(8))
    config = compose(the_registry(), data.spec, recipe, options)
    assert all(isinstance(b, float) for b in config.train.betas)
    _, nets = initialize(config, 0)
    y = data.y if nets.model.classes else None
    x = nets.model.sample(2, labels=None if y is None else y[:2])
    assert x.shape == (2, 1, 4096)


def test_a_shuffled_phase_is_a_shift_that_is_mirrored_at_the_ends() -> None:
    x = torch.arange(6.0).expand(5, 1, 6).clone().requires_grad_()
    shuffle = PhaseShuffle(PhaseShuffle.Options(most=2))
    y = shuffle(x, torch.arange(5)[:, None] / 5)
    assert y[:, 0].tolist() == [[2, 1, 0, 1, 2, 3], [1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 4],
                                [2, 3, 4, 5, 4, 3]]  # fmt: skip
    assert float(torch.autograd.grad(y.sum(), x)[0].sum()) == 30  # every number that is shown has a slope
    assert torch.equal(shuffle(x, torch.full((5, 1), 0.999999)), y[4:].expand(5, 1, 6))
    spec = replace(of("audio").examples()[0], classes=0, class_names=())
    with pytest.raises(UsageError, match="augments waveforms"):
        initialize(compose(the_registry(), genzoo.DataSpec.image(1, 8, 8), "hinge",
                           {"augmentation": ["phase-shuffle"]}), 0)  # fmt: skip
    initialize(compose(the_registry(), spec, "wavegan", {"augmentation": ["phase-shuffle"]}), 0)


@pytest.mark.parametrize(("name", "rate", "channels", "said"), [
    ("s.mp3", 10_000, 1, r"s\.mp3 cannot be written: MP3 has no sound of 10,000 .* name a \.wav or \.flac file"),
    ("s.mp3", 44_100, 3, "MP3 has no sound of 44,100 samples a second in 3 channels"),
    ("s.ogg", 700_000, 1, r"name a \.wav or \.flac file"),
    ("s.flac", 700_000, 1, r"name a \.wav file"),
])  # fmt: skip
def test_a_rate_that_a_format_lacks_is_refused_in_one_sentence(
    tmp_path: Path, name: str, rate: int, channels: int, said: str
) -> None:
    spec = DataSpec("audio", (channels, 64), facts={"rate": rate, "channels": channels, "samples": 64, "level": 0.1})
    with pytest.raises(UsageError, match=said) as error:
        of(spec).write(tmp_path / name, spec, 1, iter([(torch.zeros(1, channels, 64), None)]))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_every_format_that_is_written_is_offered(tmp_path: Path) -> None:
    data = genzoo.load_data("spoken-digits-mini", split="test")
    assert set(SUFFIXES) | {"/"} == set(of(data.spec).suffixes)
    with pytest.raises(UsageError, match=r"use .*\.wav or \.flac or \.ogg or \.mp3 or \.aif or \.aiff"):
        output_kind(tmp_path / "s.m4a", data.spec, 1)
