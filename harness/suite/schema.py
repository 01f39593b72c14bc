"""JSON Schemas of the files, for editors that check and complete YAML."""

from __future__ import annotations

from typing import Any

from harness.suite.models import Benchmark, FactFile, SuiteFile


def json_schema() -> dict[str, Any]:
    """One schema for suite files; the schemas of benchmark and claims files stand in its ``$defs``."""
    schema = SuiteFile.model_json_schema(mode="validation")
    for name, model in (("BenchmarkFile", Benchmark), ("FactFile", FactFile)):
        part = model.model_json_schema(mode="validation")
        schema.setdefault("$defs", {}).update(part.pop("$defs", {}))
        schema["$defs"][name] = part
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "suite", **schema}
