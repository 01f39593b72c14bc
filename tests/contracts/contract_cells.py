"""A configuration for every registered task, run as a worker runs it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.suite import load_suite
from harness.trial.assembly import assemble
from harness.trial.contracts import Task
from harness.trial.loop import settle, train
from harness.trial.result import TrainingResult
from harness.trial.runtime import Components, Runtime


@dataclass(frozen=True)
class Cell:
    """A benchmark and an arm with which a task learns quickly.

    Attributes:
        metric: the score on test, between that of the dummy baseline and ``perfect``.
        least: share of that way that it goes with ``learning``; shuffled, a third of it is too much.
        learning: changes of the recipe; ``always``: those of every run, for expensive parts that other tests check.
        untaught: the reason why there is nothing to learn, instead of the above.
    """

    suite: str
    benchmark: str
    arm: str
    metric: str = ""
    perfect: float = 100.0
    least: float = 0.0
    learning: Mapping[str, Any] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    untaught: str = ""


CPU = torch.device("cpu")
SYNTHETIC = Path(__file__).with_name("synthetic.yaml")
GENERAL = str(Path(__file__).with_name("general.yaml"))
CELLS = {
    "adversarial": Cell(
        "adamp", "cifar10-adversarial-linf", "adamw", "standard-accuracy", least=0.5, learning={"steps": 100}
    ),
    "audio": Cell("adamp", "mtat", "adam", "roc-auc", least=0.3, learning={"steps": 100}),
    "classification": Cell("adamp", "imagenet-resnet18", "sgd", "top1-accuracy", least=0.6, learning={"steps": 150}),
    "debiasing": Cell("adamp", "biased-mnist-rho999", "adam", "unbiased-accuracy", least=0.25, learning={"steps": 150}),
    "detection": Cell(
        "adamp", "coco-centernet-scratch", "adam", "average-precision", least=0.2, learning={"steps": 80}
    ),
    "distillation": Cell("nkd", "imagenet-resnet18", "nkd", "top1-accuracy", least=0.1, learning={"steps": 400}),
    "inpainting": Cell(
        "region_norm",
        "places2",
        "bn",
        "hole-ssim",
        1.0,
        least=0.1,
        learning={"steps": 450, "adversarial": 0.0, "data.test": 192},
    ),
    "language-modelling": Cell("powernorm", "ptb", "layer", "perplexity", 1.0, least=0.2, learning={"steps": 200}),
    "retrieval": Cell("adamp", "cub-triplet", "adam", "recall-at-1", least=0.25, learning={"steps": 100}),
    "sensing": Cell(
        "knn_mmd",
        "wigesture-gesture",
        "mmd",
        "balanced-accuracy",
        least=0.3,
        learning={"epochs": 12, "stop": "last", "data.shift": 0.0, "data.fingerprint": 0.0},
        always={"reduce": "none"},
    ),
    "synthetic": Cell(str(SYNTHETIC), "known", "better", untaught="its score is drawn, not learnt"),
    "tabular-classification": Cell(GENERAL, "cancer", "adam", "accuracy", least=0.6, learning={"steps": 100}),
    "tabular-regression": Cell(GENERAL, "diabetes", "adam", "r2", 1.0, least=0.3, learning={"steps": 100}),
    "text-classification": Cell(GENERAL, "paragraphs", "adam", "accuracy", least=0.4, learning={"steps": 100}),
    "translation": Cell(
        "powernorm",
        "iwslt14-de-en",
        "layer",
        "chrf",
        least=0.03,
        learning={"steps": 180, "data.held_out": 60, "decode_limit": 40},
    ),
}


@cache
def suite_of(name: str) -> Any:
    """A suite, loaded once."""
    return load_suite(name)


def plan_of(task: str, scale: str, seed: int = 0, **overrides: Any) -> Plan:
    """The plan of a task's configuration, with its dependencies."""
    cell = CELLS[task]
    chosen = Selection(scale, (cell.benchmark,), (cell.arm,), (seed,), overrides={**cell.always, **overrides})
    return make_plan(suite_of(cell.suite), chosen)


def trial_of(plan: Plan) -> Trial:
    """The configuration's own trial."""
    (wanted,) = {link.trial_id for link in plan.links}
    return next(trial for trial in plan.trials if trial.trial_id == wanted)


def prepared(
    plan: Plan, folder: Path, components: Components, device: torch.device, checkpoint_seconds: float = 60.0
) -> Runtime:
    """The runtime of the trial, after a short training of its dependencies."""
    by_id = {trial.trial_id: trial for trial in plan.trials}
    products: dict[str, Path] = {}
    for name, needed in trial_of(plan).needs.items():
        products[name] = folder / name
        spec = by_id[needed].spec
        short = replace(spec, recipe={**spec.recipe, "max_steps": 4, "evaluations": 1})
        train(short, Runtime(products[name], device, registry.load, Path("/nowhere"), keep_product=True))
    more = {"prerequisites": products, "checkpoint_seconds": checkpoint_seconds}
    return Runtime(folder / "trial", device, components, Path("/nowhere"), **more)


def run(
    plan: Plan,
    folder: Path,
    components: Components = registry.load,
    device: torch.device = CPU,
    checkpoint_seconds: float = 60.0,
) -> TrainingResult:
    """Run the configuration's trial in ``folder``."""
    return train(trial_of(plan).spec, prepared(plan, folder, components, device, checkpoint_seconds))


def task_of(plan: Plan, folder: Path) -> Task:
    """The configuration's task, not yet built."""
    task = assemble(trial_of(plan).spec, prepared(plan, folder, registry.load, CPU))
    settle(task.recipe)
    torch.manual_seed(task.streams.number("init"))
    return task


def series_of(outcome: TrainingResult) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Every curve of a training as (step, value): all that is kept but the seconds."""
    return {(item.split, item.name): list(zip(item.step, item.value, strict=True)) for item in outcome.series}


def tensors(batch: Any) -> list[torch.Tensor]:
    """Every tensor of a batch."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if dataclasses.is_dataclass(batch):
        batch = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return [tensor for part in batch for tensor in tensors(part)] if isinstance(batch, tuple | list) else []


def with_shuffled_targets(kind: Any, name: str) -> Any:
    """Components whose data sources permute the targets of training items."""
    part = registry.load(kind, name)
    if kind != "data":
        return part
    return dataclasses.replace(part, target=lambda request: shuffled(part.target(request)))


def shuffled(data: Any) -> Any:
    """Splits with permuted training targets; pictures that are their own target, pixel by pixel."""
    draws = np.random.default_rng(0)
    if hasattr(data, "source"):  # two domains, of which the source is labelled
        labels = draws.permutation(data.source.labels)
        return dataclasses.replace(data, source=dataclasses.replace(data.source, labels=labels))
    part = data.splits["train"]
    if isinstance(part, np.ndarray):  # running text
        mixed = draws.permutation(part)
    elif isinstance(part, tuple):  # sentences and their translations
        order = draws.permutation(len(part[1]))
        mixed = (part[0], tuple(part[1][place] for place in order))
    elif hasattr(part, "masks"):
        rows = part.images.reshape(*part.images.shape[:2], -1)
        mixed = dataclasses.replace(part, images=draws.permuted(rows, axis=2).reshape(part.images.shape))
    elif hasattr(part, "boxes"):
        mixed = dataclasses.replace(part, images=part.images[draws.permutation(len(part))])
    else:
        target = "labels" if hasattr(part, "labels") else "targets"
        mixed = dataclasses.replace(part, **{target: draws.permutation(getattr(part, target))})
    return dataclasses.replace(data, splits={**data.splits, "train": mixed})
