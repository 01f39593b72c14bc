"""Where trials run: in this process (``inline``) or as Ray tasks (``ray``), behind one interface."""

from harness.executors.base import Executor as Executor
from harness.executors.base import Progress as Progress
from harness.executors.inline import InlineExecutor as InlineExecutor
