"""Import external results as trials of a suite."""

from collections.abc import Sequence
from pathlib import Path

from harness.imports.mapping import Flags, ImportMap, read_map, with_flags
from harness.imports.naming import ImportTarget
from harness.imports.record import ImportedFile, read_file, store_files
from harness.suite import Suite


def import_results(
    files: Sequence[Path],
    suite: Suite,
    database: Path,
    *,
    scale: str = "mini",
    map_file: Path | None = None,
    flags: Flags | None = None,
    kind: str | None = None,
    dry_run: bool = False,
    command: str = "",
) -> list[ImportedFile]:
    """Import external results as trials of a suite, marked as imported; the same file again adds nothing.

    Args:
        files: tables, MLflow stores, W&B runs, folders of TensorBoard's event files, Optuna studies.
        map_file: the mapping of names; ``flags`` override it.
        kind: how to read the files; detected without it.
        dry_run: store nothing.
        command: the command line, for the record.

    Raises:
        HarnessError: a file or a name in it does not fit; nothing is stored then.
    """
    mapping = with_flags(ImportMap() if map_file is None else read_map(map_file), flags or Flags())
    target = ImportTarget.of(suite, scale)
    read = [read_file(file, mapping, target, kind) for file in files]  # all are valid before one is stored
    return store_files(read, database, command, dry_run)
