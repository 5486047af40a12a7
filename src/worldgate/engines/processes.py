"""Processes of this machine: each starts anew (spawn), takes one bundle at a time, and may die without taking others.

Source: ``concurrent.futures.ProcessPoolExecutor``, which breaks as a whole when one of its processes dies. Notable
choices: no more bundles are handed out than there are workers, so those that can have killed a worker are few; these
are then done one at a time in a process of their own, so that an innocent one is never blamed. Workers ignore Ctrl-C,
which the driver turns into an end, and leave when the driver is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, context
from typing import TYPE_CHECKING, Any

from worldgate.core.errors import WorldgateError
from worldgate.engines._stage import Bundle, Reply, failure, names, perform

if TYPE_CHECKING:
    from worldgate.engines import EngineConfig

CARD = {
    "line": "processes of this machine, one for each core",
    "inputs": "workers: how many",
    "source": "concurrent.futures, started by spawn",
}

ATTEMPTS = 2
"""How often a bundle may kill a process that does nothing else."""


class _Watched(context.SpawnContext):
    """Starts processes and keeps them in sight, because the executor does not say who they are."""

    def __init__(self) -> None:
        self.started: list[multiprocessing.process.BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # the context's name
        process = super().Process(*args, **kwargs)
        self.started.append(process)
        return process


class ProcessesEngine:
    """Runs bundles in local processes."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pools: dict[int, tuple[ProcessPoolExecutor, _Watched]] = {}

    def run(self, bundles: Sequence[Bundle]) -> Iterator[tuple[int, tuple[Reply, ...]]]:
        """Bundles as they finish."""
        waiting = deque(range(len(bundles)))
        running: dict[Future[tuple[Reply, ...]], int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    index = waiting.popleft()
                    running[self._submit(bundles[index], self._workers)] = index
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                    done, _ = wait(running)  # the others of a broken pool end at once
                suspects = []
                for future in done:
                    index = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(index)
                    else:
                        yield index, future.result()
                for index in suspects:
                    yield index, self._alone(bundles[index])
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """Let the processes end."""
        for pool, _ in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self._pools.clear()

    def _submit(self, bundle: Bundle, workers: int) -> Future[tuple[Reply, ...]]:
        try:
            return self._pool(workers).submit(perform, bundle)
        except BrokenProcessPool:  # a process died while it had nothing to do
            self._drop(workers)
            return self._pool(workers).submit(perform, bundle)

    def _alone(self, bundle: Bundle) -> tuple[Reply, ...]:
        """Do a bundle in a process that does nothing else; what kills that as well fails by name."""
        ended: list[int | None] = []
        for _ in range(ATTEMPTS):
            future = self._submit(bundle, 1)
            try:
                return future.result()
            except BrokenProcessPool:
                ended = self._drop(1)
        how = next((f"signal {-code}" if code < 0 else f"exit code {code}" for code in ended if code), "unknown")
        hint = "signal 9 is often the kernel's word for no memory left; fewer workers may do"
        died = WorldgateError("this input kills its worker", got=how, hint=hint)
        return tuple((failure(died, name=name), {}) for name in names(bundle))

    def _pool(self, workers: int) -> ProcessPoolExecutor:
        if workers not in self._pools:
            watched = _Watched()
            pool = ProcessPoolExecutor(workers, mp_context=watched, initializer=_prepare)
            self._pools[workers] = (pool, watched)
        return self._pools[workers][0]

    def _drop(self, workers: int) -> list[int | None]:
        """Forget a pool that broke; how its processes ended."""
        pool, watched = self._pools.pop(workers)
        pool.shutdown(wait=True, cancel_futures=True)
        return [process.exitcode for process in watched.started]

    def _stop(self) -> None:
        """End at once: what runs is lost, what was reported is not."""
        for pool, watched in self._pools.values():
            for process in watched.started:
                if process.is_alive():
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
        self._pools.clear()


def _prepare() -> None:
    """Leave Ctrl-C to the driver, and go when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def start(config: EngineConfig) -> ProcessesEngine:
    """Start it with as many workers as there are cores, unless the configuration says how many."""
    return ProcessesEngine(config.workers or os.cpu_count() or 1)
