"""Fine-tuning of given weights: what a file must hold, what is replaced or frozen, and what identifies a trial."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from task_lab import Cell, model_from, train
from torch import nn

from harness.data.checksums import checksum, identity_of_path
from harness.errors import HarnessError, MissingDataError
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from suites.models import fine_tuned

COLOUR = {"channels": 3, "classes": 4, "size": 32}
SMALL = {"arch": "bn-cnn", "options": {"widths": (4, 8), "strides": (1, 2)}}


def network(classes: int = 4, seed: int = 0, **more: Any) -> nn.Module:
    torch.manual_seed(seed)
    built: nn.Module = model_from(fine_tuned.build, {**COLOUR, "classes": classes}, **{**SMALL, **more})
    return built


def saved(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(path))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Weights of the small network for seven classes."""
    return saved(tmp_path / "own.safetensors", network(7, 3).state_dict())


def test_the_body_is_the_files_and_the_head_is_new(file: str) -> None:
    value, scratch, tuned = network(7, 3), network(4, 0), network(4, 0, weights=file)
    for name, tensor in tuned.state_dict().items():
        # the head is that of the seed, as without weights: arms of a seed share it
        other = scratch if name.startswith("head.") else value
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert not torch.equal(tuned.state_dict()["body.0.weight"], scratch.state_dict()["body.0.weight"])


def test_the_head_may_be_the_files_where_it_fits(file: str) -> None:
    kept = network(7, 0, weights=file, head="file")
    assert all(torch.equal(kept.state_dict()[name], tensor) for name, tensor in network(7, 3).state_dict().items())
    with pytest.raises(HarnessError, match=r"of another shape: head\.weight \(7, 8\), not \(4, 8\), head\.bias"):
        network(4, 0, weights=file, head="file")


def test_everything_that_does_not_fit_is_in_one_message(tmp_path: Path) -> None:
    tensors = network(7, 3).state_dict()
    del tensors["body.1.weight"]
    tensors["body.0.weight"] = torch.zeros(4, 1, 3, 3)
    tensors["neck.weight"] = torch.zeros(2)
    path = saved(tmp_path / "odd.safetensors", tensors)
    with pytest.raises(HarnessError) as refused:
        network(weights=path)
    message = str(refused.value)
    assert "1 missing: body.1.weight" in message
    assert "1 unexpected: neck.weight" in message
    assert "1 of another shape: body.0.weight (4, 1, 3, 3), not (4, 3, 3, 3)" in message
    assert "beside the head head" in message
    assert "\n" not in message


def test_a_prefix_is_taken_off_and_other_names_are_left_out(tmp_path: Path) -> None:
    tensors = {f"backbone.{name}": tensor for name, tensor in network(7, 3).state_dict().items()}
    path = saved(tmp_path / "own.safetensors", {**tensors, "projector.weight": torch.zeros(2)})
    tuned = network(weights=path, prefix="backbone.")
    assert torch.equal(tuned.state_dict()["body.0.weight"], tensors["backbone.body.0.weight"])
    with pytest.raises(HarnessError, match=r"no name in .*own\.safetensors begins with 'encoder\.'; names: backbone"):
        network(weights=path, prefix="encoder.")


def test_half_precision_and_old_files_without_counters_are_taken(tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in network(7, 3).state_dict().items() if "num_batches" not in name}
    tuned = network(weights=saved(tmp_path / "half.safetensors", tensors))
    assert tuned.state_dict()["body.0.weight"].dtype == torch.float32
    torch.testing.assert_close(tuned.state_dict()["body.0.weight"], tensors["body.0.weight"].float())


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"weight": Bomb()}, tmp_path / "own.pt")
    with pytest.raises(HarnessError, match=r"own\.pt is not a \.safetensors file; .*save_file\(torch\.load\('own\.pt'"):
        network(weights=str(tmp_path / "own.pt"))
    (tmp_path / "own.pt").rename(tmp_path / "disguised.safetensors")
    with pytest.raises(HarnessError, match=r"disguised\.safetensors"):
        network(weights=str(tmp_path / "disguised.safetensors"))
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(MissingDataError, match=r"none\.safetensors does not exist"):
        network(weights=str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize(
    ("arch", "head"), [("resnet18", "fc"), ("mobilenet_v2", "classifier.1"), ("resnet-cifar", "head")]
)
def test_the_heads_of_the_libraries_are_found(arch: str, head: str) -> None:
    assert fine_tuned.head_of(model_from(fine_tuned.build, COLOUR, arch=arch)) == head


def test_another_file_than_was_planned_with_is_refused(file: str) -> None:
    network(weights=file, weights_sha256=checksum(Path(file)))
    with pytest.raises(HarnessError, match="but 00 was planned; run the suite again"):
        network(weights=file, weights_sha256="00")


def test_options_that_an_architecture_lacks_are_refused() -> None:
    with pytest.raises(HarnessError, match="resnet18 has no options"):
        network(arch="resnet18")
    with pytest.raises(HarnessError, match="options of bn-cnn: no option 'width'; did you mean 'widths'"):
        network(options={"width": (4, 8)})


def cell(file: str, **more: Any) -> Cell:
    return Cell(
        "suites.tasks.classification:classification",
        "suites.data.digits:digits",
        "suites.models.fine_tuned:fine-tuned",
        {"batch_size": 16},
        {"train": 100},
        {**SMALL, "weights": file, **more},
    )


def test_a_frozen_body_stays_as_it_is_statistics_too_and_the_head_learns(tmp_path: Path) -> None:
    grey = {**COLOUR, "channels": 1}
    torch.manual_seed(1)
    path = saved(tmp_path / "own.safetensors", model_from(fine_tuned.build, grey, **SMALL).state_dict())
    task = cell(path, freeze=True).build(0)
    before = {}

    def noting(groups: Any) -> torch.optim.Optimizer:
        before.update({name: tensor.clone() for name, tensor in task.model.state_dict().items()})
        return torch.optim.Adam(groups, lr=0.01)

    model, losses = train(task, 30, noting)
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert losses[-1] < losses[0]
    assert task.probe(model) is not None
    whole, _ = train(cell(path).build(0), 3)
    assert not torch.equal(whole.state_dict()["body.0.weight"], before["body.0.weight"])


def test_the_files_content_is_in_a_trials_identity(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "suite: own\n"
        "arms: {scratch: {set: {model.weights: ''}}, tuned: {}}\n"
        "benchmarks:\n"
        "  digits:\n"
        "    task: classification\n"
        "    metrics: {top1-accuracy: higher}\n"
        "    data: {name: digits, train: 100}\n"
        "    model: {name: fine-tuned, arch: bn-cnn, options: {widths: [4, 8], strides: [1, 2]},\n"
        "            weights: own.safetensors}\n"
        "    recipe: {steps: 4, slots: {optimizer: adam}, optimizer: {adam: {lr: 0.01}}}\n"
        "compare: [{arm: tuned, against: [scratch], metric: top1-accuracy}]\n"
    )

    def trials() -> dict[str, str]:
        identity_of_path.cache_clear()
        plan = make_plan(load_suite(suite), Selection(seeds=(0,)))
        return {trial.arm: trial.trial_id for trial in plan.trials}

    before = trials()
    (tuned,) = (trial for trial in make_plan(load_suite(suite), Selection(seeds=(0,))).trials if trial.arm == "tuned")
    assert tuned.spec.model.values["weights_sha256"] == checksum(Path(file))
    saved(Path(file), network(7, 4).state_dict())
    after = trials()
    assert before["tuned"] != after["tuned"]
    assert before["scratch"] == after["scratch"]
