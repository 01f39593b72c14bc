"""The claims beside the suites are the fact file's, word for word."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.suite.models import PaperClaims

CLAIMS = Path(__file__).parents[2] / "suites" / "claims"
FACTS = Path(__file__).parents[3] / "shared" / "papers" / "claims.yaml"
# sha256 of the entries as canonical JSON: a slip of an editor fails here even where the fact file is not at hand.
CHECKSUMS = {
    "nkd": (106, "23c4daaf261ec206450faf04246215087da3bd4696a7fa508236eb865fadf53c"),
    "adamp": (63, "33d02ad9a50a525173a681645a8e66f77fb610b1ed3351bbd60cb0ca1bd37b6a"),
    "powernorm": (34, "72d3503fee3fece5579bb83d0f0b93e7768c3f3e712bfbcce6fa95f0d5958d11"),
    "region_norm": (29, "707032769782fcaccbb3197430a1b9f6117e227e10e90d5b8f0585240cc185f2"),
    "knn_mmd": (39, "77a9f971649c6f60817bdd408390c3698b0050fe191515eee8466bcbc5395681"),
}


def entries(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def texts(path: Path) -> dict[str, str]:
    """The text of each entry by id, comments between entries left out."""
    parts = re.split(r"^(?=- id: )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    kept = {}
    for part in parts:
        lines = [line for line in part.splitlines() if line and not line.startswith("#")]
        kept[lines[0].removeprefix("- id: ")] = "\n".join(lines)
    return kept


@pytest.mark.parametrize("suite", CHECKSUMS)
def test_entries_are_unchanged(suite: str) -> None:
    listed = entries(CLAIMS / f"{suite}.yaml")
    text = json.dumps(listed, sort_keys=True, ensure_ascii=False).encode()
    assert (len(listed), hashlib.sha256(text).hexdigest()) == CHECKSUMS[suite]


@pytest.mark.parametrize("suite", CHECKSUMS)
def test_entries_are_typed_and_of_their_suite(suite: str) -> None:
    facts = PaperClaims.model_validate(entries(CLAIMS / f"{suite}.yaml")).root
    assert {fact.suite for fact in facts} == {suite}
    assert len({fact.id for fact in facts}) == len(facts)


@pytest.mark.skipif(not FACTS.is_file(), reason="the fact file ../shared/papers/claims.yaml is not beside this clone")
def test_copies_equal_the_fact_file_word_for_word() -> None:
    theirs = texts(FACTS)
    ours: dict[str, str] = {}
    for suite in CHECKSUMS:
        ours |= texts(CLAIMS / f"{suite}.yaml")
    assert ours == theirs
