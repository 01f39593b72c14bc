from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.base.yaml_nodes import merge, parse, read, write
from harness.errors import SuiteError

HERE = Path("file.yaml")


def message(text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        parse(text, HERE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("0x1f", 31),
        ("0o17", 15),
        ("010", 10),
        ("-7", -7),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        (".inf", float("inf")),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
    ],
)
def test_plain_values_follow_yaml_1_2(text: str, value: object) -> None:
    plain = parse(f"key: {text}", HERE).plain()["key"]
    assert plain == value
    assert type(plain) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 3000, "exceeded maximum nesting depth"),
        ("a: " + "[" * 50 + "]" * 50, "deeper than 50"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", None),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: 1\na: 2", "duplicate key 'a' (first defined at file.yaml:1:1)"),
        ("a: &x {b: *x}", "refers to itself"),
        ("a: *nowhere", "undefined alias"),
        ("? [a]\n: 1", "a key must be text"),
        ("- 1", "must be a mapping"),
        ("", "empty"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: [1, 2", "not valid YAML"),
        ('a: "\\ud800"', "invalid Unicode"),
        ("%YAML 3.0\n---\na: 1", "not valid YAML"),
    ],
)
def test_each_limit_has_its_message(text: str, says: str | None) -> None:
    if says is None:
        assert parse(text, HERE).plain()["c"]
    else:
        assert says in message(text)


def test_an_alias_bomb_is_counted_where_it_is_used() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "more than 100,000 values" in message(bomb)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: '" + "x" * 2_000_001 + "'")
    with pytest.raises(SuiteError, match="larger than"):
        read(path)


def test_places_point_into_the_file_the_key_came_from() -> None:
    base = parse("a:\n  b: 1\n  c: 2\n", Path("base.yaml"))
    over = parse("a:\n\n  c: 3\n", Path("over.yaml"))
    merged = merge(base, over)
    assert merged.plain() == {"a": {"b": 1, "c": 3}}
    assert str(merged.find(("a", "b"))) == "base.yaml:2:3"
    assert str(merged.find(("a", "c"))) == "over.yaml:3:3"
    assert base.plain() == {"a": {"b": 1, "c": 2}}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abcxyz 019.-_", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), values))
def test_reads_what_this_module_and_pyyaml_write(value: dict[str, object]) -> None:
    assert parse(yaml.safe_dump(value), HERE).plain() == value
    assert parse(write(value), HERE).plain() == value


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        parse(text, HERE)
    except SuiteError as error:
        assert str(error).startswith("file.yaml:")  # noqa: PT017
