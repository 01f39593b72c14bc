"""Harmonic filters and scores against their formulas; the three published layouts; learning."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from task_lab import Cell, model_from, request_for

from harness.errors import HarnessError, MissingDataError
from suites.data import audio_published, audiofolder
from suites.data.sounds import decode, fitted
from suites.models import harmonic_cnn
from suites.models.harmonic_cnn import HarmonicCNN, HarmonicCNNOptions, HarmonicFilters, midi
from suites.tasks.audio import Excerpts, class_scores, tag_scores

sf = pytest.importorskip("soundfile")

SIZES = {"train": 160, "validation": 40, "test": 200, "samples": 2048}
CELLS = {
    kind: Cell(
        "suites.tasks.audio:audio",
        "suites.data.synthetic_sounds:synthetic-sounds",
        "suites.models.harmonic_cnn:harmonic-cnn",
        {"batch_size": 20, "eval_batch": 100},
        {"kind": kind, "noise": 0.1, **SIZES},
        {"harmonics": 4, "resolution": 1, "points": 256, "layers": 3, "channels": 8, "dropout": 0.0},
    )
    for kind in ("tones", "words", "textures")
}


def test_scores_of_tags_equal_torchmetrics() -> None:
    from torchmetrics.classification import MultilabelAUROC, MultilabelAveragePrecision, MultilabelF1Score

    draws = np.random.default_rng(0)
    for digits in (8, 1):  # without and with ties
        scores, truth = draws.random((80, 3)).round(digits), (draws.random((80, 3)) < 0.4).astype(np.int64)
        pair = torch.from_numpy(scores), torch.from_numpy(truth)
        ours = tag_scores(scores, truth, 0.5)
        assert ours["roc-auc"] == pytest.approx(100 * float(MultilabelAUROC(3)(*pair)), abs=1e-4)
        assert ours["pr-auc"] == pytest.approx(100 * float(MultilabelAveragePrecision(3)(*pair)), abs=1e-4)
        assert ours["f1"] == pytest.approx(100 * float(MultilabelF1Score(3, average="micro")(*pair)), abs=1e-4)


def test_tags_that_are_never_or_always_true_have_no_areas() -> None:
    scores, truth = np.array([[0.1, 0.4, 0.9], [0.2, 0.3, 0.8]]), np.array([[1, 0, 0], [1, 0, 1]])
    ours = tag_scores(scores, truth, 0.5)
    assert ours["roc-auc"] == 0.0  # of the third tag alone
    assert ours["pr-auc"] == pytest.approx(100 * (1.0 + 0.5) / 2)  # of the first and the third
    assert ours["f1"] == pytest.approx(100 * 2 / (2 + 1 + 2))
    never = tag_scores(scores[:, 1:2], truth[:, 1:2], 0.5)
    assert np.isnan([never["roc-auc"], never["pr-auc"]]).all()
    assert never["f1"] == 0.0


def test_a_class_that_is_neither_said_nor_true_counts_as_zero() -> None:
    ours = class_scores(np.eye(3)[[0, 0, 1, 1]], np.array([0, 1, 1, 1]))
    assert ours == {"accuracy": 75.0, "f1": pytest.approx(100 * (2 / 3 + 4 / 5 + 0) / 3)}


def test_filters_are_triangles_around_the_harmonics_of_equal_tempered_bands() -> None:
    filters = HarmonicFilters(16000, 6, 2, 513)
    assert filters.bands == 128  # C1 to E6, two a semitone, as published
    weights = filters.filters().detach()
    assert weights.shape == (257, 6 * 128)
    centres = filters.centres.view(6, 128)
    assert float(centres[0, 0]) == pytest.approx(32.703, abs=1e-3)
    assert torch.allclose(centres[3], 4 * centres[0])
    assert torch.allclose(centres[0, 24] / centres[0, 0], torch.tensor(2.0))
    band = 128 * 2 + 90
    centre = float(filters.centres[band])
    width = (0.1079 * centre + 24.7) / 2
    expected = (1 - 2 * (filters.bins - centre).abs() / width).clamp_min(0)
    assert torch.allclose(weights[:, band], expected, atol=1e-5)
    assert midi(440.0) == 69


def test_a_tone_lights_its_band_and_louder_is_more_decibels() -> None:
    filters = HarmonicFilters(8000, 2, 1, 512)
    time = torch.arange(4096) / 8000
    tone = 0.5 * torch.sin(2 * np.pi * 440 * time)
    with torch.no_grad():
        quiet, loud = filters(torch.stack([tone, 2 * tone]))
    inner = quiet[0, :, 3:-3].mean(dim=1)
    assert abs(24 + int(inner.argmax()) - 69) <= 1
    assert torch.allclose(loud[0, 45] - quiet[0, 45], torch.full_like(loud[0, 45], 6.0206), atol=0.05)


SMALL = {"harmonics": 2, "resolution": 1, "points": 256, "layers": 2, "channels": 4, "dropout": 0.0}


def test_the_published_network_has_its_size() -> None:
    """3.6 million parameters: Won et al., Evaluation of CNN-based automatic music tagging models, SMC 2020, table 1."""
    model = HarmonicCNN(50, 16000, HarmonicCNNOptions())
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 3.6
    with torch.no_grad():
        assert model.eval()(torch.randn(1, 80000)).shape == (1, 50)


def test_the_filters_quality_is_learned_and_too_many_harmonics_are_refused() -> None:
    model = model_from(harmonic_cnn.build, {"classes": 3, "rate": 8000}, **SMALL)
    model(torch.randn(4, 2048)).sum().backward()
    assert float(model.filters.quality.grad.abs()) > 0
    with pytest.raises(HarnessError, match="half the rate"):
        model_from(harmonic_cnn.build, {"classes": 2, "rate": 1000}, **{**SMALL, "harmonics": 30})


def test_excerpts_begin_where_asked_and_short_recordings_are_padded() -> None:
    data = CELLS["words"].data_for(0)
    part = data.splits["train"]
    short = Excerpts(part, 500, torch.device("cpu")).at(torch.tensor([3, 3]), torch.tensor([0.0, 1.0]))
    assert torch.equal(short[0], torch.tensor(part.waves[3, :500]))
    assert torch.equal(short[1], torch.tensor(part.waves[3, -500:]))
    long = Excerpts(part, 3000, torch.device("cpu")).at(torch.tensor([3]), torch.tensor([0.5]))[0]
    assert torch.equal(long[476 : 476 + 2048], torch.tensor(part.waves[3]))
    assert float(long[:476].abs().sum()) == 0


def test_chunks_average_probabilities() -> None:
    task = replace(CELLS["tones"], recipe={**CELLS["tones"].recipe, "samples": 512, "chunks": 3}).build(0)
    model = task.build()
    part = task.splits["test"]
    with torch.no_grad():
        model.eval()
        places = torch.arange(len(part))
        each = [model(part.at(places, torch.full((len(part),), share))).sigmoid() for share in (0.0, 0.5, 1.0)]
        assert np.allclose(task.probabilities("test"), torch.stack(each).mean(0).numpy(), atol=1e-5)


def _tone(path: Path, hertz: float = 440, rate: int = 8000, seconds: float = 0.5, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    sf.write(path, np.repeat(wave[:, None], channels, axis=1), rate)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_recordings_are_resampled_and_averaged_over_channels(tmp_path: Path, suffix: str) -> None:
    _tone(tmp_path / f"a{suffix}", rate=44100, seconds=1.0, channels=2)
    wave = decode((tmp_path / f"a{suffix}").read_bytes(), 16000, "a")
    assert abs(len(wave) - 16000) < 1200  # an mp3 encoder pads
    spectrum = np.abs(np.fft.rfft(wave[4000:12000]))
    assert int(spectrum.argmax()) * 2 == 440
    assert wave.dtype == np.float32
    with pytest.raises(HarnessError, match="not a recording"):
        decode(b"RIFF nonsense", 8000, "b.wav")


def test_lengths_are_cut_and_padded_at_both_ends() -> None:
    wave = np.arange(1, 6, dtype=np.float32)
    assert fitted(wave, 3).tolist() == [2, 3, 4]
    assert fitted(wave, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]


def test_audiofolder_reads_splits_and_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("high", "low"):
            _tone(tmp_path / "own" / split / name / "1.wav", 880 if name == "high" else 110)
    request = request_for(audiofolder.load_folder, tmp_path, path="own", rate=4000, seconds=0.25)
    data = audiofolder.load_folder(request)
    assert data.classes == ("high", "low")
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 2, "validation": 2, "test": 2}
    assert data.splits["train"].waves.shape == (2, 1000)
    (tmp_path / "own" / "train" / "low" / "2.wav").write_bytes(b"damaged")
    with pytest.raises(HarnessError, match=r"2\.wav"):
        audiofolder.load_folder(request)


def test_audiotags_reads_tables_and_refuses_damaged_ones(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    for name in ("train/a.wav", "train/b.wav", "test/c.wav"):
        _tone(folder / name)
    (folder / "train.csv").write_text("file,flute,oboe\ntrain/a.wav,1,0\ntrain/b.wav,1,1\n")
    (folder / "test.csv").write_text("file,flute,oboe\ntest/c.wav,0,1\n")
    request = request_for(audiofolder.load_tags, tmp_path, path="own", rate=8000, seconds=0.5)
    data = audiofolder.load_tags(request)
    assert data.tags
    assert data.classes == ("flute", "oboe")
    assert data.splits["train"].targets.tolist() == [[1, 0], [1, 1]]
    assert data.splits["test"].targets.tolist() == [[0, 1]]
    for damaged, message in (
        ("file,flute\ntest/c.wav,0\n", "expected 'file'"),
        ("file,flute,oboe\ntest/c.wav,0,2\n", "tags are 0 or 1"),
        ("file,oboe,flute\ntest/c.wav,0,1\n", "other tags"),
        ("file,flute,oboe\ntest/d.wav,0,1\n", "which is missing"),
    ):
        (folder / "test.csv").write_text(damaged)
        with pytest.raises(HarnessError, match=message):
            audiofolder.load_tags(request)


def test_speech_commands_follow_the_published_lists(tmp_path: Path) -> None:
    root = tmp_path / "speech-commands"
    for name in ("yes/a_nohash_0", "yes/b_nohash_0", "yes/c_nohash_0", "no/a_nohash_0", "_background_noise_/hum"):
        _tone(root / f"{name}.wav")
    (root / "validation_list.txt").write_text("yes/b_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("yes/c_nohash_0.wav\n")
    request = request_for(audio_published.load_speech_commands, tmp_path, rate=8000)
    data = audio_published.load_speech_commands(request)
    assert data.classes == ("no", "yes")
    expected = {"train": [0, 1], "validation": [1], "test": [1]}
    assert {name: part.targets.tolist() for name, part in data.splits.items()} == expected
    assert len(data.splits["test"].waves.read(0)) == 4000  # type: ignore[union-attr]
    (root / "testing_list.txt").write_text("yes/zz.wav\n")
    with pytest.raises(HarnessError, match=r"yes/zz\.wav"):
        audio_published.load_speech_commands(request)
    (root / "testing_list.txt").unlink()
    with pytest.raises(MissingDataError):
        audio_published.load_speech_commands(request)


def test_magnatagatune_takes_the_most_frequent_tags_and_splits_by_folder(tmp_path: Path) -> None:
    root = tmp_path / "magnatagatune"
    tags = [f"tag{number}" for number in range(52)]
    lines = ["\t".join(['"clip_id"', *(f'"{tag}"' for tag in tags), '"mp3_path"'])]
    for place, folder in enumerate("0bcdf1"):
        values = ["1" if number in (place, 51) else "0" for number in range(52)]
        path = f"{folder}/clip{place}.mp3"
        lines.append("\t".join([f'"{place}"', *(f'"{value}"' for value in values), f'"{path}"']))
        if place < 5:  # the last is lost
            _tone(root / path, rate=16000)
    (root / "annotations_final.csv").write_text("\n".join(lines) + "\n")
    data = audio_published.load_magnatagatune(request_for(audio_published.load_magnatagatune, tmp_path, rate=8000))
    assert data.classes[0] == "tag51"
    assert len(data.classes) == 50
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 2, "validation": 1, "test": 2}
    assert data.splits["train"].targets.sum(axis=1).tolist() == [2, 2]
    for old, new, message in (('"clip_id"', '"id"', "clip_id"), ('"0"\t"1"', '"0"\t"x"', "not numbers")):
        (root / "annotations_final.csv").write_text("\n".join(lines).replace(old, new))
        with pytest.raises(HarnessError, match=message):
            audio_published.load_magnatagatune(request_for(audio_published.load_magnatagatune, tmp_path, rate=8000))


def test_dcase_joins_labels_of_a_clip_and_holds_out_a_tenth(tmp_path: Path) -> None:
    root = tmp_path / "dcase2017-task4"
    rows = {"training": [], "testing": [], "evaluation": []}
    for part, listed in rows.items():
        for number in range(10):
            _tone(root / part / f"Yclip{number}_0.000_10.000.wav")
            listed.append(f"clip{number}_0.000_10.000.wav\t0.000\t10.000\tCar")
        listed.append("clip0_0.000_10.000.wav\t0.000\t10.000\tTrain")
        listed.append("gone_0.000_10.000.wav\t0.000\t10.000\tBus")
        (root / f"groundtruth_weak_label_{part}_set.csv").write_text("\n".join(listed) + "\n")
    data = audio_published.load_dcase2017(request_for(audio_published.load_dcase2017, tmp_path, rate=8000))
    assert len(data.classes) == 17
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 18, "validation": 2, "test": 10}
    assert data.splits["test"].targets[0].nonzero()[0].tolist() == [11, 16]
    file = root / "groundtruth_weak_label_testing_set.csv"
    file.write_text("a.wav\t0\t10\tUnicorn\n")
    with pytest.raises(HarnessError, match="known label"):
        audio_published.load_dcase2017(request_for(audio_published.load_dcase2017, tmp_path, rate=8000))


DATA = pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="HARNESS_DATA is not set")


@pytest.mark.full
@pytest.mark.data
@DATA
def test_spoken_digits_keep_speakers_apart() -> None:
    root = Path(os.environ["HARNESS_DATA"])
    data = audiofolder.load_fsdd(request_for(audiofolder.load_fsdd, root, samples=4000))
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 2000, "validation": 500, "test": 500}
    assert all((np.bincount(part.targets) == len(part) // 10).all() for part in data.splits.values())


@pytest.mark.full
@pytest.mark.data
@DATA
def test_esc10_splits_by_fold_and_orchestra_by_table() -> None:
    root = Path(os.environ["HARNESS_DATA"])
    data = audiofolder.load_esc10(request_for(audiofolder.load_esc10, root, rate=8000))
    assert len(data.classes) == 10
    assert sum(len(part) for part in data.splits.values()) == 300
    tags = audiofolder.load_orchestra(request_for(audiofolder.load_orchestra, root, rate=8000, validation=100))
    assert {name: len(part) for name, part in tags.splits.items()} == {"train": 700, "validation": 100, "test": 250}
    assert tags.splits["test"].targets.shape == (250, 15)
