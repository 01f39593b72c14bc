"""The canonical source of small files: texts leave it alone, computations do not."""

from __future__ import annotations

import pytest

from harness.plan.canonical_source import Import, normal_form


def ours(imported: Import) -> bool | None:
    return None if imported.base.startswith("harness") else imported.base.startswith("suites")


def digest(source: str) -> str:
    return normal_form(source.encode(), ours).digest


SAYS = [
    ("def f(x):\n    return x", 'def f(x: int) -> int:\n    """One."""\n    return x  # same'),
    ('raise ValueError(f"no {x}")', 'raise ValueError("none " + str(x) * 0)'.replace(" + str(x) * 0", "")),
    (
        'why = f"{x}"\ndef f(x):\n    why = f"a {x}"\n    raise ValueError(why)',
        'why = f"{x}"\ndef f(x):\n    why = "b"\n    raise ValueError(why)',
    ),
    ('METADATA = TaskMetadata(name="a")\nx = 1', 'METADATA = TaskMetadata(name="b", summary="c")\nx = 1'),
    (
        'class T:\n    metadata: ClassVar[TaskMetadata] = TaskMetadata(name="a")\n    y = 1',
        'class T:\n    metadata: ClassVar[TaskMetadata] = TaskMetadata(name="b")\n    y = 1',
    ),
    ('class O:\n    a: int = option(1, "words")', 'class O:\n    a: int | None = option(1, "others", low=0)'),
    ("from suites.data.digits import read\nread()", "from suites.data.numerals import read\nread()"),
    ("from suites.data import digits\ndigits.read()", "from suites.data import numerals as digits\ndigits.read()"),
    ("from harness.errors import HarnessError\nx = 1", "from harness.errors import HarnessError, choices\nx = 1"),
    ("import math\nif TYPE_CHECKING:\n    import torch", "import math\nif TYPE_CHECKING:\n    import numpy"),
]
DOES = [
    ("x = 1", "x = 2"),
    ("def f(x=1):\n    return x", "def f(x=2):\n    return x"),
    ("def f():\n    metadata = make(1)\n    return metadata", "def f():\n    metadata = make(2)\n    return metadata"),
    ("metadata: int = 1", "metadata: int = 2"),
    ("raise Stop(step + 1)", "raise Stop(step + 2)"),
    ('name = "a"\nraise ValueError(name)', 'name = "b"\nraise ValueError(name)'),
    ('def f(x):\n    key = f"{x}"\n    return table[key]', 'def f(x):\n    key = f"{x}a"\n    return table[key]'),
    (
        'def f(x):\n    key = "a"\n    if table[key]:\n        raise ValueError(key)',
        'def f(x):\n    key = "b"\n    if table[key]:\n        raise ValueError(key)',
    ),
    ("class O:\n    a: int = option(1)", "class O:\n    a: float = option(1)"),
    ("class D:\n    a: ClassVar[int] = 1", "class D:\n    a: int = 1"),
    ("import math\nmath.sin(x)", "import cmath as math\nmath.sin(x)"),
    ("from suites.a import f\nf(x)", "from suites.a import f as g\nf(x)"),
    ("from numpy import sin\nsin(x)", "from torch import sin\nsin(x)"),
    ("Key(1)", "Key(2)"),
]


@pytest.mark.parametrize(("before", "after"), SAYS)
def test_what_only_says_leaves_it(before: str, after: str) -> None:
    assert digest(before) == digest(after)


@pytest.mark.parametrize(("before", "after"), DOES)
def test_what_does_changes_it(before: str, after: str) -> None:
    assert digest(before) != digest(after)


def test_imports_of_ours_are_told_in_order() -> None:
    form = normal_form(b"from suites.b import y\nfrom harness import registry\nfrom suites.a import x, z", ours)
    assert form.imports == (Import(0, "suites.b", "y"), Import(0, "suites.a", "x"), Import(0, "suites.a", "z"))
