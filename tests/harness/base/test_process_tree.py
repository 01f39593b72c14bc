"""Processes with all that they have started."""

import os
import subprocess
import sys

import psutil
import pytest
from waiting import until

from harness.base import process_tree

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


def start_family() -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """A process in its own session, and its child."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def test_a_tree_is_found_and_ended_whole() -> None:
    parent, child = start_family()
    assert [process.pid for process in process_tree.tree(parent.pid)] == [parent.pid, child.pid]
    assert {process.pid for process in process_tree.group(parent.pid)} == {parent.pid, child.pid}
    assert child in process_tree.below()
    assert process_tree.end([psutil.Process(parent.pid)]) == 2
    parent.wait()
    until(lambda: not process_tree.is_alive(child))
    assert process_tree.tree(parent.pid) == []
    assert process_tree.below(parent.pid) == []


def test_memory_is_that_of_the_processes() -> None:
    own = [psutil.Process()]
    resident = own[0].memory_info().rss / 2**20
    assert process_tree.held_mib(own, 1e9) == pytest.approx(resident, rel=0.2)
    assert 0 < process_tree.held_mib(own, 0.0) <= resident * 1.2


@pytest.mark.parametrize("kept", [False, True])
def test_children_end_with_their_block(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    environment = {**os.environ, **({process_tree.KEPT: "1"} if kept else {})}
    with process_tree.ending_children():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
        process = psutil.Process(child.pid)
        until(lambda: process.cmdline()[1:2] == ["-c"])
    assert process_tree.is_alive(process) is kept
    child.kill()
    child.wait()
