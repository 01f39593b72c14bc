"""The queue agrees with a scan over all waiting jobs."""

import random
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from harness.execute.queue import JobQueue
from harness.execute.worker import Job


def job(number: int, needs: tuple[int, ...]) -> Job:
    return Job(str(number), "b", str(number), cast(Any, None), Path(str(number)), needs=tuple(map(str, needs)))


class Scan:
    """The rule in its plainest form: the first waiting job none of whose needs is queued or running."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.open: set[str] = set()

    def add(self, jobs: list[Job]) -> None:
        self.waiting += jobs
        self.open |= {job.trial_id for job in jobs}

    def first(self) -> Job | None:
        return next((job for job in self.waiting if not self.open & set(job.needs)), None)

    def failed(self, trial_id: str) -> list[Job]:
        self.open.discard(trial_id)
        gone = [job for job in self.waiting if trial_id in job.needs]
        self.waiting = [job for job in self.waiting if job not in gone]
        self.open -= {job.trial_id for job in gone}
        return gone


@given(seed=st.integers(0, 10_000), count=st.integers(1, 14))
def test_it_is_the_scan(seed: int, count: int) -> None:
    chance = random.Random(seed)
    jobs = [job(n, tuple(chance.sample(range(n), min(n, chance.randint(0, 2))))) for n in range(count)]
    queue, scan = JobQueue(), Scan()
    cut = chance.randint(0, count)
    for batch in (jobs[:cut], jobs[cut:]):
        queue.add(batch)
        scan.add(batch)
    running: list[Job] = []
    while queue or running:
        assert queue.first() is scan.first()
        if queue.first() is not None and chance.random() < 0.5:
            taken = queue.take()
            scan.waiting.remove(taken)
            running.append(taken)
        elif running:
            ended = running.pop(chance.randrange(len(running)))
            how = chance.choice(["done", "done", "failed", "again"])
            if how == "again":
                queue.again(ended)
                scan.waiting.insert(0, ended)
            elif how == "done":
                queue.ended(ended.trial_id)
                scan.open.discard(ended.trial_id)
            else:
                lost, also = [ended], [ended]
                while lost:
                    failed = lost.pop()
                    gone = queue.failed(failed.trial_id)
                    assert gone == scan.failed(failed.trial_id)
                    lost += gone
                    also += gone
        elif queue.first() is None:
            break
    assert not scan.waiting
    assert not queue
