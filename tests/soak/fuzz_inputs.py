"""Strategies of hostile inputs: valid bytes, trees, tables, folders and command lines, changed a little."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

TEXTS = st.sampled_from(
    [
        *("", " ", "\n", "-1", "0", "1e309", "nan", "null", "true", "~", "..", "../../x", "/etc/passwd", "/dev/zero"),
        *("%s%n", "[red]x[/]", "\x1b[31mx\x1b]0;t\x07", "\x9b31m", "\u202egnp", "日本", "\ud800", "\udcff", "a" * 300),
        *("'; DROP TABLE trials; --", "$(touch ../pwned)", "!!python/object/apply:os.system ['touch ../pwned']"),
        *("<script>alert(1)</script>", "a=b", "=", "x=tiny.yaml:A", "*", "(?P<x>", "3..1", "0..9999999999", "١٢"),
        *("latest", "tiny", "known", "base", "better", "score", "test", "seed", "arm", "mini"),
    ]
) | st.text(max_size=12)
VALUES = (
    st.sampled_from((None, True, 0, -1, 2**63, 1e308, float("inf"), float("nan"), 0.5))
    | TEXTS
    | st.sampled_from(([], {}, [[]], [None], {"": None}, {"file": "pipe"}, {"name": "sgd"}))
)
PIECES = st.sampled_from(
    [
        *(b"\0", b"\xff", b"\xfe\xff", b"\n", b"[" * 200, b"{" * 200, b'"', b"'", b",", b"\t", b"&a *a", b"!!"),
        *(b"\x80\x04\x95", b"<!ENTITY x 'y'>", b"1e999", b"-1", b"9" * 20, b"\xe2\x80\xae", b"\x1b[2J"),
    ]
) | st.binary(max_size=16)


@st.composite
def changed_bytes(draw: DrawFn, content: bytes, most: int = 5) -> bytes:
    """Bytes with some places replaced, cut, doubled or inserted."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 1, 4, 16, 200))))
        data[start:end] = draw(PIECES | st.sampled_from((b"", bytes(data[start:end]) * 2)))
    return bytes(data)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node below a value."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in items for path in ((*above, key), *places(item, (*above, key)))]


@st.composite
def changed_tree(draw: DrawFn, value: Any, most: int = 3) -> Any:
    """Plain data with some nodes dropped, renamed, doubled or replaced."""
    for _ in range(draw(st.integers(1, most))):
        value = json.loads(json.dumps(value))
        paths = places(value)
        if not paths:
            return draw(VALUES)
        *above, last = draw(st.sampled_from(paths))
        parent = value
        for key in above:
            parent = parent[key]
        what = draw(st.sampled_from(("drop", "rename", "double", "replace", "replace")))
        if what == "replace":
            parent[last] = draw(VALUES)
        elif what == "double":
            parent.update({f"{last}2": parent[last]}) if isinstance(parent, dict) else parent.append(parent[last])
        else:
            item = parent.pop(last)
            if what == "rename" and isinstance(parent, dict):
                parent[draw(TEXTS)] = item
    return value


def as_yaml(value: Any) -> bytes:
    """Plain data as JSON, with YAML's words for NaN and infinities."""
    text = json.dumps(value)
    for word, written in (("NaN", ".nan"), ("-Infinity", "-.inf"), ("Infinity", ".inf")):
        text = text.replace(word, written)
    return text.encode()


# the command line

FITTING: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("suites", "suite"), ("tiny.yaml",)),
    **dict.fromkeys(("benchmarks", "benchmark"), ("known",)),
    **dict.fromkeys(("arms", "arm", "against", "methods"), ("base", "better", "x=own.py:A")),
    **dict.fromkeys(("run", "first", "second"), ("latest",)),
    **dict.fromkeys(("files", "file"), ("table.csv",)),
    **dict.fromkeys(("out", "folder"), ("made",)),
    "metric": ("score",),
    "seeds": ("2", "1..3"),
    "overrides": ("steps=3", "own_sd=0.1", "data.x=1"),
    "database": ("results/harness.duckdb",),
    "sql": ("SELECT 1", "FROM trials"),
    "kind": ("runs", "trials", "suites"),
    "time_budget": ("30s",),
    "by": ("bench",),
    "arm_column": ("arm",),
}
FILES = st.sampled_from(
    [
        *(
            "tiny.yaml",
            "table.csv",
            "pipe",
            "loop",
            "folder",
            "gone",
            "/dev/null",
            "/dev/zero",
            "results/harness.duckdb",
        ),
        *("results/harness.duckdb.journal", "own.py/below", "own.py", "é\udcff", "n" * 300, ""),
    ]
)
NUMBERS = st.sampled_from(("0", "1", "2", "-1", "3.5", "nan", "inf", "1e308", "99999999999", "٣", "0x10", ""))
SKIPPED = {("doctor",), ("preflight",), ("report", "--serve"), ("browse",)}
"""Commands that start Ray or a process a configuration, or that serve until they are interrupted."""


def parameters_of(group: click.Group) -> dict[tuple[str, ...], list[click.Parameter]]:
    """Every command with its parameters, as click declares them."""
    commands: dict[tuple[str, ...], list[click.Parameter]] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            commands |= {(name, *rest): result for rest, result in parameters_of(command).items()}
        elif command is not None and (name,) not in SKIPPED:
            commands[(name,)] = list(command.params)
    return commands


