"""The index of what the packages bring: read from their syntax trees at first use, then from the user's cache."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from harness.data.cache import DiskCache
from harness.data.checksums import state_of
from harness.errors import HarnessError
from harness.registry.metadata import declared_by, named_sources, sources_file
from harness.registry.shipped import COMPUTING
from harness.registry.static import StaticModule, StaticPackages
from harness.trial.options import Option, Values
from harness.vocabulary import Kind

PACKAGES: Mapping[Kind, tuple[str, ...]] = {
    "method": ("methods.optimizers", "methods.norms", "methods.distillation", "methods.alignment"),
    "task": ("suites.tasks",),
    "data": ("suites.data",),
    "model": ("suites.models",),
}
ROOT = Path(__file__).parents[2]
_READERS = ("harness/registry", "harness/base/metadata.py", "harness/trial/options.py")
"""Files that decide how metadata are read."""
_DECLARES = re.compile(r"^METADATA *=", re.MULTILINE)


class Row(TypedDict):
    """An entry as plain data; a method's options follow from its metadata."""

    module: str
    metadata: Values
    options: dict[str, Values]


Index = dict[Kind, dict[str, Row]]


def read() -> Index:
    """Return the index, from the cache where no file changed.

    Raises:
        HarnessError: unreadable metadata, or two entries of a kind with one name.
    """
    cache = DiskCache("registry", most=20)
    key = cache.key(json.dumps([(str(file), state_of(file)) for file in _files()]).encode())
    index = cache.get(key)
    if index is None:
        index = collect(ROOT)
        cache.put(key, index)
        cache.save()
    return cast("Index", index)


def _files() -> Iterator[Path]:
    for place in (*COMPUTING, *_READERS):
        path = ROOT / place
        yield from (path,) if path.is_file() else sorted(path.rglob("*.py"))
    yield from sorted(ROOT.joinpath("suites", "data", "sources").glob("*.yaml"))


def collect(root: Path) -> Index:
    """Read the index from the packages below a folder."""
    packages = StaticPackages(root)
    index: Index = {}
    for kind, names in PACKAGES.items():
        rows: dict[str, Row] = {}
        for name, file in _declaring(root, names):
            module = packages.module(name)
            assert module is not None
            for metadata in _metadata(module, file):
                if metadata.name in rows:
                    raise HarnessError(
                        f"two {kind}s named '{metadata.name}': {rows[metadata.name]['module']} and {name}"
                    )
                rows[metadata.name] = _row(kind, name, metadata)
        index[kind] = dict(sorted(rows.items()))
    return index


def _declaring(root: Path, packages: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Names and files of the modules that declare something."""
    for package in packages:
        for file in sorted(root.joinpath(*package.split(".")).rglob("*.py")):
            if sources_file(file).is_file() or _DECLARES.search(file.read_text(encoding="utf-8")):
                yield ".".join(file.relative_to(root).with_suffix("").parts), file


def _metadata(module: StaticModule, file: Path) -> tuple[Any, ...]:
    declares = "METADATA" in module
    own = module["METADATA"] if declares else ()
    return (*(own if isinstance(own, tuple) else (own,)), *named_sources(file, module.__getitem__))


def _row(kind: Kind, module: str, metadata: Any) -> Row:
    fields = _plain(metadata)
    if kind == "method":
        return {"module": module, "metadata": fields, "options": {}}
    del fields["options"]
    options = {name: _shortened(option) for name, option in declared_by(kind, metadata).items()}
    return {"module": module, "metadata": fields, "options": options}


def _plain(value: Any) -> Any:
    """Plain data of frozen records, with a range's class as ``kind``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        is_range = type(value).__name__ in ("Uniform", "Integer", "Choice")
        return {"kind": type(value).__name__.lower(), **fields} if is_range else fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _shortened(option: Option) -> Values:
    """An option as plain data, without default values."""
    usual = _plain(Option("any"))
    return Values({key: value for key, value in _plain(option).items() if key == "type" or value != usual[key]})
