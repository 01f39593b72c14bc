"""The projected step in C: two passes over memory.

It is compiled once per machine if a compiler is available.

torch has fused kernels for Adam and SGD and none for the projection. ``kernel.c`` is that kernel for contiguous
float32 weights on a CPU. It is called through ctypes, needs no header of torch and shares torch's threads; if it
cannot be compiled, or a tensor is of another kind, the batched form runs.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.optimizers.projection import Rule, is_eligible

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")

Kernel = Callable[..., None]


class _Item(ctypes.Structure):
    """``Item`` of the C file."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("w", "g", "a", "b", "fired", "stats")),
        *((name, ctypes.c_int64) for name in ("rows", "length")),
        *((name, ctypes.c_double) for name in ("step", "eps_root")),
    )


class _Options(ctypes.Structure):
    """``Options`` of the C file."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("adam", "nesterov", "maximize", "project", "channel_view", "layer_view", "each_row", "strip")
        ),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "dampening", "decay", "delta", "wd_ratio", "eps")),
    )


class Weight(NamedTuple):
    """One tensor with gradient, states, step size, eps and recorded view."""

    w: Tensor
    g: Tensor
    states: tuple[Tensor, ...]
    step: float
    eps_root: float
    fired: Tensor | None


@lru_cache(maxsize=1)
def load() -> Kernel | None:
    """Return the kernel, compiled at the first call; None if impossible."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.name != "posix":
        return None
    try:
        called: Kernel = ctypes.CDLL(str(_built(compiler))).projected_step
    except (OSError, subprocess.SubprocessError):
        return None
    return called


def _built(compiler: str) -> Path:
    """Build the library for this compiler and processor, if missing."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {_processor()}"
    parts = (SOURCE.read_bytes(), " ".join(FLAGS).encode(), version, machine.encode())
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adamp-kernel"
    library = folder / f"{name}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, built = tempfile.mkstemp(dir=folder, suffix=".so")
    os.close(handle)
    try:
        command = [compiler, *FLAGS, str(SOURCE), "-o", built, "-lm"]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        Path(built).replace(library)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(built).unlink()
    return library


def _processor() -> str:
    """Model of the processor, whose instructions the library uses; empty if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "flags")):
                return line
    return ""


def require() -> Kernel:
    """Return the kernel; RuntimeError if this machine cannot build it."""
    kernel = load()
    if kernel is None:
        raise RuntimeError(
            "native=True needs a C compiler with OpenMP (cc or gcc on the path, or the one in $CC), and none here "
            "builds the kernel; use native=False, which computes the same up to the last bits"
        )
    return kernel


def takes_group(options: Mapping[str, Any]) -> bool:
    """Return true if a parameter group may use an available kernel."""
    lr = options["lr"]
    return (
        options["native"] is not False
        and options["foreach"] is None
        and not (options["differentiable"] or options["capturable"] or torch.compiler.is_compiling())
        and not (isinstance(lr, Tensor) and not lr.is_cpu)
        and load() is not None
    )


def takes(*tensors: Tensor) -> bool:
    """Return true for a weight, gradient and states that fit: contiguous float32 on a CPU, not empty."""
    if tensors[0].numel() == 0:
        return False
    return all(t.dtype is torch.float32 and t.device.type == "cpu" and t.is_contiguous() for t in tensors)


def step(
    weights: Sequence[Weight], rule: Rule, options: Mapping[str, Any], *, decay: float, strip: bool = False
) -> None:
    """Update weights and states in place by AdamP (with ``betas``) or SGDP.

    ``decay`` is that of this step where the projection does not fire, learning rate included; ``strip`` removes the
    radial part of SGDP's buffer itself. RuntimeError: this machine cannot build the kernel.
    """
    rows = [w.w.shape[0] if is_eligible(w.w) else 1 for w in weights]
    scratch = torch.empty(sum(rows), 4, dtype=torch.float64)
    items = (_Item * len(weights))()
    start, base = 0, scratch.data_ptr()
    for item, count, weight in zip(items, rows, weights, strict=True):
        item.w, item.g, item.a = weight.w.data_ptr(), weight.g.data_ptr(), weight.states[0].data_ptr()
        if len(weight.states) > 1:
            item.b = weight.states[1].data_ptr()
        if is_eligible(weight.w):
            item.stats = base + 32 * start
            item.rows, item.length = count, weight.w.numel() // count
            if weight.fired is not None:
                item.fired = weight.fired.data_ptr()
        else:
            item.rows, item.length = 1, weight.w.numel()
        item.step, item.eps_root = weight.step, weight.eps_root
        start += count
    adam = "betas" in options
    beta1, beta2 = options["betas"] if adam else (options["momentum"], 0.0)
    called = _Options(
        adam=adam,
        nesterov=options["nesterov"],
        maximize=options["maximize"],
        project=rule.project,
        channel_view=rule.views != "layer",
        layer_view=rule.views != "channel",
        each_row=rule.rows == "each",
        strip=strip,
        beta1=beta1,
        beta2=beta2,
        dampening=options.get("dampening", 0.0),
        decay=decay,
        delta=rule.delta,
        wd_ratio=rule.wd_ratio,
        eps=rule.eps,
    )
    require()(items, ctypes.c_int64(len(weights)), ctypes.byref(called))
