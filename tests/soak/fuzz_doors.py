"""What the fuzzer sends through each door: valid things changed a little, and things that were never valid.

Everything is drawn by hypothesis, so that a find is an example that it can show again.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

Draws = random.Random
"""Hypothesis's own, where it draws; Python's elsewhere."""

TEXTS = (
    "",
    " ",
    "\n",
    "a",
    "-1",
    "0",
    "1e309",
    "nan",
    "inf",
    "null",
    "true",
    "~",
    "..",
    "../../x",
    "/etc/passwd",
    "/dev/zero",
    "%s%n",
    "[red]x[/]",
    "[/x]",
    "\x1b[31mx\x1b]0;t\x07",
    "\x9b31m",
    "\u202egnp",
    "é",
    "日本",
    "\ud800",
    "\udcff",
    "a" * 300,
    "x" * 5000,
    "'; DROP TABLE trials; --",
    "$(touch ../pwned)",
    "`touch ../pwned`",
    "!!python/object/apply:os.system ['touch ../pwned']",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "__import__('os').system('touch ../pwned')",
    "a=b",
    "=",
    "a=",
    "x=tiny.yaml:A",
    "*",
    "?",
    "(",
    "(?P<x>",
    "0..3",
    "3..1",
    "0..99999999999",
    "99999999999999999999",
    "1_0",
    "١٢",
    "1 ",
    "latest",
    "tiny",
    "known",
    "base",
    "better",
    "score",
    "test",
    "seed",
    "arm",
    "mini",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**63,
    -(2**70),
    1e308,
    float("inf"),
    float("nan"),
    0.5,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"file": "pipe"},
    {"name": "sgd"},
    [1, "a", None],
    *TEXTS,
)
BYTES = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\n",
    b"\r",
    b"[" * 200,
    b"{" * 200,
    b'"',
    b"'",
    b",",
    b"\t",
    b"&a *a",
    b"!!",
    b"\x80\x04\x95",
    b"<!ENTITY x 'y'>",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"\xed\xa0\x80",
)


def mutated(draws: Draws, content: bytes, most: int = 4) -> bytes:
    """Bytes with some of them flipped, cut, doubled, or replaced."""
    data = bytearray(content)
    for _ in range(draws.randint(1, most)):
        at = draws.randint(0, len(data))
        end = min(len(data), at + draws.choice((1, 1, 4, 16, 200)))
        what = draws.choice(("flip", "cut", "double", "insert", "end", "zero", "ones", "number"))
        if what == "flip" and at < len(data):
            data[at] ^= 1 << draws.randint(0, 7)
        elif what == "cut":
            del data[at:end]
        elif what == "double":
            data[at:at] = data[at:end]
        elif what == "insert":
            data[at:at] = draws.choice(BYTES)
        elif what == "end" and draws.random() < 0.3:
            del data[at:]
        elif what == "zero":
            data[at:end] = bytes(end - at)
        elif what == "ones":
            data[at:end] = b"\xff" * (end - at)
        elif what == "number" and (digits := [i for i, one in enumerate(data) if 48 <= one <= 57]):
            data[draws.choice(digits)] = draws.randint(48, 57)
    return bytes(data)


def edited(draws: Draws, value: Any, most: int = 3) -> Any:
    """Plain data with some nodes dropped, doubled, renamed or replaced."""
    for _ in range(draws.randint(1, most)):
        value = _edited(draws, value)
    return value


def _edited(draws: Draws, value: Any) -> Any:
    if isinstance(value, Mapping) and value and draws.random() < 0.85:
        key = draws.choice(list(value))
        what = draws.choice(("inside", "inside", "inside", "drop", "rename", "replace", "double"))
        rest = {k: v for k, v in value.items() if k != key}
        if what == "inside":
            return {k: _edited(draws, v) if k == key else v for k, v in value.items()}
        if what == "rename":
            return {draws.choice(TEXTS) if k == key else k: v for k, v in value.items()}
        if what == "replace":
            return {k: draws.choice(VALUES) if k == key else v for k, v in value.items()}
        if what == "double":
            return {**value, f"{key}2": value[key]}
        return rest
    if isinstance(value, list) and value and draws.random() < 0.85:
        at = draws.randrange(len(value))
        what = draws.choice(("inside", "inside", "drop", "replace", "double"))
        made = list(value)
        if what == "drop":
            del made[at]
        elif what == "double":
            made.insert(at, made[at])
        else:
            made[at] = _edited(draws, made[at]) if what == "inside" else draws.choice(VALUES)
        return made
    return draws.choice(VALUES)


def as_yaml(draws: Draws, value: Any) -> bytes:
    """Plain data as YAML (JSON is some), with words for what JSON lacks."""
    text = json.dumps(value, ensure_ascii=draws.random() < 0.5, indent=draws.choice((None, 1)))
    for word, written in (("NaN", ".nan"), ("-Infinity", "-.inf"), ("Infinity", ".inf")):
        text = text.replace(word, written)
    return text.encode("utf-8", "surrogatepass")


# the command line


def parameters_of(group: click.Group) -> dict[tuple[str, ...], list[click.Parameter]]:
    """Every command with its parameters, as click declares them: what is added is fuzzed by itself."""
    found: dict[tuple[str, ...], list[click.Parameter]] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {(name, *rest): given for rest, given in parameters_of(command).items()}
        else:
            found[(name,)] = list(command.params)
    return found


HINTS: dict[str, tuple[str, ...]] = {
    "suites": ("tiny.yaml",),
    "suite": ("tiny.yaml", "tiny"),
    "benchmarks": ("known",),
    "benchmark": ("known",),
    "arms": ("base", "better", "x=own.py:A"),
    "arm": ("base",),
    "against": ("base",),
    "methods": ("better",),
    "metric": ("score",),
    "seeds": ("2", "1..3"),
    "overrides": ("steps=3", "own_sd=0.1", "data.x=1"),
    "files": ("table.csv",),
    "file": ("table.csv",),
    "trial": ("a",),
    "run": ("latest",),
    "first": ("latest",),
    "second": ("latest",),
    "database": ("results/harness.duckdb",),
    "sql": ("SELECT 1", "FROM trials", "EXPLAIN ANALYZE SELECT 1"),
    "kind": ("runs", "trials", "suites"),
    "time_budget": ("30s",),
    "out": ("made",),
    "folder": ("made",),
    "metrics": ("score=score",),
    "by": ("bench",),
    "pair": ("seed",),
    "arm_column": ("arm",),
}
FILES = (
    "tiny.yaml",
    "table.csv",
    "pipe",
    "loop",
    "folder",
    "text.txt",
    "gone",
    "/dev/null",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/mem",
    "results/harness.duckdb",
    "results/harness.duckdb.journal",
    "text.txt/below",
    "folder/below",
    "own.py",
    "é\udcff",
    "n" * 300,
    "",
)
NUMBERS = ("0", "1", "2", "-1", "3.5", "nan", "inf", "-inf", "1e308", "99999999999", "٣", "0x10", "", "1e-320")
SKIPPED = {("doctor",), ("preflight",)}
"""They start Ray, or a process a cell: seconds each, and they take no content of others but what ``plan`` takes too."""


def arguments(draws: Draws, commands: Mapping[tuple[str, ...], list[click.Parameter]]) -> list[str]:
    """A command line; trials run in the process itself."""
    name, odd = draws.choice([name for name in commands if name not in SKIPPED]), draws.choice((0.03, 0.2, 0.8))
    given: list[str] = []
    last: list[str] = []
    for parameter in commands[name]:
        wanted = parameter.required or isinstance(parameter, click.Argument)
        if draws.random() > (0.98 if wanted else 0.2) or parameter.name in ("executor", "address"):
            continue
        times = draws.randint(1, 2) if getattr(parameter, "multiple", False) or parameter.nargs == -1 else 1
        for _ in range(times):
            if isinstance(parameter, click.Argument):
                last.append(_value(draws, parameter, odd))
                continue
            option = draws.choice([*parameter.opts, *parameter.secondary_opts])
            given += [option] if getattr(parameter, "is_flag", False) else [option, _value(draws, parameter, odd)]
    if any(parameter.name == "executor" for parameter in commands[name]):
        given += ["--executor", "inline"]
    return [*name, *given, "--", *last] if draws.random() < 0.9 else [*name, *last, *given]


def _value(draws: Draws, parameter: click.Parameter, odd: float) -> str:
    """A value of a parameter: one that it is made for, or with the chance ``odd`` another."""
    kind, fits = parameter.type, draws.random() >= odd
    if isinstance(kind, click.Choice):
        return str(draws.choice(list(kind.choices))) if fits else draws.choice(TEXTS).replace("\0", "")
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return draws.choice(("1", "2", "3", "0.5") if fits else NUMBERS)
    if parameter.name in HINTS and fits:
        return draws.choice(HINTS[parameter.name])
    if isinstance(kind, click.Path) and draws.random() < 0.9:
        return draws.choice(FILES)
    return draws.choice(TEXTS).replace("\0", "")


# tables of results


TABLE = [
    {"arm": arm, "bench": bench, "seed": seed, "score": 50 + seed + (3 if arm == "better" else 0) + 0.1 * len(bench)}
    for arm in ("base", "better")
    for bench in ("known", "other")
    for seed in range(4)
]


def table(draws: Draws, folder: Path) -> Path:
    """A table of results, in some format, of which cells or bytes are changed."""
    rows: list[Any] = [dict(row) for row in TABLE]
    for _ in range(draws.randint(0, 3)):
        row = draws.choice(rows)
        if isinstance(row, dict) and row:
            row[draws.choice(list(row))] = draws.choice(VALUES)
    form = draws.choice(("csv", "tsv", "jsonl", "json", "parquet", "csv.gz", "sqlite", "duckdb"))
    path = folder / f"t.{form}"
    content = _table_bytes(rows, form)
    if draws.random() < 0.6:
        content = mutated(draws, content)
    path.write_bytes(content)
    return path


def _table_bytes(rows: list[dict[str, Any]], form: str) -> bytes:
    columns = list(rows[0])
    if form in ("csv", "tsv", "csv.gz"):
        mark = "\t" if form == "tsv" else ","
        text = "\n".join([mark.join(columns), *(mark.join(_cell(row.get(name)) for name in columns) for row in rows)])
        plain = text.encode("utf-8", "surrogatepass")
        return gzip.compress(plain, mtime=0) if form == "csv.gz" else plain
    if form == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    if form == "json":
        return json.dumps(rows).encode()
    kept = [
        {"arm": str(row.get("arm")).encode("utf-8", "replace").decode(), "seed": at, "score": 1.5 * at}
        for at, row in enumerate(rows)
    ]
    if form == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        made = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(kept), made)
        return made.getvalue()
    return _database(form, kept)


def _database(form: str, rows: list[dict[str, Any]]) -> bytes:
    import sqlite3
    import tempfile

    values = [tuple(row.values()) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        if form == "sqlite":
            connection = sqlite3.connect(path)
            connection.execute("CREATE TABLE t (arm TEXT, seed INTEGER, score REAL)")
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", values)
            connection.commit()
        else:
            import duckdb

            connection = duckdb.connect(str(path))
            connection.execute("CREATE TABLE t (arm TEXT, seed INTEGER, score DOUBLE)")
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", values)
        connection.close()
        return path.read_bytes()


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


# folders of data


LISTS = (".csv", ".txt", ".json", ".jsonl", ".xml")
LISTED = re.compile(rb"[\w./-]+\.(?:png|jpe?g|wav|mp3|au|JPEG)")
ELSEWHERE = (b"/dev/zero", b"../../outside.txt", b"pipe", b"/etc/passwd", b"..", b"gone.png", b"/", b"/proc/self/mem")


def spoilt(draws: Draws, folder: Path) -> None:
    """Change something in a folder of data: bytes of a file, a file, a name, what a list names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    lists = [path for path in files if path.suffix in LISTS]
    for _ in range(draws.randint(1, 3)):
        file = draws.choice(lists if lists and draws.random() < 0.4 else files)
        if file.is_symlink() or not file.is_file():
            continue
        content = file.read_bytes()
        what = draws.choice(("bytes",) * 5 + ("inside",) * 3 + KINDS)
        if what == "inside" and (found := list(LISTED.finditer(content))):
            one = draws.choice(found)
            file.write_bytes(content[: one.start()] + draws.choice(ELSEWHERE) + content[one.end() :])
            if not (file.parent / "pipe").exists():
                os.mkfifo(file.parent / "pipe")
        elif what == "inside" and file.suffix == ".json" and content:
            with contextlib.suppress(ValueError):
                changed = edited(draws, json.loads(content))
                file.write_bytes(json.dumps(changed).encode("utf-8", "surrogatepass"))
        elif what in KINDS:
            file.unlink()
            _put(file, what)
        else:
            file.write_bytes(mutated(draws, content))


