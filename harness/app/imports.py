"""Import external results as trials of a suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from harness.imports.mapping import Flags, ImportMap, read_map, with_flags
from harness.imports.naming import ImportTarget
from harness.imports.record import ImportedFile, read_file, store_files
from harness.suite import Suite


class ImportOptions(TypedDict, total=False):
    """Options of an import.

    Attributes:
        map_file: the mapping of names; ``flags`` override it.
        kind: how to read the files; detected without it.
        dry_run: store nothing.
        command: the command line, for the record.
    """

    scale: str
    map_file: Path | None
    flags: Flags
    kind: str | None
    dry_run: bool
    command: str


def import_results(
    files: Sequence[Path], suite: Suite, database: Path, **options: Unpack[ImportOptions]
) -> list[ImportedFile]:
    """Import external results as trials of a suite, marked as imported; the same file again adds nothing.

    Args:
        files: tables, MLflow stores, W&B runs, folders of TensorBoard's event files, Optuna studies.

    Raises:
        HarnessError: a file or a name in it does not fit; nothing is stored then.
    """
    map_file = options.get("map_file")
    mapping = with_flags(ImportMap() if map_file is None else read_map(map_file), options.get("flags") or Flags())
    target = ImportTarget.of(suite, options.get("scale", "mini"))
    # all are valid before one is stored
    read = [read_file(file, mapping, target, options.get("kind")) for file in files]
    return store_files(read, database, options.get("command", ""), options.get("dry_run", False))
