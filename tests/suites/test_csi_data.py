"""CSI readers on fixtures in the published format, and the simulated channel.

Document: WiFall/README.md (RS2002/KNN-MMD) and WiGesture/README.md (RS2002/CSI-BERT): columns seq, timestamp, rssi,
local_timestamp, data; ``data`` holds 104 numbers a row, a[2i] + a[2i+1]j the value of subcarrier i; folders as there.
"""

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_lab import Cell

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import ModelRequest
from methods.alignment.knn_baselines import KNNMotion, KNNPredictor, KNNStatic
from suites.checks import knn_mmd
from suites.data.csi_csv import list_recordings, parse
from suites.data.csi_domains import CsiDomains
from suites.models.csi_resnet import CsiEncoder, CsiResNetOptions, build, load_imagenet, standardise

CSI, WIGESTURE, WIFALL = (f"suites.data.csi_csv:{name}" for name in ("csi", "wigesture", "wifall"))
SIMULATOR = "suites.data.csi_simulator:channel-simulator"


pytestmark = pytest.mark.usefixtures("own_cache")


def load(source: str, root: Path, seed: int = 0, **keys: object) -> CsiDomains:
    data = Cell("", source, "", data_keys=keys).data_for(seed, root)
    assert isinstance(data, CsiDomains)
    return data