KINDS = ("empty", "pipe", "dangling", "zero", "folder", "name", "big", "gone", "up")
"""What may stand where a file stood."""


def _put(file: Path, what: str) -> None:
    if what == "empty":
        file.write_bytes(b"")
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "dangling":
        file.symlink_to("nowhere")
    elif what == "zero":
        file.symlink_to("/dev/zero")
    elif what == "up":
        file.symlink_to(file.parent)
    elif what == "folder":
        file.mkdir()
    elif what == "name":
        Path(os.fsdecode(os.fsencode(file.parent) + b"/\xff\xfe\x1b[31m" + os.fsencode(file.suffix))).write_bytes(b"x")
    elif what == "big":
        with file.open("wb") as made:
            made.truncate(200 << 20)


NAMES = (
    "../../../pwned",
    "/tmp/pwned-by-an-archive",
    "a/../../../pwned",
    "train/a/\x1b[31m.png",
    "train/a/" + "n" * 300 + ".png",
    "train//a/x.png",
    "./train/a/y.png",
    "train/a",
    "",
    "/",
    "train/a/\u202egnp.png",
    "C:\\pwned",
    "train/\udcff\udcfe/x.png",
)


def archive(draws: Draws, folder: Path, target: Path, evil: bytes) -> Path:
    """A folder as an archive, with names that lead out of it, or bytes that are wrong."""
    form = draws.choice(("zip", "zip", "tar", "tar.gz", "tar.xz", "tar.bz2"))
    path, made = target / f"data.{form}", io.BytesIO()
    names = [draws.choice(NAMES) for _ in range(draws.randint(0, 2))]
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if form == "zip":
        with zipfile.ZipFile(
            made, "w", draws.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
        ) as packed:
            for file in files:
                packed.write(file, file.relative_to(folder))
            for name in names:
                packed.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), evil)
    else:
        mode: Any = {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz", "tar.bz2": "w:bz2"}[form]
        with tarfile.open(fileobj=made, mode=mode) as packed_tar:
            for file in files:
                packed_tar.add(file, str(file.relative_to(folder)))
            for name in names:
                packed_tar.addfile(_entry(draws, name, len(evil)), io.BytesIO(evil))
    content = made.getvalue()
    path.write_bytes(mutated(draws, content) if draws.random() < 0.75 else content)
    return path


def _entry(draws: Draws, name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.type = draws.choice(
        (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    )
    entry.linkname = draws.choice(("/etc/passwd", "../../../etc/passwd", name))
    return entry


Door = Callable[[Draws, Path], Any]
