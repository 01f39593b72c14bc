"""A small cache on disk: what was computed from a text is kept under the text's checksum, so it can never be stale."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

from harness.data.roots import cache_root
from harness.trial.files import replacing


class Memory:
    """Values of one kind by the bytes that they were computed from; one file, read once, written at ``save``.

    ``version`` names how values are computed: another one never meets them. What cannot be read or written is
    computed again.
    """

    def __init__(self, kind: str, version: str) -> None:
        self._kind, self._version = kind, version
        self._values: dict[str, Any] | None = None
        self._changed = False

    def key(self, content: bytes) -> str:
        """The checksum under which a value is kept."""
        return hashlib.sha256(self._version.encode() + b"\0" + content).hexdigest()

    def get(self, key: str) -> Any | None:
        """The value, or None."""
        if self._values is None:
            try:
                self._values = json.loads((cache_root() / f"{self._kind}.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                self._values = {}
        return self._values.get(key) if isinstance(self._values, dict) else None

    def put(self, key: str, value: Any) -> None:
        """Keep a value (plain data) until ``save``."""
        if self._values is None:
            self.get(key)
        if isinstance(self._values, dict):
            self._values[key] = value
            self._changed = True

    def save(self, most: int = 2000) -> None:
        """Write what is new; of more than ``most`` values the oldest are dropped."""
        if not self._changed or not isinstance(self._values, dict):
            return
        self._changed = False
        path = cache_root() / f"{self._kind}.json"
        kept = dict(list(self._values.items())[-most:])
        with contextlib.suppress(OSError), replacing(path) as part:
            part.write_text(json.dumps(kept), encoding="utf-8")
