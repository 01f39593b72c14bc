"""Conformance of the methods to the papers' released code.

A folder of reference vectors holds ``index.json`` (each case's kind and hyper-parameters) and one ``<case>.npz``
per case. Each family of methods runs its own cases (``methods.<family>.vectors``); a case that no family
recognises is a miss, as is a file that cannot be read.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from methods.comparison import Arrays, Comparison

FAMILIES: tuple[str, ...] = ("optimizers", "norms", "distillation", "alignment")

Compare = Callable[[str, Mapping[str, Any], Arrays], list[Comparison]]


@dataclass(frozen=True, slots=True)
class VectorCheck:
    """The outcome of one reference vector; ``largest_error`` is NaN where nothing could be compared."""

    name: str
    largest_error: float
    passed: bool
    detail: str


class VectorError(Exception):
    """A vector cannot be read or run; the message names the reason."""


def check(directory: Path) -> list[VectorCheck]:
    """Run every case listed in ``directory/index.json`` with our implementation; one line a case, in its order.

    Nothing is raised for bad vectors: a missing, malformed or empty index is one missed line.
    """
    try:
        index = _read_index(Path(directory))
    except VectorError as error:
        return [_miss("index.json", str(error))]
    routes, unread = _routes()
    return [_check_case(Path(directory), name, case, routes, unread) for name, case in index.items()]


def _read_index(directory: Path) -> dict[str, Any]:
    path = directory / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VectorError(f"{path} does not exist; it must list the cases and their hyper-parameters") from None
    except OSError as error:
        raise VectorError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(index, dict) or not index:
        raise VectorError(f"{path} must map the name of at least one case to its kind and hyper-parameters")
    return index


def _starts(name: str, prefix: str) -> bool:
    """Match whole words only: ``kd`` starts ``kd_0`` but not ``kdx_0``."""
    return name.startswith(prefix) and not name[len(prefix) : len(prefix) + 1].isalpha()


def _routes() -> tuple[dict[str, Compare], list[str]]:
    """Comparison functions by prefix of the case name, and import errors."""
    routes: dict[str, Compare] = {}
    missing = []
    for family in FAMILIES:
        module_name = f"methods.{family}.vectors"
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            missing.append(f"{module_name} cannot be imported: {error}")
            continue
        for prefix in (prefix.rstrip("_") for prefix in module.PREFIXES):
            if prefix in routes:
                raise RuntimeError(f"two families claim the vectors '{prefix}…'; one of them is {module_name}")
            routes[prefix] = module.compare
    return routes, missing


def _check_case(
    directory: Path, name: str, case: Any, routes: Mapping[str, Compare], unread: Iterable[str]
) -> VectorCheck:
    try:
        prefix = max((prefix for prefix in routes if _starts(name, prefix)), key=len, default=None)
        if prefix is None:
            valid = ", ".join(sorted(routes))
            raise VectorError("; ".join((f"unknown case; valid names start with {valid}", *unread)))
        if not isinstance(case, Mapping):
            raise VectorError("its entry in index.json must be a mapping of its kind and hyper-parameters")
        comparisons = _compare(routes[prefix], name, case, _read_arrays(directory, name))
    except VectorError as error:
        return _miss(name, str(error))
    return _summary(name, comparisons)


def _read_arrays(directory: Path, name: str) -> dict[str, NDArray[np.generic]]:
    path = directory / f"{name}.npz"
    if path.parent.resolve() != directory.resolve():
        raise VectorError("the name of a case must be a plain file name")
    try:
        # no vector needs a pickle, and pickles could run code
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise VectorError(f"{path.name} is not a .npz archive")
        with archive:
            return {key: archive[key] for key in archive.files}
    except VectorError:
        raise
    except FileNotFoundError:
        raise VectorError(f"{path.name} does not exist beside index.json") from None
    except Exception as error:
        # a damaged archive surfaces as an error of zip, zlib, struct or the header's parser
        raise VectorError(f"{path.name} cannot be read: {_reason(error)}") from None


def _compare(compare: Compare, name: str, case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    try:
        comparisons = compare(name, case, arrays)
    except KeyError as error:
        raise VectorError(f"the vector lacks the key {error}") from None
    except Exception as error:
        # an error inside a method is a miss of that vector and must not end the run
        raise VectorError(f"the vector cannot be run: {_reason(error)}") from error
    if not comparisons:
        raise VectorError("the vector has no arrays to compare")
    return comparisons


def _summary(name: str, comparisons: list[Comparison]) -> VectorCheck:
    largest = max(comparison.largest_error for comparison in comparisons)
    missed = [comparison for comparison in comparisons if not comparison.passed]
    if not missed:
        return VectorCheck(name, largest, True, f"{len(comparisons)} arrays")
    worst = max(missed, key=lambda comparison: comparison.largest_error)
    if worst.same_shape:
        problem = f"off by {worst.largest_error:.3g} (rtol {worst.rtol:g}, atol {worst.atol:g})"
    else:
        problem = f"has shape {np.shape(worst.got)}, expected {np.shape(worst.expected)}"
    missed_arrays = f"{len(missed)} of {len(comparisons)} arrays miss"
    return VectorCheck(name, largest, False, f"{missed_arrays}; {worst.label} {problem}")


def _miss(name: str, reason: str) -> VectorCheck:
    return VectorCheck(name, float("nan"), False, reason)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