def value_of(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Values of a parameter: those that fit, and any other."""
    kind = parameter.type
    odd = TEXTS
    if isinstance(kind, click.Choice):
        fits = st.sampled_from([str(choice) for choice in kind.choices])
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        fits, odd = st.sampled_from(("1", "2", "3")), NUMBERS
    elif isinstance(kind, click.Path) and parameter.name not in FITTING:
        fits = FILES
    else:
        fits = st.sampled_from(FITTING.get(str(parameter.name), ("1",)))
    return (fits | fits | odd).map(lambda text: text.replace("\0", ""))


@st.composite
def command_lines(draw: DrawFn, commands: Mapping[tuple[str, ...], list[click.Parameter]]) -> list[str]:
    """A command line of which most parts fit; trials run in the process itself."""
    name = draw(st.sampled_from(sorted(commands)))
    options: list[str] = []
    last: list[str] = []
    for parameter in commands[name]:
        if parameter.name in ("executor", "address", "serve"):
            continue
        wanted = parameter.required or isinstance(parameter, click.Argument)
        if draw(st.integers(0, 9)) >= (9 if wanted else 2):
            continue
        if isinstance(parameter, click.Argument):
            last.append(draw(value_of(parameter)))
        elif getattr(parameter, "is_flag", False):
            options.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
        else:
            options += [parameter.opts[0], draw(value_of(parameter))]
    if any(parameter.name == "executor" for parameter in commands[name]):
        options += ["--executor", "inline"]
    return [*name, *options, "--", *last]


# tables of results, folders of data, archives

ROWS = [
    {"arm": arm, "bench": bench, "seed": seed, "score": 50.0 + seed + 3 * (arm == "better")}
    for arm in ("base", "better")
    for bench in ("known", "other")
    for seed in range(4)
]


def csv_of(rows: list[dict[str, Any]], mark: str = ",") -> bytes:
    """Rows as separated text."""
    columns = list(ROWS[0])
    lines = [mark.join(columns), *(mark.join(str(row.get(name, "")) for name in columns) for row in rows)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def table_bytes(rows: list[dict[str, Any]], form: str) -> bytes:
    """Rows in one of the formats of tables."""
    if form in ("csv", "tsv", "csv.gz"):
        plain = csv_of(rows, "\t" if form == "tsv" else ",")
        return gzip.compress(plain, mtime=0) if form == "csv.gz" else plain
    if form == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        file = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(ROWS), file)
        return file.getvalue()
    return "\n".join(map(json.dumps, rows)).encode()


@st.composite
def tables(draw: DrawFn) -> tuple[str, bytes]:
    """A damaged file of results, by name and content."""
    form = draw(st.sampled_from(("csv", "tsv", "jsonl", "parquet", "csv.gz")))
    rows = [dict(row) for row in ROWS]
    for _ in range(draw(st.integers(0, 3))):
        draw(st.sampled_from(rows))[draw(st.sampled_from(list(ROWS[0])))] = draw(VALUES)
    content = table_bytes(rows, form)
    return f"t.{form}", draw(st.just(content) | changed_bytes(content))


KINDS = ("empty", "pipe", "dangling", "zero", "folder", "big", "gone", "up")
"""Replacements of a file."""


def replace(file: Path, kind: str) -> None:
    """Put something of ``KINDS`` in the place of a file."""
    file.unlink()
    if kind == "empty":
        file.write_bytes(b"")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "big":
        with file.open("wb") as opened:
            opened.truncate(200 << 20)
    elif kind != "gone":
        file.symlink_to({"dangling": "nowhere", "zero": "/dev/zero", "up": file.parent}[kind])


def spoil(data: st.DataObject, folder: Path) -> None:
    """Change some files of a folder."""
    for _ in range(data.draw(st.integers(1, 3))):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            return
        file = data.draw(st.sampled_from(files))
        kind = data.draw(st.sampled_from(("bytes", "bytes", *KINDS)))
        if kind == "bytes":
            file.write_bytes(data.draw(changed_bytes(file.read_bytes()[: 1 << 16])))
        else:
            replace(file, kind)


OUTSIDE = (
    "../../../pwned",
    "/tmp/pwned-by-an-archive",
    "a/../../../pwned",
    "train/a/" + "n" * 300,
    "",
    "/",
    "C:\\pwned",
)


@st.composite
def archives(draw: DrawFn, folder: Path) -> tuple[str, bytes]:
    """A damaged or malicious archive of a folder, by name and content."""
    form = draw(st.sampled_from(("zip", "tar", "tar.gz")))
    names = draw(st.lists(st.sampled_from(OUTSIDE) | TEXTS, max_size=2))
    names = [name.encode("utf-8", "replace").decode() for name in names]
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    packed = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
            for name in names:
                archive.writestr(zipfile.ZipInfo(name), b"x")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz" if form == "tar.gz" else "w") as archive_of_tar:
            for file in files:
                archive_of_tar.add(file, str(file.relative_to(folder)))
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = draw(st.sampled_from((tarfile.REGTYPE, tarfile.SYMTYPE))), "/etc/passwd"
                archive_of_tar.addfile(entry)
    content = packed.getvalue()
    return f"data.{form}", draw(st.just(content) | changed_bytes(content))
