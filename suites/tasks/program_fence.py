"""A fence around a program: of the folder of all trials it may write only beneath its own; Linux's Landlock holds it.

Landlock can only allow. So what exists beside the way down to the trials' folder is allowed as it was, and on the way
itself nothing can be made, changed or removed. It is inherited by all that the program starts and cannot be left.
Source: docs.kernel.org/userspace-api/landlock.html; include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import fnmatch
import itertools
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Started = TypeVar("Started")

STORE_FILES = "*.duckdb*"
"""Beside the trials' folder: the database, its journal and its snapshot, which no program has to change."""
MOST_ENTRIES = 10_000
"""Beside the way to the trials' folder; more would take longer than a second."""
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # of every architecture
_VERSION, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_WRITE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
"""Remove a folder or a file; make a device, folder, file, socket, pipe or link."""


class _Rule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("beneath", ctypes.c_int32))


@dataclass(frozen=True, slots=True)
class Fence:
    """Where a program may write.

    Attributes:
        folder: its trial's own, in the folder of all trials.
        more: folders that it may change besides; one that is a parent of the trials' folder opens that too.
        no_fence: why everything is allowed; empty: not everything is.
    """

    folder: Path
    more: tuple[Path, ...] = ()
    no_fence: str = ""

    @property
    def open(self) -> str:
        """Why everything is allowed; empty: not everything is."""
        opened = any(len(path.resolve().parts) == 1 for path in self.more)
        return self.no_fence or ("the suite opens everything to it" if opened else "")

    def way(self) -> tuple[Path, ...]:
        """From the root to the folder of all trials."""
        trials = self.folder.resolve().parent
        return (*reversed(trials.parents), trials)

    def closes(self, path: Path) -> bool:
        """Whether nothing new can be made in a folder."""
        path = path.resolve()
        return path in self.way() and not any(path.is_relative_to(more.resolve()) for more in self.more)

    def allowed(self) -> Iterator[Path]:
        """Files and folders that it may change, with all beneath them."""
        way = self.way()
        for place, following in itertools.pairwise(way):
            try:
                entries = list(os.scandir(place))
            except OSError:
                continue  # it may be entered, not listed: nothing in it is allowed
            for entry in entries:
                store = following == way[-1] and fnmatch.fnmatch(entry.name, STORE_FILES)
                if Path(entry.path) != following and not store and not entry.is_symlink():
                    yield Path(entry.path)
        yield self.folder.resolve()
        yield from self.more


def version() -> int:
    """The version of Landlock's interface; 0 where the kernel has none or it is switched off."""
    try:
        return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))
    except (OSError, AttributeError):
        return 0


def started_within(fence: Fence, start: Callable[[], Started]) -> tuple[Started, str]:
    """What ``start`` returns, and why what it started is not fenced (empty: it is).

    ``start`` runs in a thread of its own that is restricted and then ends; a process that it starts inherits that.
    Whatever it raises is raised.
    """
    if fence.open:
        return start(), fence.open
    if not (level := version()):
        return start(), "this system has no Landlock"
    try:
        rules = _ruleset(level, fence)
    except OSError as error:
        return start(), f"Landlock: {error.strerror or error}"
    results: list[Started] = []
    troubles: list[BaseException] = []
    open_reasons: list[str] = []

    def inside() -> None:
        try:
            try:
                _restrict(rules)
            except OSError as error:
                open_reasons.append(f"Landlock: {error.strerror}")
            results.append(start())
        except BaseException as error:
            troubles.append(error)

    thread = threading.Thread(target=inside, name="fence")
    thread.start()
    thread.join()
    os.close(rules)
    if troubles:
        raise troubles[0]
    return results[0], "".join(open_reasons)


def private_temporary(fence: Fence) -> Path | None:
    """A temporary folder for a program to which the usual one is closed, else None; to be removed."""
    usual = Path(tempfile.gettempdir())
    if fence.open or not version() or not fence.closes(usual):
        return None
    return Path(tempfile.mkdtemp(prefix="h-", dir=usual))  # short: sockets have names of a hundred letters


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _called(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _ruleset(level: int, fence: Fence) -> int:
    """The descriptor of a ruleset.

    Raises:
        OSError: the kernel does not take it, or it would have too many rules.
    """
    handled = _WRITE | _REMOVE_AND_MAKE | (_REFER if level >= 2 else 0) | (_TRUNCATE if level >= 3 else 0)
    wanted = ctypes.c_uint64(handled)
    rules = _called(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(8), ctypes.c_uint32(0))
    try:
        for number, path in enumerate(fence.allowed()):
            if number > MOST_ENTRIES:
                raise OSError(0, f"more than {MOST_ENTRIES:,} entries beside {fence.folder.parent}")
            _allow(rules, path, handled)
    except BaseException:
        os.close(rules)
        raise
    return rules


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it went in the meantime, or may not be reached
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _WRITE | _TRUNCATE
        rule = _Rule(rights, descriptor)
        _called(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _restrict(rules: int) -> None:
    """Restrict this thread and all that it starts; programs that become another user need the right to let them."""
    try:
        _called(_RESTRICT_SELF, rules, ctypes.c_uint32(0))
    except PermissionError:
        _libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _called(_RESTRICT_SELF, rules, ctypes.c_uint32(0))


def hint(lines: Sequence[str], fence: Fence) -> str:
    """What to do about a program that was refused to write; empty where its last words are of other things."""
    told = ("Permission denied", "PermissionError", "cross-device link", "EACCES", "EXDEV")
    if not any(word in line for line in lines for word in told):
        return ""
    return (
        f"; it may write beneath {fence.folder} ({{folder}} in its command), not in {fence.folder.parent} nor make new "
        f"files on the way there: 'writes: [PATH]' allows more, '[/]' everything"
    )
