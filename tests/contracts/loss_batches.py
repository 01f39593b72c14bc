"""Random batches for the training losses."""

import torch
from torch import Tensor, nn

from methods.alignment.inputs import AdaptationBatch
from methods.distillation.inputs import DistillationBatch

ITEMS, CLASSES, STUDENT, TEACHER = 12, 6, 5, 4
DOMAIN_CLASSES, WIDTH = 3, 4


def shapes() -> dict[str, int]:
    """Shapes of ``distillation_batch`` by the names of the constructors' arguments."""
    return {"classes": CLASSES, "feature_channels": STUDENT, "teacher_channels": TEACHER, "items": 40}


def distillation_batch(
    seed: int = 0, *, mixed: bool = False, maps: bool = True, dtype: torch.dtype = torch.float32
) -> DistillationBatch:
    """12 items of six classes, with every optional input."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (ITEMS,), generator=g)
    masses = torch.softmax(3 * torch.randn(ITEMS, CLASSES, generator=g), dim=1)
    size = (3, 3) if maps else ()
    head = nn.Linear(TEACHER, CLASSES)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) / 2)
    return DistillationBatch(
        logits=(2 * torch.randn(ITEMS, CLASSES, generator=g)).to(dtype).requires_grad_(),
        labels=masses if mixed else labels,
        teacher_logits=(2 * torch.randn(ITEMS, CLASSES, generator=g)).to(dtype),
        feature=torch.randn(ITEMS, STUDENT, *size, generator=g).to(dtype).requires_grad_(),
        teacher_feature=torch.randn(ITEMS, TEACHER, *size, generator=g).to(dtype),
        teacher_head=head,
        index=torch.randperm(40, generator=g)[:ITEMS],
        progress=0.4,
        epoch=4,
    )


def adaptation_batch(seed: int = 0, *, source: int = 9, target: int = 8, shots: int = 3) -> AdaptationBatch:
    """Items of three classes from both domains, with every optional input."""
    g = torch.Generator().manual_seed(seed)

    def normal(rows: int, width: int, shift: float = 0.0) -> Tensor:
        return (torch.randn(rows, width, generator=g) + shift).requires_grad_()

    return AdaptationBatch(
        source_features=normal(source, WIDTH),
        source_logits=normal(source, DOMAIN_CLASSES),
        source_labels=torch.arange(source) % DOMAIN_CLASSES,
        target_features=normal(target, WIDTH, 0.5),
        help_features=normal(target, WIDTH, 0.5),
        help_labels=torch.arange(target) % DOMAIN_CLASSES,
        support_features=normal(shots, WIDTH, 0.5),
        support_logits=normal(shots, DOMAIN_CLASSES),
        support_labels=torch.arange(shots) % DOMAIN_CLASSES,
        progress=0.5,
    )
