"""The registry: declared options, plug-ins of other packages, an index that is behind the files, the JSON Schema."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import registry
from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.registry import built_in, index
from harness.registry.metadata import metadata_in
from harness.registry.shipped import COMPUTING, suite_files
from harness.registry.static import StaticPackages
from harness.suite import load_suite
from harness.suite.schema import json_schema
from harness.trial.options import REQUIRED, Option, build, option, options_of
from harness.trial.recipe import COMMON_KEYS, Recipe, factors
from suites.data import imagefolder


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeOptions:
    """Options that another class takes over."""

    size: int = option(8, "side in pixels", low=4)
    widths: tuple[int, ...] = option((1, 2), "channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions(SizeOptions):
    """The same with another default, and more."""

    size: int = option(16)
    path: str = option(REQUIRED, "folder")
    limit: float | None = option(None, "largest", choices=(0.5, 1.0))
    tables: Mapping[str, Any] = option({}, "by name")


def test_declarations_say_type_default_limits_and_what_they_take_over() -> None:
    assert options_of(FolderOptions) == {
        "size": Option("int", 16, "side in pixels", low=4),
        "widths": Option("list", [1, 2], "channels", items="int"),
        "path": Option("str", None, "folder", required=True),
        "limit": Option("float", None, "largest", choices=(0.5, 1.0), optional=True),
        "tables": Option("dict", {}, "by name"),
    }


def test_resolved_values_become_a_typed_record() -> None:
    record = build(FolderOptions, {"path": "here", "widths": [3, 4], "limit": 1})
    assert record == FolderOptions(path="here", widths=(3, 4), limit=1.0)
    assert isinstance(record.limit, float)
    with pytest.raises(HarnessError, match="did you mean 'size'"):
        build(FolderOptions, {"path": "here", "sise": 3})
    with pytest.raises(HarnessError, match="path"):
        build(FolderOptions, {})


def test_a_field_that_declares_nothing_is_refused() -> None:
    @dataclass(frozen=True)
    class Bare:
        size: int = 3

    with pytest.raises(TypeError, match=r"Bare\.size"):
        options_of(Bare)


def test_an_unknown_schedule_is_refused_and_the_declared_ones_exist() -> None:
    for name in COMMON_KEYS["schedule"].choices:
        assert 0 <= factors(Recipe(schedule=str(name)), 10)(3) <= 1
    with pytest.raises(HarnessError, match="did you mean 'cosine'"):
        factors(Recipe(schedule="cosin"), 10)


# plug-ins

PLUG_IN = '''
from methods.metadata import MethodMetadata

METADATA = MethodMetadata(name="lion", title="Lion", slot="optimizer", role="baseline", family="lion", paper="",
                  target="Lion", summary="signs of momentum", defaults={"lr": 1e-4, "betas": (0.9, 0.99)})


class Lion:
    """Stands in."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a distribution with one method: its name and the source of its module."""
    names: list[str] = []

    def install(name: str, source: str) -> None:
        folder = tmp_path / f"{name}_plug_in-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plug-in\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[harness.methods]\n{name} = {name}_plug_in:METADATA\n")
        (tmp_path / f"{name}_plug_in.py").write_text(source)
        names.append(f"{name}_plug_in")

    monkeypatch.syspath_prepend(str(tmp_path))
    index.plug_ins.cache_clear()
    index.import_plug_ins.cache_clear()
    imported = index._IMPORTED["method"]
    before = dict(imported)
    yield install
    imported.clear()
    imported.update(before)
    index.plug_ins.cache_clear()
    index.import_plug_ins.cache_clear()
    for name in names:
        sys.modules.pop(name, None)


