"""The norms beside the released code's reference vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from methods.norms.vectors import PREFIXES, compare

VECTORS = Path(__file__).parents[1] / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())
CASES = [name for name in INDEX if name.startswith(PREFIXES)]


def load(name):
    with np.load(VECTORS / f"{name}.npz") as file:
        return dict(file)


def test_every_kind_of_case_is_there():
    assert len(CASES) == 9
    assert {prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in CASES)} == set(PREFIXES)


@pytest.mark.parametrize("name", CASES)
def test_case_passes(name):
    arrays = load(name)
    result = compare(name, INDEX[name], arrays)
    assert not [(f.label, f.largest_error) for f in result if not f.passed]
    # every output of the file was compared
    outputs = {key for key in arrays if key.startswith(("out", "grad_", "running_phi", "ema_gz", "eval_out"))}
    assert {f.label for f in result} == {key for key in outputs if not key.startswith("grad_out")}


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_case_is_missed(name):
    arrays = load(name)
    key = next(key for key in arrays if key.startswith("out"))
    arrays[key] = arrays[key] * 1.001 + 1e-4
    assert not all(f.passed for f in compare(name, INDEX[name], arrays))


def test_wrong_hyper_parameter_is_missed():
    case = INDEX["powernorm_mask"] | {"group_num": 1}
    assert not all(f.passed for f in compare("powernorm_mask", case, load("powernorm_mask")))


def test_unknown_case():
    with pytest.raises(ValueError, match="powernorm"):
        compare("nkd_0", {}, {})
