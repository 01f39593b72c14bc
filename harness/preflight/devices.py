"""Devices by name: peak arithmetic and memory, from their makers' data sheets (dense, without sparsity)."""

from dataclasses import dataclass

from harness.errors import HarnessError, choices


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    Attributes:
        float32: peak TFLOP/s of float32 outside the matrix units, which torch uses for float32 by default.
        half: peak TFLOP/s of float16 on the matrix units, accumulated in float32.
        bfloat16: the matrix units accept bfloat16 at that rate.
    """

    title: str
    float32: float
    half: float
    bfloat16: bool
    memory_gb: float

    def peak(self, precision: str) -> float:
        """TFLOP/s at a recipe's precision; bfloat16 without units for it runs as float32."""
        if precision == "float32" or (precision == "bfloat16" and not self.bfloat16):
            return self.float32
        return self.half


DEVICES = {
    "h200": Device("NVIDIA H200 SXM", 67.0, 989.0, True, 141.0),
    "h100": Device("NVIDIA H100 SXM", 67.0, 989.0, True, 80.0),
    "a100": Device("NVIDIA A100 80GB", 19.5, 312.0, True, 80.0),
    "v100": Device("NVIDIA V100 SXM2", 15.7, 125.0, False, 32.0),
    "l40s": Device("NVIDIA L40S", 91.6, 362.0, True, 48.0),
    "l4": Device("NVIDIA L4", 30.3, 121.0, True, 24.0),
    "t4": Device("NVIDIA T4", 8.1, 65.0, False, 16.0),
    "rtx4090": Device("NVIDIA GeForce RTX 4090", 82.6, 165.2, True, 24.0),
    "rtx3090": Device("NVIDIA GeForce RTX 3090", 35.6, 71.0, True, 24.0),
}


def device(name: str) -> Device:
    """A device by name. Raises HarnessError for an unknown one."""
    if name.lower() not in DEVICES:
        raise HarnessError(f"unknown device '{name}'; {choices(list(DEVICES), name, most=20)}")
    return DEVICES[name.lower()]
