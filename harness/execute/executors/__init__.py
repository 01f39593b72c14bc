"""Where trials run: in this process (``inline``) or as Ray tasks (``ray``), behind one interface."""

from collections.abc import Callable, Mapping

from harness.execute.executors.base import Executor as Executor
from harness.execute.executors.base import ExecutorOptions as ExecutorOptions
from harness.execute.executors.base import Progress as Progress
from harness.execute.executors.cluster import RayExecutor as RayExecutor
from harness.execute.executors.inline import InlineExecutor as InlineExecutor

EXECUTORS: Mapping[str, Callable[[ExecutorOptions], Executor]] = {"ray": RayExecutor, "inline": InlineExecutor}
"""Every executor by the name that ``--executor`` takes; the first is the default."""
