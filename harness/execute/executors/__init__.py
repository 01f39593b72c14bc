"""Executors of trials: this process (``inline``) or Ray tasks (``ray``), with one interface."""

from collections.abc import Callable, Mapping

from harness.execute.executors.base import Executor as Executor
from harness.execute.executors.base import ExecutorOptions as ExecutorOptions
from harness.execute.executors.base import InlineExecutor as InlineExecutor
from harness.execute.executors.base import Progress as Progress
from harness.execute.executors.cluster import RayExecutor as RayExecutor

EXECUTORS: Mapping[str, Callable[[ExecutorOptions], Executor]] = {"ray": RayExecutor, "inline": InlineExecutor}
"""Every executor by the name that ``--executor`` takes; the first is the default."""
