"""Sound: transforms against scipy and their own definitions, files good and bad, and what a folder becomes."""

from __future__ import annotations

import math
import os
import warnings
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

import genzoo
from genzoo.core.data import to_model, to_units
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.plugins.datasets.clips import OwnClips, held_out
from genzoo.plugins.metrics.sound import log_spectral, mel_distance, si_sdr, snr
from genzoo.plugins.modalities import fronts
from genzoo.plugins.modalities.fronts import mr_stft
from genzoo.plugins.modalities.sound_files import read_sound, resampled, to_int16, trimmed, windows
from genzoo.plugins.nets.wave import ladder
from genzoo.registry.registry import the_registry
from genzoo.registry.verbs.data import open_data


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tone(hertz: float, rate: int = 8000, seconds: float = 0.512, loud: float = 0.5) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def put(path: Path, x: np.ndarray, rate: int = 8000, **how: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate, **how)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, hertz in (("high", 900), ("low", 200)):
        for i in range(12):
            put(tmp_path / "own" / name / f"{i}.wav", tone(hertz + 5 * i))
    return tmp_path / "own"


@pytest.mark.parametrize("bands", [1, 4, 16])
def test_the_mdct_is_orthonormal(bands: int) -> None:
    x = noise(3, 2, 64).double()
    y = fronts.mdct(x.float(), bands)
    assert y.shape == (3, 2, bands, 64 // bands)
    assert torch.allclose(fronts.imdct(y), x.float(), atol=1e-5)
    whole = fronts.mdct(torch.eye(64)[:, None], bands).flatten(1)  # its matrix: of determinant ±1, so densities keep
    assert torch.allclose(whole @ whole.T, torch.eye(64), atol=1e-5)


def test_an_mdct_with_a_window_that_is_not_its_own_would_not_come_back() -> None:
    x, bands = noise(1, 1, 64), 16
    n, k = torch.arange(32.0), torch.arange(16.0)
    flat = math.sqrt(2 / bands) * torch.cos(math.pi / bands * (n + 0.5 + bands / 2) * (k[:, None] + 0.5))
    around = torch.cat([x, x[..., :bands]], -1)
    wrong = torch.nn.functional.conv1d(around, flat[:, None], stride=bands)[:, None]
    assert not torch.allclose(fronts.imdct(wrong), x, atol=0.1)


@pytest.mark.parametrize("samples", [256, 320, 323])
def test_stft_agrees_with_scipy_and_comes_back(samples: int) -> None:
    x, n_fft, hop = noise(2, 1, samples), 64, 16
    ours = fronts.stft(x, n_fft, hop)
    window = scipy.signal.get_window("hann", n_fft)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, -1)[:, :, ::hop][:, :, : samples // hop]
    theirs = np.fft.rfft(frames * window)[..., :-1] / np.sqrt((window**2).sum())
    assert np.allclose(ours.numpy(), theirs.swapaxes(-1, -2), atol=1e-4)
    _, _, theirs = scipy.signal.stft(x.numpy(), nperseg=n_fft, noverlap=n_fft - hop, boundary=None, padded=False)
    inner = slice(n_fft // hop // 2, n_fft // hop // 2 + theirs.shape[-1])
    scale = np.sqrt((window**2).sum()) / window.sum()
    inside = ours[..., inner].numpy()
    assert np.allclose(np.abs(inside) * scale, np.abs(theirs[..., :-1, : inside.shape[-1]]), atol=1e-4)
    smooth = torch.from_numpy(scipy.signal.lfilter([0.05], [1, -0.95], x.numpy())).float()  # little at the left-out end
    again = fronts.istft(fronts.stft(smooth, n_fft, hop), n_fft, hop, samples)
    assert again.shape == smooth.shape
    assert (again - smooth)[..., : -2 * hop].abs().max() < 0.02 * smooth.abs().max()


def test_mel_triangles_have_equal_area_and_cover_the_band() -> None:
    bank = fronts.mel_bank(16000, 2048, 40)
    assert torch.allclose(bank[5:-1].sum(1) * 16000 / 2048, torch.ones(34), atol=0.02)
    assert bank.argmax(1).diff().min() > 0
    assert int(bank[:, 128].argmax()) in (12, 13)  # 1,000 Hz is mel 15 of 45.25, with 41 steps: between the two


@pytest.mark.parametrize("front", ["mdct", "log-spectrogram", "mel", "instantaneous-frequency"])
def test_a_tone_is_heard_through_every_front(front: str) -> None:
    x = torch.from_numpy(tone(440))[None, None] * 2
    seen = fronts.analyse(x, front, 256, 64, 64, 8000)
    heard = fronts.synthesize(seen, front, 256, 64, 64, 8000, 4096)
    spectrum = torch.fft.rfft(heard[0, 0]).abs()
    assert abs(int(spectrum.argmax()) * 8000 / 4096 - 440) < 20
    assert 0.6 < float(heard.square().mean() / x.square().mean()) < 1.4
    assert torch.equal(heard, fronts.synthesize(seen, front, 256, 64, 64, 8000, 4096))


def test_griffin_lim_makes_the_magnitudes_and_not_the_waveform() -> None:
    x = fronts.istft(fronts.stft(noise(2, 1, 2048), 256, 64), 256, 64, 2048)
    wanted = fronts.stft(x, 256, 64).abs()
    heard = fronts.griffin_lim(wanted, 256, 64, 2048)
    off = (fronts.stft(heard, 256, 64).abs() - wanted).norm() / wanted.norm()
    assert off < 0.3
    assert si_sdr(x, heard).max() < 5  # phases are not there: this is why the metric refuses such models
    alone = fronts.griffin_lim(wanted[1:], 256, 64, 2048)
    assert torch.allclose(alone, heard[1:], atol=1e-3)  # whatever else is in the batch


def test_silence_is_a_finite_number_and_comes_back_silent() -> None:
    for front in ("log-spectrogram", "mel", "instantaneous-frequency"):
        seen = fronts.analyse(torch.zeros(1, 1, 512), front, 64, 16, 8, 800)
        assert torch.isfinite(seen).all()
        assert fronts.synthesize(seen, front, 64, 16, 8, 800, 512).abs().max() < 1e-5


def test_16_bits_go_both_ways_exactly_and_loud_numbers_do_not_wrap() -> None:
    whole = np.arange(-32768, 32768, dtype=np.int16)
    assert np.array_equal(to_int16(whole / 32768), whole)
    assert not np.array_equal(np.rint(whole / 32768 * 32767).astype(np.int16), whole)  # the usual wrong factor
    assert to_int16(np.array([1.5, -1.5])).tolist() == [32767, -32768]


def test_a_tone_above_half_the_new_rate_is_gone_after_resampling_and_folds_by_slicing() -> None:
    x = tone(3500, 16000, 1.0)[None]
    right, wrong = resampled(x, 16000, 4000), x[:, ::4]
    assert 20 * np.log10(np.abs(right[:, 200:-200]).max()) < -80
    assert np.abs(wrong).max() > 0.4


def test_windows_are_of_one_clip_with_half_overlap_and_silence_at_the_end() -> None:
    x = np.arange(10, dtype=np.int16)[None]
    assert [w[0].tolist() for w in windows(x, 4, False)] == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert windows(x[:, :3], 4, False)[0][0].tolist() == [0, 1, 2, 0]
    assert len(windows(x, 4, True)) == 1
    quiet = np.concatenate([np.zeros(50), tone(400), np.zeros(50)])[None]
    assert abs(trimmed(quiet, 40.0).shape[1] - 4096) < 5


def test_files_are_split_and_not_windows() -> None:
    files = [f"{i // 5}.wav" for i in range(100)]
    test = held_out(files)
    assert test.sum() == 10
    assert not {f for f, t in zip(files, test, strict=True) if t} & {
        f for f, t in zip(files, test, strict=True) if not t
    }


def test_a_folder_becomes_clips_with_classes(folder: Path) -> None:
    data = open_data(the_registry(), folder)
    assert data.spec.modality == "audio"
    assert data.rows.shape == (22, 1, 4096)
    assert data.rows.dtype == torch.int16
    assert data.spec.class_names == ("high", "low")
    seen = of(data.spec).recast(data, ("spectrogram",))
    assert seen.spec.shape == (1, 128, 64)
    x = seen.convert(seen.x)
    assert abs(float(x.mean())) < 1e-3
    assert abs(float(x.std()) - 1) < 0.05
    assert of(seen.spec).alike(seen.spec, data.spec)


def test_model_space_has_rms_1_and_data_units_come_back(folder: Path) -> None:
    data = OwnClips(OwnClips.Options(path=str(folder), front="mdct")).load()
    x = data.convert(data.x.clone())
    assert abs(float(x.square().mean()) - 1) < 1e-3
    assert torch.allclose(to_units(data.spec, x), data.x / 32768, atol=1e-4)
    assert torch.allclose(to_model(data.spec, data.x / 32768), x, atol=1e-4)


def broken(path: Path, kind: str) -> None:
    good = path.with_name("good.wav")
    put(good, tone(300))
    content = good.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "no-sound":
        put(path, np.zeros(0, np.float32))
    elif kind == "cut":
        path.write_bytes(content[:2000])
    elif kind == "2-gigabytes":
        path.write_bytes(content[:40] + (2**31).to_bytes(4, "little") + content[44:])
    elif kind == "1-hertz":  # an hour of sound in 8 kB, which would be 32 million samples
        path.write_bytes(content[:24] + (1).to_bytes(4, "little") + content[28:])
    elif kind.startswith("cut-"):
        other = path.with_name(f"bad.{kind[4:]}")
        put(other, np.random.default_rng(0).normal(0, 0.1, 40_000))
        whole = other.read_bytes()
        other.unlink()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("RIFF this is no sound")
    elif kind == "nan":
        put(path, np.full(100, np.nan, np.float32), subtype="FLOAT")
    elif kind == "9-channels":
        put(path, np.zeros((100, 9), np.float32))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "it is empty"),
        ("no-sound", "it has no sound"),
        ("cut", "it was cut off"),
        ("2-gigabytes", "2,147,483,648 bytes of sound"),
        ("1-hertz", "1 samples a second"),
        ("cut-ogg", "its last page is not there"),
        ("cut-mp3", "it was cut off"),
        ("cut-aiff", "it was cut off"),
        ("text", "sound"),
        ("nan", "NaN"),
        ("9-channels", "9 channels"),
    ],
)
def test_a_bad_file_is_one_sentence_and_can_be_left_out(tmp_path: Path, kind: str, words: str) -> None:
    broken(tmp_path / "bad.wav", kind)
    put(tmp_path / "other.wav", tone(500))
    with pytest.raises(GenzooError, match=words) as e:
        open_data(the_registry(), tmp_path)
    assert "bad.wav" in str(e.value)
    assert "\n" not in str(e.value)
    with pytest.warns(UserWarning, match="left out"):
        assert len(open_data(the_registry(), tmp_path, {"skip_bad": True}, split="all")) == 2


