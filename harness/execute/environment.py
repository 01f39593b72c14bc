"""The environment of trials: versions, hardware, state of the code. Reads metadata, imports nothing heavy."""

import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "ray",
    "duckdb",
    "optuna",
    "pandas",
    "plotly",
    "scipy",
    "scikit-learn",
    "timm",
    "tokenizers",
    "pytorch-metric-learning",
)


@cache
def package_versions() -> dict[str, str]:
    """Versions of the installed packages that trials use."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def environment() -> dict[str, str | int | dict[str, str] | None]:
    """Versions and hardware. Pairs must share ``class``: torch version and device model."""
    versions, cpu = package_versions(), cpu_model()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": gpu_model(),
        "packages": versions,
        "class": {"torch": versions.get("torch", ""), "device": gpu_model() or cpu},
    }


@cache
def environment_id() -> str:
    """Short sha256 of the environment."""
    return hashlib.sha256(json.dumps(environment(), sort_keys=True).encode()).hexdigest()[:16]


@cache
def cpu_model() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Hardware", "CPU part")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def gpu_model() -> str:
    """The first GPU's name from the driver's records; empty without one."""
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return ""


def git_state(folder: Path | None = None) -> tuple[str, bool]:
    """The commit, and True if tracked files differ from it; ('', False) outside a repository."""

    def git(*arguments: str) -> str:
        where = folder or Path(__file__).parent
        done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return commit, bool(commit and git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.TimeoutExpired):
        return "", False
