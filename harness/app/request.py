"""Requests of commands: where, how and which trials run."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypedDict, Unpack

from harness.execute.dispatch import Policy
from harness.execute.executors import EXECUTORS, Executor, ExecutorOptions
from harness.plan.planning import Selection
from harness.plan.selecting import Chosen
from harness.registry.user_methods import UserMethod
from harness.store import StorePaths


class SharedExecutor:
    """The executor of one command, created for its first trial."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._executor: Executor | None = None

    def get(self, name: str, options: ExecutorOptions) -> Executor:
        """Return the executor, created where there is none yet.

        Raises:
            HarnessError: it cannot be started.
        """
        if self._executor is None:
            self._executor = EXECUTORS[name](options)
            self._stack.callback(self._executor.shutdown)
        return self._executor


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """Options that ``harness run`` and ``harness sweep`` share.

    Attributes:
        database: the store; artifacts of trials lie in the folder ``artifacts`` beside it.
        executor: a name in ``EXECUTORS``.
        own_methods: from a user's file, which workers register again.
        memory_per_trial: limit in MiB above which a trial is killed; None: no limit but the machine's.
        command: the command line, for the record.
        shared: the executor of several suites; None: each session starts and ends its own.
    """

    database: Path
    executor: str = field(default="ray", kw_only=True)
    address: str | None = field(default=None, kw_only=True)
    gpus_per_trial: float | None = field(default=None, kw_only=True)
    memory_per_trial: float | None = field(default=None, kw_only=True)
    own_methods: tuple[UserMethod, ...] = field(default=(), kw_only=True)
    command: str = field(default="", kw_only=True)
    shared: SharedExecutor | None = field(default=None, kw_only=True)

    @property
    def artifacts(self) -> Path:
        return StorePaths.of(self.database).artifacts

    @property
    def executor_options(self) -> ExecutorOptions:
        paths = StorePaths.of(self.database)
        return ExecutorOptions(paths.sessions, self.address, self.gpus_per_trial)


class RunOptions(TypedDict, total=False):
    """The options of ``harness run`` and ``harness.run`` that select nothing; see :class:`Request`."""

    executor: str
    address: str | None
    gpus_per_trial: float | None
    memory_per_trial: float | None
    time_budget: float | None
    tuned: bool
    exclusive: bool
    fail_fast: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Request(SessionRequest):
    """A run of a suite.

    Attributes:
        time_budget: seconds after which no further trial begins.
        tuned: also tune the arms of the suite's ``tuned:`` claims.
        force: delete the plan's stored results first, so that all its trials run.
    """

    selection: Selection = field(default_factory=Selection)
    time_budget: float | None = None
    tuned: bool = False
    exclusive: bool = False
    fail_fast: bool = False
    force: bool = False

    @property
    def policy(self) -> Policy:
        return Policy(fail_fast=self.fail_fast, exclusive=self.exclusive)

    @classmethod
    def of(cls, database: Path, chosen: Chosen, command: str, **options: Unpack[RunOptions]) -> Self:
        """The request of a command line or of a call from Python."""
        return cls(database, selection=chosen.selection, own_methods=chosen.methods, command=command, **options)