def write_csv(path: Path, packets: int, first: int = 0, numbers: int = 104) -> np.ndarray:
    """A recording; returns its complex values (packets, subcarriers)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(first).integers(-30, 30, (packets, numbers))
    rows = (f'CSI_DATA,{number},-30,"{row.tolist()}"' for number, row in enumerate(values))
    path.write_text("\n".join(["type,seq,rssi,data", *rows]), encoding="utf-8")
    return values[:, 0::2] + 1j * values[:, 1::2]


def write_wifall(root: Path) -> dict[str, np.ndarray]:
    written = {}
    for person in range(3):
        for action in ("fall", "Jump", "walk"):
            for number in range(3):
                name = f"WiFall/ID{person}/{action}/2023-11-13_19-24-4{number}-749_104_1.csv"
                written[name] = write_csv(root / name, 25, len(written))
    return written


def test_wifall_layout_as_a_folder_and_as_an_archive(tmp_path: Path) -> None:
    written = write_wifall(tmp_path)
    with tarfile.open(tmp_path / "wifall.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "WiFall", "WiFall")
    for path in ("WiFall", "wifall.tar.xz"):
        data = load(CSI, tmp_path, path=path, packets=10, steps=10, target="2")
        assert data.classes == ("fall", "jump", "walk")
        assert data.target.amplitudes.shape == (18, 10, 52)
        assert len(data.source) == 36
        first = written["WiFall/ID2/fall/2023-11-13_19-24-40-749_104_1.csv"]
        np.testing.assert_allclose(data.target.amplitudes[1], np.abs(first[10:20]), rtol=1e-6)
        # Two windows of one recording share its number, and no recording is on both sides.
        assert data.target.recordings[0] == data.target.recordings[1] != data.target.recordings[2]
        assert not set(data.target.recordings) & set(data.source.recordings)
        halved = load(CSI, tmp_path, path=path, packets=10, steps=5, target="2")
        expected = np.abs(first[:10]).reshape(5, 2, 52).mean(axis=1)
        np.testing.assert_allclose(halved.target.amplitudes[0], expected, rtol=1e-6)


def test_labels_are_actions_people_or_falls(tmp_path: Path) -> None:
    write_wifall(tmp_path)
    keys = {"path": "WiFall", "packets": 10, "steps": 10}
    people = load(CSI, tmp_path, **keys, label="person", target="jump")
    assert people.classes == ("0", "1", "2")
    assert np.bincount(people.target.labels).tolist() == [6, 6, 6]
    falls = load(CSI, tmp_path, **keys, label="fall", target="0")
    assert falls.classes == ("no fall", "fall")
    assert np.bincount(falls.target.labels).tolist() == [12, 6]
    names = [load(CSI, tmp_path, seed, **keys, target_by_seed=True).target_name for seed in range(4)]
    assert names == ["0", "1", "2", "0"]
    with pytest.raises(HarnessError, match="unknown domain '9'"):
        load(CSI, tmp_path, **keys, target="9")
    with pytest.raises(HarnessError, match="cannot be divided evenly"):
        load(CSI, tmp_path, path="WiFall", packets=10, steps=3)


def test_wigesture_layout_skips_static_and_cuts_segments(tmp_path: Path) -> None:
    for person in (1, 2):
        for number, gesture in enumerate(("applause", "circleclockwise", "waveright")):
            if (person, gesture) != (2, "waveright"):
                write_csv(tmp_path / f"wigesture/Dynamic/ID{person}/{gesture}.csv", 40, 10 * person + number)
        write_csv(tmp_path / f"wigesture/Static/ID{person}/Gesture1.csv", 40)
    data = load(WIGESTURE, tmp_path, packets=10, steps=10, segment=2, target="2")
    assert data.classes == ("applause", "circleclockwise", "waveright")
    assert np.bincount(data.target.labels, minlength=3).tolist() == [4, 4, 0]
    assert len(set(data.target.recordings)) == 4
    assert data.target.recordings[0] == data.target.recordings[1] != data.target.recordings[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column 'data'"),
        (b"seq,rssi\n1,2\n", "lacks the column 'data'"),
        (b"seq,data\n", "no packets"),
        (b'seq,data\n1,"[1, 2, 3, 4"\n', "list in brackets"),
        (b'seq,data\n1,"[1, 2, 3]"\n', "3 numbers"),
        (b'seq,data\n1,"[1, 2]"\n2,"[1, 2, 3, 4]"\n', "line 3"),
        (b'seq,data\n1,"[1, x]"\n', "other than integers"),
        (b'seq,data\n1,"[__import__(0), 2]"\n', "other than integers"),
        (b"\xff\xfe\x00", "as text in UTF-8"),
    ],
)
def test_damaged_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        parse(content, "damaged.csv")


def test_a_folder_without_recordings_is_refused() -> None:
    with pytest.raises(HarnessError, match="expected <person>/<action>"):
        list_recordings(["readme.txt", "alone.csv"], "csi")


@pytest.mark.full
@pytest.mark.data
@pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="HARNESS_DATA is not set")
def test_the_published_wifall_has_the_counts_of_its_description() -> None:
    data = load(WIFALL, Path(os.environ["HARNESS_DATA"]), target="2")
    assert data.classes == ("fall", "jump", "sit", "stand", "walk")
    # 928 recordings of two windows, but for four that are shorter than 200 packets.
    assert (len(data.source), len(data.target)) == (576, 1276)
    recordings = {(r, y) for r, y in zip(data.target.recordings, data.target.labels, strict=True)}
    assert len(recordings) == 640
    assert sum(label == 0 for _, label in recordings) == 320
    assert data.target.amplitudes.shape[1:] == (100, 52)


def test_the_default_target_has_150_windows_or_more() -> None:
    windows = load(SIMULATOR, Path()).target
    assert len(windows) >= 150
    assert windows.amplitudes.shape[-1] == 52


def _skill(kind: type[KNNPredictor], **keys: Any) -> float:
    """Balanced accuracy of one-shot KNN above chance, mean of two seeds."""
    from harness.trial.seeds import Streams
    from suites.tasks.target_domain import draw_shots

    skills = []
    for seed in range(2):
        data = load(SIMULATOR, Path(), seed, **keys)
        target = draw_shots(data.target, 1, Streams(seed), permute_hidden=False)
        predicted = kind().predict(
            target.amplitudes[target.rest], target.amplitudes[target.support], target.support_labels, data.source.labels
        )
        hits = [np.mean(predicted[target.hidden == label] == label) for label in np.unique(target.hidden)]
        skills.append((np.mean(hits) - 1 / len(hits)) / (1 - 1 / len(hits)))
    return float(np.mean(skills))


def test_the_two_knobs_do_what_they_say() -> None:
    mini = {"fingerprint": 0.6, "jitter": 0.035}
    assert _skill(KNNMotion, **mini) > 0.3
    assert _skill(KNNStatic, **mini) < 0.25
    assert _skill(KNNMotion, **mini, signature=0.0) < 0.1
    assert _skill(KNNStatic, **mini, signature=0.0, confounded=True) > 0.5  # the session identifies the action


@pytest.mark.parametrize("classes", [2, 6])
def test_published_parameter_count(classes: int) -> None:
    check = knn_mmd.parameter_count()
    assert check.holds, check
    with torch.device("meta"):
        network = build(ModelRequest(CsiResNetOptions(), {"classes": classes}))
    assert sum(p.numel() for p in network.parameters()) == 11_211_784 - 65 * (6 - classes)


def test_the_encoder_is_torchvisions_resnet18_and_takes_its_weights(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole = resnet18().eval()
    file = tmp_path / "resnet18.pth"
    torch.save(whole.state_dict(), file)
    encoder = CsiEncoder(64, 64).eval()
    stem = encoder.conv1.weight.clone()
    load_imagenet(encoder, file)
    assert torch.equal(stem, encoder.conv1.weight)
    whole.conv1, whole.fc = encoder.conv1, encoder.fc
    windows = torch.rand(2, 1, 40, 52)
    expected = whole(encoder.input_norm(standardise(windows)))
    torch.testing.assert_close(encoder(windows), expected)
    with pytest.raises(HarnessError, match="not a ResNet-18 of width 64"):
        load_imagenet(CsiEncoder(8, 64), file)
    with pytest.raises(MissingDataError, match="random weights are not used instead"):
        load_imagenet(encoder, None)


def test_the_network_sees_nothing_static() -> None:
    windows = torch.rand(3, 1, 20, 8)
    scaled = windows * torch.rand(3, 1, 1, 8).add(0.5) + torch.rand(3, 1, 1, 8)
    torch.testing.assert_close(standardise(windows), standardise(scaled), rtol=1e-3, atol=1e-3)
    assert torch.equal(standardise(torch.ones(1, 1, 5, 2)), torch.zeros(1, 1, 5, 2))


def test_a_sample_s_deviation_and_torch_s_stem_are_the_released_ones() -> None:
    windows = 3 + 2 * torch.randn(2, 1, 25, 6, generator=torch.Generator().manual_seed(4))
    deviation, mean = torch.std_mean(windows, dim=2, keepdim=True)
    torch.testing.assert_close(standardise(windows, sample=True), (windows - mean) / deviation)
    torch.manual_seed(0)
    ours = CsiEncoder(8, 4, "sample", "torch")
    bound = ours.conv1.weight[0].numel() ** -0.5  # torch draws uniformly within one over the root of the inputs
    assert 0.9 * bound < float(ours.conv1.weight.detach().abs().max()) <= bound
    expected = ours(standardise(windows) * (24 / 25) ** 0.5)  # standardised again: by the same mean and deviation
    torch.testing.assert_close(ours(windows), expected, rtol=1e-3, atol=1e-4)
