"""Where trials run: in this process (``inline``) or as Ray tasks (``ray``), behind one interface."""

from harness.execute.executors.base import Executor as Executor
from harness.execute.executors.base import Progress as Progress
from harness.execute.executors.inline import InlineExecutor as InlineExecutor