def test_rates_and_channels_are_brought_to_one(tmp_path: Path) -> None:
    put(tmp_path / "a.wav", np.stack([tone(300, 16000)] * 8, 1), 16000)
    put(tmp_path / "b.flac", tone(300, 8000), 8000)
    a, b = (read_sound(p, 8000, True) for p in sorted(tmp_path.iterdir()))
    assert a.shape == b.shape == (1, 4096)
    assert np.abs(a - b)[:, 200:-200].max() < 2e-3
    data = open_data(the_registry(), tmp_path, split="all")
    assert len(data) == 2
    with pytest.raises(GenzooError, match="8 channels"):
        open_data(the_registry(), tmp_path, {"mono": False})


def test_every_encoding_is_read_any_name_too_and_loud_files_are_said_to_be_clipped(tmp_path: Path) -> None:
    for kind in ("ULAW", "GSM610", "PCM_24", "DOUBLE"):
        put(tmp_path / f"{kind}.wav", tone(300), subtype=kind)
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes((tmp_path / "PCM_24.wav").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_data(the_registry(), tmp_path, split="all").read.files
    assert found is not None
    assert len(set(found)) == 5
    put(tmp_path / "loud.wav", 4 * tone(300), subtype="FLOAT")
    data = open_data(the_registry(), tmp_path, split="all")
    assert data.read.notes == ("1 files have samples beyond [-1, 1], which are clipped",)


def test_silence_is_said_and_nothing_else_is_no_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / f"{name}.wav", np.zeros(4096))
    with pytest.raises(UsageError, match="all of its 2 clips are silent"):
        open_data(the_registry(), tmp_path)
    put(tmp_path / "c.wav", 1e-3 * tone(300)[:4096])  # quiet is not silent
    assert open_data(the_registry(), tmp_path).read.notes == ("2 of 3 clips are silent from end to end",)


