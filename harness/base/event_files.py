"""Scalars of TensorBoard's event files, read by TensorBoard itself."""

from collections.abc import Iterator
from pathlib import Path

from harness.base.extras import require

PATTERN = "*tfevents*"
"""Names of event files."""


def scalars_of(file: Path) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of the scalars of an event file; one that is truncated ends there.

    Raises:
        HarnessError: TensorBoard is not installed.
    """
    purpose = f"{file.name}, an event file,"
    loader = require("tensorboard.backend.event_processing.event_file_loader", "trackers", purpose)
    tensors = require("tensorboard.util.tensor_util", "trackers", purpose)
    for event in loader.EventFileLoader(str(file)).Load():
        for value in event.summary.value:  # the loader turns every scalar into a tensor
            array = tensors.make_ndarray(value.tensor) if value.HasField("tensor") else None
            if array is not None and array.shape == () and array.dtype.kind in "fiu":
                yield event.step, value.tag, float(array)
