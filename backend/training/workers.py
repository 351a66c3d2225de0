"""Several processes for one long list of jobs: results in the order of the jobs, no process left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ..errors import ResourceError
from ..system import available_memory, check_memory

NEEDED = 2000 << 20  # bytes that a worker takes
_AHEAD = 4  # jobs a worker that may be finished before the first in the order is
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_workers() -> int:
    """As many as this process may use cores, or fewer where the memory bears no more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = available_memory()
    return cores if memory is None else max(1, min(cores, memory[0] // NEEDED))


def in_order(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Generator[Result, None, None]:
    """``function`` of every job, in their order, by so many processes of one thread each.

    Every process starts fresh (spawn), with the same environment, so that the number of workers changes no result. A
    worker ends with this process, also when that is killed.

    Close the generator (``contextlib.closing``) to end the workers early.

    Args:
        function: a module's, for it is found by its name; its errors are raised here.
        jobs: what is pickled to the workers; taken as they are needed.
        workers: 0 runs the jobs in this very process.

    Raises:
        ResourceError: there is not the memory for so many, or a worker was killed.
    """
    if workers == 0:
        yield from map(function, jobs)
        return
    check_memory(workers * NEEDED, "--workers")
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (watched,))
    waiting: deque[Future[Result]] = deque()
    source = iter(jobs)
    try:
        while True:
            while len(waiting) < _AHEAD * workers and (job := next(source, _NONE)) is not _NONE:
                with _quiet_start():
                    waiting.append(pool.submit(function, job))  # pyright: ignore[reportArgumentType]
            if not waiting:
                break
            yield waiting.popleft().result()
        pool.shutdown(wait=True)  # all is done: workers may end in their own way
    except BrokenProcessPool as error:
        raise ResourceError(
            "A worker process was ended from outside, most likely because the memory ran out; close other programs, "
            "or give fewer --workers, and run it again."
        ) from error
    finally:
        held.close()  # whoever still works ends now
        pool.shutdown(wait=True, cancel_futures=True)
        watched.close()


_NONE: Any = object()


def _begin(watched: Connection) -> None:
    """What a worker does first: watch whether it is still wanted."""

    def end() -> None:
        with contextlib.suppress(OSError, EOFError):
            watched.poll(None)  # nothing ever comes but the end
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Within it a process that starts has one thread, and leaves Ctrl-C to this one."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    masked = hasattr(signal, "pthread_sigmask") and threading.current_thread() is threading.main_thread()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else None
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