def test_a_folder_of_pictures_and_sounds_is_of_pictures(tmp_path: Path) -> None:
    from PIL import Image

    put(tmp_path / "a.wav", tone(300))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert open_data(the_registry(), tmp_path, split="all").spec.modality == "image"


def test_arrays_are_clips_where_that_is_said() -> None:
    data = genzoo.load_data((np.zeros((4, 64), np.int16) + 5, None), options={"modality": "audio"})
    assert data.spec.shape == (1, 64)
    with pytest.raises(UsageError, match="no waveform"):
        genzoo.load_data((np.full((4, 64), 3.0, np.float32), None), options={"modality": "audio"})


def test_a_written_file_is_plain_pcm_with_silence_between_clips(tmp_path: Path) -> None:
    spec = of("audio").examples()[0]
    x = (0.1 * noise(3, *of(spec).unit_shape(spec))).clamp(-1, 1)
    of(spec).write(tmp_path / "s.wav", spec, 3, iter([(x[:2], None), (x[2:], None)]))
    with wave.open(str(tmp_path / "s.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (800, 2, 3 * 64 + 2 * 8)
    assert torch.equal(of(spec).read_samples(tmp_path / "s.wav", spec).x, of(spec).to_storage(spec, x))


def test_players_are_small_files_that_play() -> None:
    import base64
    import io
    import re

    spec = of("spectrogram").examples()[0]
    found = of(spec).fragment(spec, 0.1 * noise(2, 1, 64).clamp(-1, 1))
    assert found is not None
    assert isinstance(found.content, str)
    packed = re.findall(r"data:audio/wav;base64,([^\"]+)", found.content)
    assert len(packed) == 2
    assert soundfile.read(io.BytesIO(base64.b64decode(packed[0])))[0].shape == (64,)


def test_players_of_two_rows_are_side_by_side_each_under_its_place() -> None:
    import base64
    import io
    import re

    spec = of("audio").examples()[0]
    x = torch.arange(1, 41)[:, None, None] / 1000 * torch.ones(40, 1, 64)
    found = of(spec).fragment(spec, x, 10)
    assert found is not None
    assert isinstance(found.content, str)
    packed = re.findall(r'aria-label="row (\d), (\d+)" src="data:audio/wav;base64,([^"]+)', found.content)
    assert [(int(r), int(c)) for r, c, _ in packed] == [(r, c) for c in range(1, 7) for r in (1, 2)]
    for r, c, wav in packed:
        said = soundfile.read(io.BytesIO(base64.b64decode(wav)))[0]
        assert abs(float(said[0]) - (10 * (int(r) - 1) + int(c)) / 1000) < 1e-4


def test_distances_of_sound_are_by_clip_and_known_in_simple_cases() -> None:
    x, n = noise(3, 1, 2048), noise(3, 1, 2048, seed=1)
    assert torch.allclose(mr_stft(x, x), torch.zeros(3), atol=1e-5)
    assert torch.allclose(mr_stft(x, n), mr_stft(torch.cat([x, x]), torch.cat([n, n]))[:3])
    assert torch.allclose(mr_stft(x, torch.zeros_like(x)) > 1, torch.ones(3).bool())
    assert mr_stft(torch.zeros_like(x), 1e-4 * n).max() < 1  # the floor bounds it
    tenth = x + n * (x.norm(dim=2, keepdim=True) / n.norm(dim=2, keepdim=True)) / 10
    assert torch.allclose(si_sdr(x, tenth).float(), torch.full((3,), 20.0), atol=0.7)
    assert torch.allclose(si_sdr(x, 0.3 * tenth), si_sdr(x, tenth), atol=1e-3)  # whatever the level


def test_distances_in_db_and_mel_are_known_in_simple_cases() -> None:
    x = noise(3, 1, 2048)
    assert torch.allclose(snr(x, 0.9 * x).float(), torch.full((3,), 20.0), atol=1e-3)
    assert torch.allclose(si_sdr(x, 0.9 * x) > 100, torch.ones(3).bool())  # it does not see the level
    assert torch.allclose(log_spectral(x, x), torch.zeros(3))
    half = log_spectral(x, 0.5 * x)
    assert torch.allclose(half, torch.full((3,), 6.02), atol=0.3)  # of 6 dB, but at the floor
    assert torch.allclose(mel_distance(x, 0.5 * x, 8000), torch.full((3,), math.log(2)), atol=0.05)
    assert torch.allclose(log_spectral(torch.cat([x, x]), torch.cat([x, 0.5 * x])), torch.cat([0 * half, half]))


@pytest.mark.parametrize(("frames", "sizes"), [(256, [256, 64, 16]), (64, [64, 16]), (63, [63]), (100, [100, 25])])
def test_strides_end_at_16_frames_or_more(frames: int, sizes: list[int]) -> None:
    assert ladder(frames, 4) == sizes


@pytest.mark.parametrize(("recipe", "player"), [("spec-vae", 1), ("specgan", 2), ("wavegan", 2)])
def test_recipes_take_steps_on_a_folder_and_make_clips(folder: Path, recipe: str, player: int) -> None:
    run = genzoo.fit(recipe, folder, steps=2, batch_size=4, progress=False)
    x = run.model.sample(2)
    assert x.shape == (2, 1, 4096)
    assert float(x.abs().max()) <= 1
    assert torch.equal(x, run.model.sample(2))
    if run.model.encoder is not None:
        data = open_data(the_registry(), folder, split="test")
        assert run.model.reconstruct(data.x).shape == data.x.shape
    assert replace(run.config.data, name="x").facts["rate"] == 8000


def test_silent_samples_are_named() -> None:
    spec = of("audio").examples()[0]
    clips = 0.1 * noise(4, 1, 64)
    assert of(spec).complaint(spec, clips) == ""
    assert "3 of 4 samples are silent" in of(spec).complaint(spec, clips * torch.tensor([1, 0, 0, 1e-3])[:, None, None])
    assert of("image").complaint(genzoo.DataSpec.image(1, 8, 8), torch.zeros(2, 1, 8, 8)) == ""


def test_a_run_on_spectrograms_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    whole = genzoo.fit("spec-vae", folder, steps=2, batch_size=4, progress=False)
    genzoo.fit("spec-vae", folder, tmp_path / "run", steps=1, batch_size=4, progress=False)
    again = genzoo.fit(resume=tmp_path / "run", steps=2, progress=False)
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize(("recipe", "says"), [
    ("spec-vae", "has no files that spectrograms are read from: .wav, "), ("wavegan", "has no files that clips are"),
    ("lm", "is a folder, and texts are read from a file: .txt, .jsonl"), ("vae", "has no images: files that end in"),
])  # fmt: skip
@pytest.mark.parametrize("file", ["", "notes.md"])
def test_a_folder_without_data_is_named_in_words_of_the_recipe(
    recipe: str, says: str, file: str, tmp_path: Path
) -> None:
    if file:
        (tmp_path / file).write_text("nothing to hear")
    with pytest.raises(UsageError, match=says):
        genzoo.fit(recipe, str(tmp_path), steps=1, progress=False)


def test_an_empty_folder_beside_weights_of_sounds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no files that clips are read from: \.wav"):
        genzoo.evaluate("rave/spoken-digits", str(tmp_path), "mr-stft", n=2)
