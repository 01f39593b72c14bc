"""Optional packages, imported where they are used."""

import logging
import os
from importlib import import_module
from types import ModuleType
from typing import Any

from harness.errors import HarnessError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional package; HarnessError names the ``extra`` that installs it.

    Args:
        purpose: what needs it, for the message.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise HarnessError(f"{purpose} needs {package}: pip install 'paper-harness[{extra}]'") from None


def mlflow_client(uri: str) -> Any:
    """A client of an MLflow store that sends nothing anywhere.

    Raises:
        HarnessError: MLflow is not installed.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every table that it creates
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return require("mlflow", "trackers", "an MLflow store").MlflowClient(tracking_uri=uri)
