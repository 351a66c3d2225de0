import contextlib
import math
import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from headstitch.backend.errors import ResourceError
from headstitch.backend.training import workers
from headstitch.backend.training.workers import default_workers, in_order


def test_results_come_in_the_order_of_the_jobs():
    jobs = range(1, 30)
    with contextlib.closing(in_order(math.sqrt, jobs, 2)) as results:
        assert list(results) == [math.sqrt(job) for job in jobs]
    assert list(in_order(math.sqrt, [4, 9], 0)) == [2, 3]


def test_a_workers_error_is_raised_here_and_a_dead_worker_is_a_sentence():
    with pytest.raises(ZeroDivisionError):
        list(in_order(partial(operator.truediv, 1), [1, 0], 1))
    with pytest.raises(ResourceError, match="give fewer --workers, and run it again"):
        list(in_order(os._exit, [3], 1))


def test_workers_have_one_thread_each_and_the_callers_environment_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    assert list(in_order(os.getenv, names, 1)) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_no_more_workers_than_the_memory_bears(monkeypatch):
    for free, count in ((1 << 20, 1), (5 << 30, 2), (1 << 45, os.cpu_count())):
        monkeypatch.setattr(workers, "available_memory", lambda free=free: (free, "this machine"))
        assert 1 <= default_workers() <= count
    monkeypatch.setattr("headstitch.backend.system._kernel_memory", lambda: (1 << 20, "this machine"))
    with pytest.raises(ResourceError, match="give a smaller --workers"):
        list(in_order(math.sqrt, [4], 2))


SLEEPERS = """
import contextlib, time, multiprocessing, sys
from headstitch.backend.training import workers
from headstitch.backend.training.workers import default_workers, in_order
if __name__ == "__main__":
    with contextlib.closing(in_order(time.sleep, [0, 300, 300], 2)) as results:
        next(results)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        next(results)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_one_it_works_for(tmp_path, how):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = [int(number) for number in process.stdout.readline().split()]
    assert workers
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: to all of them
    else:
        process.kill()
    _, said = process.communicate(timeout=60)
    assert "Process SpawnProcess" not in said
    end = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not _is_dead(process)


def _is_dead(process):
    """Whether it only waits for its parent to notice; Linux tells."""
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False
