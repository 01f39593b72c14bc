"""JSON Schemas of the files, for editors that check and complete YAML."""

from collections.abc import Mapping
from typing import Any

from harness import registry
from harness.suite.models import Benchmark, PaperClaims, SuiteFile
from harness.trial.options import Option
from harness.trial.recipe import COMMON_KEYS
from harness.vocabulary import WRITTEN_SCALES


class JsonSchema(dict[str, Any]):
    """A JSON Schema or a part of one."""


_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string", "list": "array", "dict": "object"}


def json_schema() -> JsonSchema:
    """Schema of suite files; ``$defs`` has those of benchmark and claims files and of options.

    ``recipe.TASK``, ``data.NAME`` and ``model.NAME`` have the options of a task, a data source and a model.
    """
    schema = SuiteFile.model_json_schema(mode="validation")
    definitions: JsonSchema = schema.setdefault("$defs", {})
    for name, model in (("BenchmarkFile", Benchmark), ("PaperClaims", PaperClaims)):
        part = model.model_json_schema(mode="validation")
        definitions.update(part.pop("$defs", {}))
        definitions[name] = part
    for name, task in registry.entries("task").items():
        definitions[f"recipe.{name}"] = _options({**COMMON_KEYS, **task.options})
    for kind in ("data", "model"):
        for name, entry in registry.entries(kind).items():
            part = _options(entry.options)
            part["properties"]["name"] = {"const": name}
            definitions[f"{kind}.{name}"] = part
    for block in ("ScaleBlock", "Dependency"):
        for kind in ("data", "model"):
            definitions[block]["properties"][kind]["allOf"] = _where_named("name", kind)
    definitions["Dependency"]["allOf"] = _where_named("task", "recipe", ("recipe",))
    for benchmark in ("Benchmark", "BenchmarkFile"):
        definitions[benchmark]["allOf"] = [
            rule for scale in WRITTEN_SCALES for rule in _where_named("task", "recipe", (scale, "recipe"))
        ]
    return JsonSchema({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "suite", **schema})


def _where_named(key: str, kind: str, path: tuple[str, ...] = ()) -> list[JsonSchema]:
    """Apply an entry's options at ``path`` if ``key`` names the entry."""
    rules = []
    for name in registry.entries("task" if kind == "recipe" else "data" if kind == "data" else "model"):
        held = JsonSchema({"$ref": f"#/$defs/{kind}.{name}"})
        for part in reversed(path):
            held = JsonSchema(properties={part: held})
        condition = {"properties": {key: {"const": name}}, "required": [key]}
        rules.append(JsonSchema({"if": condition, "then": held}))
    return rules


def _options(declared: Mapping[str, Option]) -> JsonSchema:
    properties = {name: _option(item) for name, item in declared.items()}
    return JsonSchema(type="object", properties=properties, additionalProperties=False)


def _option(declared: Option) -> JsonSchema:
    schema = JsonSchema(description=declared.about)
    if declared.type != "any":
        kind = _TYPES[declared.type]
        schema["type"] = [kind, "null"] if declared.optional else kind
    if declared.items != "any":
        schema["items"] = {"type": _TYPES[declared.items]}
    if declared.choices:
        schema["enum"] = [*declared.choices, *([None] if declared.optional else [])]
    limits = {"minimum": declared.low, "maximum": declared.high}
    schema |= {name: limit for name, limit in limits.items() if limit is not None}
    if not declared.required:
        schema["default"] = declared.default
    return schema