def test_listing_imports_no_plug_in_and_asking_for_one_does(
    package: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    package("lion", PLUG_IN)
    package("broken", "raise ImportError('lost library')")
    assert run_main(["list", "methods", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert "not imported" in rows["lion"]["summary"]
    assert "broken" in rows
    assert run_main(["validate", str(suite_files()["adamp"])]) == 0
    assert not {"lion_plug_in", "broken_plug_in"} & set(sys.modules)
    result = registry.entry("method", "lion")
    assert result.metadata.title == "Lion"
    assert result.options["betas"] == Option("list", [0.9, 0.99], items="float")
    assert result.load().target.__name__ == "Lion"
    assert registry.entries("method")["lion"] is result


def test_a_broken_plug_in_is_named_once_and_set_aside(
    package: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    package("lion", PLUG_IN)
    package("broken", "raise ImportError('lost library')")
    package("odd", "METADATA = 3")
    with pytest.raises(HarnessError, match=r"'broken'.*broken-plug-in.*lost library"):
        registry.entry("method", "broken")
    with pytest.raises(HarnessError, match="int, not MethodMetadata"):
        registry.entry("method", "odd")
    for _ in range(2):
        registry.import_plug_ins("method")
    assert sorted(record.getMessage().split("'")[1] for record in caplog.records) == ["broken", "odd"]
    assert "lion" in set(registry.entries("method"))
    assert "broken" not in set(registry.entries("method"))


# named sources


def test_a_named_source_is_its_layout_with_files_and_defaults_that_differ() -> None:
    named, layout = registry.load("data", "grocery64"), imagefolder.ImageTreeOptions
    assert named.target is imagefolder.load_folder
    declared = options_of(named.options)
    assert (declared["split_by"].default, declared["train_classes"].default) == ("class", 50)
    # meaning and limits are the layout's, and so is every other default
    assert declared["split_by"].choices == options_of(layout)["split_by"].choices
    assert build(named.options, {"size": 32}).validation == build(layout, {}).validation
    metadata = registry.entry("data", "grocery64").metadata
    assert set(metadata.files) == set(metadata.sha256) == {"data:grocery/grocery64.zip"}


# the index of the packages


def test_what_is_read_from_syntax_trees_is_what_the_modules_declare() -> None:
    for kind, rows in built_in.collect(built_in.ROOT).items():
        for name, row in rows.items():
            declared = metadata_in(importlib.import_module(row["module"]))
            (metadata,) = [metadata for metadata in declared if metadata.name == name]
            assert built_in._row(kind, row["module"], metadata) == row, name


def test_the_index_is_read_once_and_again_after_an_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in (*COMPUTING, "harness/registry"):
        shutil.copytree(built_in.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(built_in, "ROOT", tmp_path)
    first, collect = built_in.read(), built_in.collect
    collected: list[Path] = []

    def counted(root: Path) -> built_in.Index:
        collected.append(root)
        return collect(root)

    monkeypatch.setattr(built_in, "collect", counted)
    assert (built_in.read(), len(collected)) == (first, 0)
    task = tmp_path / "suites" / "tasks" / "classification.py"
    task.write_text(task.read_text().replace('"top5-accuracy", "loss"', '"top5-accuracy", "balanced", "loss"'))
    assert "balanced" in built_in.read()["task"]["classification"]["metadata"]["metrics"]
    assert len(collected) == 1


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("summary=torch.__version__", r"m\.py:1: 'torch' cannot be read"),
        ("summary=nothing", r"m\.py:4: .*'nothing' is not defined"),
        ("summary=str(np.pi)", r"m\.py:3: 'np' of numpy"),
    ],
)
def test_metadata_that_need_a_library_are_refused_with_their_line(tmp_path: Path, declared: str, message: str) -> None:
    module = tmp_path / "methods" / "m.py"
    module.parent.mkdir()
    head = "import torch\nfrom methods.metadata import MethodMetadata\nfrom numpy import pi as np\n"
    module.write_text(
        f"{head}METADATA = MethodMetadata(name='m', title='M', slot='norm', family='f', paper='', {declared})\n"
    )
    static = StaticPackages(tmp_path).module("methods.m")
    assert static is not None
    with pytest.raises(HarnessError, match=message):
        static["METADATA"]


def test_an_unknown_name_says_where_a_new_one_goes() -> None:
    with pytest.raises(HarnessError, match=r"unknown optimizer 'zzz'; valid: .*methods/optimizers/"):
        raise HarnessError(registry.unknown("method", "zzz", "optimizer"))
    assert "methods/" not in registry.unknown("method", "adampp")


# JSON Schema


def test_the_json_schema_holds_blocks_to_the_options_of_what_they_name() -> None:
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/BenchmarkFile", "$defs": json_schema()["$defs"]})

    def messages(content: Any) -> list[str]:
        waiting, result = list(validator.iter_errors(content)), []
        for error in waiting:
            result.append(error.message)
            waiting += error.context
        return result

    for path in suite_files().values():
        for name, benchmark in load_suite(path).benchmarks.items():
            assert messages(json.loads(benchmark.model.model_dump_json(exclude_unset=True))) == [], name
    metrics = {"loss": {"unit": "", "better": "lower"}}
    right = {"benchmark": "b", "title": "t", "task": "classification", "metrics": metrics}
    for block, wrong in (
        ({"data": {"name": "digits", "train": 5}}, "5 is less than the minimum of 10"),
        ({"data": {"name": "digits", "size_": 8}}, "'size_' was unexpected"),
        ({"model": {"name": "bn-cnn", "norm": "layer"}}, "'layer' is not one of"),
        ({"recipe": {"schedule": "cosin"}}, "'cosin' is not one of"),
        ({"recipe": {"l1": 1.0}}, "'l1' was unexpected"),
        ({"prerequisites": {"teacher": {"recipe": {"l1": 1.0}, "task": "classification"}}}, "'l1' was unexpected"),
    ):
        result = messages({**right, "mini": block})
        assert any(wrong in message for message in result), result
    assert messages({**right, "task": "inpainting", "mini": {"recipe": {"l1": 1.0, "steps": 3}}}) == []
