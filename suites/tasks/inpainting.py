"""Image inpainting: the content of a hole from its surroundings."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Artifact, Diagnostic, Evaluation, StepResult
from harness.trial.loading import FileRows, Loader, PendingBatch
from harness.trial.options import option
from suites.data.imagepairs import ImagePairs, MaskFiles, PairSplit
from suites.data.types import ImageFiles
from suites.models.inpainting import PLACES, Generator, InpaintingNetworks, initialise_as_released
from suites.tasks.common import LatestDiagnostic, ShuffledTask, changed, evaluating
from suites.tasks.decoding import centres, decode_mask, on_device
from suites.tasks.inpainting_metrics import BINS, SCORES, fill_diffusion, fill_mean, item_scores, summarise

PREDICTORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": fill_mean, "diffusion": fill_diffusion}
FILLS, REGIONS = ("network", *PREDICTORS), ("learned", "random")
# metrics of the dummy baseline that must be beaten
TRIVIAL = ("hole-psnr", "hole-ssim", "hole-l1", "psnr", "ssim", "l1")
SHOWN = 4
ALIVE = (0.01, 0.99)  # limits of a region's share of positions


@dataclass(frozen=True, slots=True)
class InpaintingBatch:
    """Images (B, 3, H, W) in 0–1 and holes (B, 1, H, W), 1 = hole."""

    images: Tensor
    holes: Tensor


class PairBatches:
    """Images (0–1) and masks (1 = hole) of a split."""

    def __init__(self, split: PairSplit, device: torch.device, loader: Loader | None = None) -> None:
        self.split, images, masks = split, split.images, split.masks
        self.image_files = images if isinstance(images, ImageFiles) else None
        self.mask_files = masks if isinstance(masks, MaskFiles) else None
        self.in_files = self.image_files is not None or self.mask_files is not None
        self.images = None if isinstance(images, ImageFiles) else on_device(images, device)
        self.masks = None if isinstance(masks, MaskFiles) else on_device(masks, device)
        self.device, self.loader = device, loader or Loader(device)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, places: Tensor, masks: Tensor) -> InpaintingBatch:
        """Images and holes by their indices (B,)."""
        return self.loader.now(self.reading(places, masks))

    def reading(self, places: Tensor, masks: Tensor) -> PendingBatch[InpaintingBatch]:
        rows = []
        if self.image_files is not None:
            rows.append(centres(self.image_files, places))
        if self.mask_files is not None:
            rows.append(_holes(self.mask_files, masks))
        return PendingBatch(tuple(rows), partial(self._made, places, masks))

    def _made(self, places: Tensor, masks: Tensor, *read: Tensor) -> InpaintingBatch:
        left = iter(read)
        images = next(left) if self.images is None else self.images[places.to(self.device)]
        holes = next(left) if self.masks is None else self.masks[masks.to(self.device)]
        return InpaintingBatch(images.float() / 255, holes.float())


def _holes(masks: MaskFiles, numbers: Tensor) -> FileRows:
    """Masks (B, 1, size, size) by their indices (B,)."""
    size, white = masks.files.size, masks.white
    chosen = [masks.files.paths[number] for number in numbers.tolist()]
    return FileRows(chosen, lambda row, file: decode_mask(file, size, white), (1, size, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintingOptions:
    """Options of the task ``inpainting``."""

    l1: float = option(1.0, "weight of the L1 loss", low=0)
    adversarial: float = option(0.1, "weight of the adversarial loss; 0: no discriminator", low=0)
    discriminator_rate: float = option(0.1, "the discriminator's learning rate over the generator's", low=0)
    fill: str = option("white", "input of the network in a hole", choices=("white", "mean"))
    flip: bool = option(True, "mirror image and mask in half of the training items")
    initialisation: str = option("torch", "released: weights ×0.1, biases of sd 1", choices=("torch", "released"))
    predictor: str = option("network", "how holes are filled; mean and diffusion need no training", choices=FILLS)
    region: str = option(
        "learned", "region whose overlap with the hole is reported; random: of RN-L's share", choices=REGIONS
    )


class Inpainting(ShuffledTask):
    """L1 on the composite per mask mean, plus adversarial loss.

    The composite has the prediction in the hole, the truth elsewhere. The discriminator gets truth and raw
    prediction. It is updated first, at its share of the learning rate, then the generator.

    The statistics of some norms come from the evaluation batch: batches are ``eval_batch`` images in a fixed shuffled
    order, and hole PSNR at batch 1 is reported too.
    """

    metadata = TaskMetadata(
        name="inpainting",
        target="Inpainting",
        summary="image inpainting by L1 and adversarial loss, scored by PSNR, SSIM and L1 of holes and of whole images",
        slots=("optimizer", "norm"),
        metrics=(
            *SCORES,
            *(f"{name}_{low}-{high}" for name in ("hole-psnr", "hole-l1") for low, high in BINS),
            "hole-psnr_batch-1",
            *(f"trivial.{name}" for name in TRIVIAL),
            "diffusion.hole-psnr",
        ),
        reads=("image-pairs",),
        options=InpaintingOptions,
    )

    options: InpaintingOptions
    data: ImagePairs
    splits: dict[str, PairBatches]
    model: InpaintingNetworks

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        self.read_splits(lambda split: PairBatches(split, self.device, self.loader))
        self.trains = self.options.predictor == "network"
        model = self.context.build_model({"size": self.data.size}).to(self.device)
        if not isinstance(model, InpaintingNetworks):
            raise HarnessError("inpainting: the model must be a generator with norms by place: {name: rn-inpainting}")
        if self.options.adversarial > 0 and model.discriminator is None:
            raise HarnessError("inpainting: adversarial > 0 needs a discriminator: set discriminator_width")
        if self.options.adversarial == 0:
            model.discriminator = None
        if self.options.initialisation == "released":
            initialise_as_released(model, lambda name: self.streams.torch("init", "released", name))
        self.model = model
        return self.model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.model.generator.parameters())}]
        if self.model.discriminator is not None:
            rate = self.options.discriminator_rate
            groups.append({"params": list(self.model.discriminator.parameters()), "lr_scale": rate})
        return groups

    def readings(self, epoch: int) -> Iterator[PendingBatch[InpaintingBatch]]:
        train = self.splits["train"]
        for places, generator in self.shuffled(epoch):
            masks = torch.randint(len(train.split.masks), (len(places),), generator=generator)
            yield train.reading(places, masks).then(partial(self._turned, generator=generator))

    def _turned(self, batch: InpaintingBatch, generator: torch.Generator) -> InpaintingBatch:
        if not self.options.flip:
            return batch
        turned = (torch.rand(len(batch.images), generator=generator) < 0.5).to(self.device).view(-1, 1, 1, 1)
        return InpaintingBatch(*(torch.where(turned, x.flip(3), x) for x in (batch.images, batch.holes)))

    def _filled(self, batch: InpaintingBatch) -> Tensor:
        if self.options.fill == "mean":
            return fill_mean(batch.images, batch.holes)
        return batch.images * (1 - batch.holes) + batch.holes

    def optimize(self, batch: InpaintingBatch, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """Update the discriminator on the present prediction, then the generator."""
        prediction = self.model(self._filled(batch), batch.holes)
        if self.model.discriminator is not None:
            update(self.discriminator_step(batch, prediction.detach()))
            self.model.discriminator.requires_grad_(False)
        result = self._generator_step(batch, prediction)
        update(result)
        if self.model.discriminator is not None:
            self.model.discriminator.requires_grad_(True)
        return result

    def training_step(self, batch: InpaintingBatch, step: int) -> StepResult:
        """The generator's loss with the discriminator unchanged."""
        return self._generator_step(batch, self.model(self._filled(batch), batch.holes))

    def discriminator_step(self, batch: InpaintingBatch, prediction: Tensor) -> StepResult:
        """Mean cross-entropy of truth as real and of predictions as fake."""
        assert self.model.discriminator is not None
        real, fake = self.model.discriminator(batch.images), self.model.discriminator(prediction)
        return StepResult((F.softplus(-real).mean() + F.softplus(fake).mean()) / 2)

    def _generator_step(self, batch: InpaintingBatch, prediction: Tensor) -> StepResult:
        composite = torch.lerp(batch.images, prediction, batch.holes)
        distance = (composite - batch.images).abs().mean() / batch.holes.mean().clamp(min=1e-6)
        loss, logged = self.options.l1 * distance, {"l1_loss": distance.detach()}
        if self.model.discriminator is not None:
            fooled = F.softplus(-self.model.discriminator(prediction)).mean()
            loss, logged["adversarial_loss"] = loss + self.options.adversarial * fooled, fooled.detach()
        return StepResult(loss, logged)

    def evaluation_batches(self, split: str, size: int) -> Iterator[tuple[Tensor, InpaintingBatch]]:
        """Indices (B,) and batches of a split in a fixed random order."""
        part = self.splits[split]
        order = torch.randperm(len(part), generator=self.streams.torch("order", "evaluation", split))
        chunks = (order if part.in_files else order.to(self.device)).split(size)
        taken = self.loader.ahead(part.reading(places, places % len(part.split.masks)) for places in chunks)
        yield from zip(chunks, taken, strict=True)

    def composite(self, batch: InpaintingBatch) -> Tensor:
        """Fill the holes as the recipe says, with the truth elsewhere."""
        if self.options.predictor == "network":
            prediction = self.model(self._filled(batch), batch.holes).float()
        else:
            prediction = PREDICTORS[self.options.predictor](batch.images, batch.holes)
        return torch.lerp(batch.images, prediction, batch.holes)

    def scores(self, split: str) -> Evaluation:
        """Scores of holes and whole images, dummy baselines, hole PSNR by image."""
        places, ratios, rows = [], [], []
        for place, batch in self.evaluation_batches(split, self.recipe.eval_batch):
            pair = batch.images, batch.holes
            fills = self.composite(batch), fill_mean(*pair), fill_diffusion(*pair)
            own, mean, smooth = (item_scores(filled, *pair) for filled in fills)
            trivial = {f"trivial.{name}": mean[name] for name in TRIVIAL}
            rows.append({**own, **trivial, "diffusion.hole-psnr": smooth["hole-psnr"]})
            places.append(place)
            ratios.append(batch.holes.double().mean((1, 2, 3)))
        each = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        metrics = summarise(each, torch.cat(ratios))
        if split == "test":
            single = [
                item_scores(self.composite(batch), batch.images, batch.holes)["hole-psnr"]
                for _, batch in self.evaluation_batches(split, 1)
            ]
            metrics["hole-psnr_batch-1"] = float(torch.cat(single).nanmean())
        items = self.data.splits[split].items[torch.cat(places).cpu().numpy()]
        return Evaluation(metrics, {"item": items, "hole_psnr": each["hole-psnr"].cpu().numpy()})

    def probe(self, model: nn.Module) -> Diagnostic | None:
        batch, random = self._held_out(), self.options.region == "random"
        return RegionDiagnostic(self.model.generator, lambda: self.model(self._filled(batch), batch.holes), random)

    def _held_out(self) -> InpaintingBatch:
        split = "validation" if "validation" in self.splits else "train"
        return next(self.evaluation_batches(split, self.recipe.eval_batch))[1]

    def mechanisms(self) -> dict[str, float]:
        """Hole PSNR over mean and diffusion fills (dB), mean distance in holes that batch mates cause."""
        batch, scores = self._held_out(), self.validated
        singles = zip(batch.images.split(1), batch.holes.split(1), strict=True)
        with evaluating(self.model):
            together = self.composite(batch)
            alone = torch.cat([self.composite(InpaintingBatch(*single)) for single in singles])
        report = {"batch_mates": float((together - alone).abs().sum() / (3 * batch.holes.sum().clamp(min=1)))}
        if scores:
            report["gain_over_mean_fill"] = scores["hole-psnr"] - scores["trivial.hole-psnr"]
            report["gain_over_diffusion"] = scores["hole-psnr"] - scores["diffusion.hole-psnr"]
        return report

    def artifacts(self) -> list[Artifact]:
        _, batch = next(self.evaluation_batches("test", self.recipe.eval_batch))
        with evaluating(self.model):
            rows = torch.cat((self._filled(batch), self.composite(batch), batch.images), 3)[:SHOWN]
        picture = (torch.cat(list(rows), 1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        path = self.context.folder / "before-after.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture)).save(path, optimize=True)
        return [Artifact("before-after", "picture", path, "test images: network input, filled, truth")]


class RegionDiagnostic(LatestDiagnostic):
    """Diagnostics of statistics shifted by holes and of RN-L's regions.

    ``random_region`` reports the overlap of a random region of equal share instead of RN-L's own.
    """

    def __init__(self, generator: Generator, forward: Callable[[], object], random_region: bool) -> None:
        super().__init__(self.regions, after=True)
        self.generator, self.forward, self.random_region = generator, forward, random_region
        self.active = False

    def before_step(self) -> None:
        self.active = next(self.generator.parameters()).grad is not None

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        return super().after_step(optimizer) if self.active else {}

    def regions(self) -> dict[str, float]:
        """Quantities of the present network; RN-L's only with such layers.

        ``mean_shift.first`` and ``std_ratio.first`` concern the first norm's input: the hole's mean against the valid
        region's in deviations of the latter, and the ratio of deviations. ``mean_shift`` is the mean over the encoder's
        other norms, after the first norm's effect; ``mean_shift.blocks`` that over the residual blocks' norms, where RN
        gets no mask. ``rnl_share`` is the mean share of positions in RN-L's region,
        ``rnl_alive`` the share of layers with a region share between 0.01 and 0.99, ``rnl_iou`` the mean overlap with
        the hole or, if larger, with the rest: no layer knows which of the two its region is.
        """
        recording = [part for part in self.generator.modules() if hasattr(part, "record")]
        with evaluating(self.generator), changed(recording, "record", True):
            self.forward()
            layers = {place: [_numbers(norm) for norm in self.generator.norms_at(place)] for place in PLACES}
        first, *others = layers["encoder"]
        result = {f"{name}.first": first[name] for name in ("mean_shift", "std_ratio") if name in first}
        for name in ("mean_shift", "std_ratio"):
            values = [layer[name] for layer in others if name in layer]
            if values:
                result[name] = sum(values) / len(values)
        beyond = [layer["mean_shift"] for layer in layers["blocks"] if "mean_shift" in layer]
        if beyond:
            result["mean_shift.blocks"] = sum(beyond) / len(beyond)
        learned = [layer for place in PLACES for layer in layers[place] if "region_share" in layer]
        if learned:
            shares = [layer["region_share"] for layer in learned]
            result["rnl_share"] = sum(shares) / len(shares)
            result["rnl_alive"] = sum(ALIVE[0] < share < ALIVE[1] for share in shares) / len(shares)
            result["rnl_iou"] = sum(self._overlap(layer) for layer in learned) / len(learned)
        return result

    def _overlap(self, layer: Mapping[str, float]) -> float:
        share, hole = layer["region_share"], layer["hole_share"]
        if self.random_region:
            return max(random_overlap(share, hole), random_overlap(share, 1 - hole))
        return max(layer["hole_iou"], layer["valid_iou"])


def random_overlap(share: float, target: float) -> float:
    """Expected intersection over union of random regions of these shares."""
    both = share * target
    return both / max(share + target - both, 1e-12)


def _numbers(norm: nn.Module) -> dict[str, float]:
    diagnostics: Callable[[], Mapping[str, Any]] | None = getattr(norm, "diagnostics", None)
    return {} if diagnostics is None else {name: float(value) for name, value in diagnostics().items()}


METADATA = Inpainting.metadata
