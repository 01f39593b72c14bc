"""Loading a Python file that is in no package (a user's own method)."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from harness.errors import HarnessError


def load_file(path: Path) -> ModuleType:
    """The module of a file, run once per process; its folder is importable while it runs.

    Raises:
        HarnessError: it is no Python file, or running it fails.
    """
    name = f"own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise HarnessError(f"{path} does not run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module
