"""Worker processes that fill a ring of batches in memory they share with the caller.

Processes are spawned, never forked: the caller may hold threads, a GPU or open decoders. The ring is anonymous shared
memory, so nothing is left behind when everything is killed. A worker that dies is an error that says so, a caller that
dies ends its workers, and which worker fills a clip has no influence on what is in it. Where frames are decoded span by
span, a batch is filled by several: each span belongs to one worker.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Final

import cv2
import numpy as np

from worldgate.core.errors import Tampered, WorldgateError
from worldgate.core.streams import ByteArray, FloatArray
from worldgate.data.loader import readers
from worldgate.data.loader.batches import Arrays, Layout
from worldgate.data.loader.filling import Filler, Task

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    slot: int
    error: WorldgateError | None = None
    trace: str = ""
    """Of an error that is ours, not the data's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """An array in shared memory."""

    memory: Any
    shape: tuple[int, ...]

    @classmethod
    def of(cls, context: SpawnContext, array: FloatArray) -> _Table:
        table = cls(memory=context.RawArray("B", max(array.nbytes, 1)), shape=array.shape)
        table.view()[...] = array
        return table

    def view(self) -> FloatArray:
        count = int(np.prod(self.shape)) * 4
        return np.frombuffer(self.memory, np.uint8)[:count].view(np.float32).reshape(self.shape)


@dataclass(slots=True)
class _Worker:
    number: int
    process: SpawnProcess
    pipe: Connection[Any, Any]
    at_work: int = 0


class Pool:
    """Workers and the ring they fill.

    Args:
        filler: what fills a batch.
        layout: where a batch's arrays lie.
        workers: processes, at least one.
        ahead: batches that each worker may be ahead of the caller.
        keep: batches that are valid at once: the one just taken, and those before it.
        mend: makes a damaged file of the clip cache again.
    """

    def __init__(
        self, filler: Filler, layout: Layout, *, workers: int, ahead: int, keep: int, mend: Callable[[Tampered], None]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        slots = workers * ahead + keep
        memory = context.RawArray("B", layout.nbytes * slots)
        self._slots = [layout.views(block) for block in _blocks(memory, layout)]
        self._free = deque(range(slots))
        self._keep, self._mend = keep, mend
        self._busy: dict[tuple[int, int], Task] = {}  # slot and worker: a batch may have a part for each worker
        self._mended: dict[tuple[int, int], set[object]] = {}
        tables = {name: _Table.of(context, table) for name, table in filler.numbers.items()}
        bare = replace(filler, numbers={})
        self._workers: list[_Worker] = []
        for number in range(workers):
            here, there = context.Pipe()
            arguments = (there, bare, tables, layout, memory)
            process = context.Process(target=_work, args=arguments, daemon=True, name="worldgate-clips")
            process.start()
            there.close()
            self._workers.append(_Worker(number=number, process=process, pipe=here))

    def filled(self, tasks: Iterator[Task]) -> Iterator[Arrays]:
        """Each task's arrays, in the order of the tasks.

        Raises:
            WorldgateError: what a worker met, or that one died.
        """
        queue: deque[int] = deque()  # slots at work or ready, in the order of their batches
        held: deque[int] = deque()  # slots that the caller may still look at
        try:
            self._issue(tasks, queue)
            while queue:
                while self._at_work(queue[0]):
                    self._collect()
                held.append(queue.popleft())
                yield self._slots[held[-1]]
                if len(held) >= self._keep:
                    self._free.append(held.popleft())
                self._issue(tasks, queue)
        finally:
            while self._workers and any(self._at_work(slot) for slot in queue):
                self._collect()
            self._free.extend((*queue, *held))

    def _at_work(self, slot: int) -> bool:
        return any((slot, worker.number) in self._busy for worker in self._workers)

    def _issue(self, tasks: Iterator[Task], queue: deque[int]) -> None:
        while self._free and (task := next(tasks, None)) is not None:
            slot = self._free.popleft()
            queue.append(slot)
            for number, part in task.parts(len(self._workers)):
                idlest = min(self._workers, key=lambda worker: worker.at_work)
                self._send(slot, part, idlest if number is None else self._workers[number])

    def _send(self, slot: int, task: Task, worker: _Worker, *, anew: bool = False) -> None:
        """Give a task away; ``anew``: to a worker that is to open its files again."""
        try:
            worker.pipe.send((slot, task, anew))
        except OSError as error:
            raise self._died(worker) from error
        worker.at_work += 1
        self._busy[slot, worker.number] = task

    def _collect(self) -> None:
        """Wait for workers to say something, or to die."""
        found = wait([*(w.pipe for w in self._workers), *(w.process.sentinel for w in self._workers)])
        for worker in list(self._workers):
            if worker.pipe in found:
                try:
                    reply = worker.pipe.recv()
                except (EOFError, OSError) as error:
                    raise self._died(worker) from error
                self._settle(worker, reply)
            elif worker.process.sentinel in found:
                raise self._died(worker)

    def _settle(self, worker: _Worker, reply: _Reply) -> None:
        key = (reply.slot, worker.number)
        task = self._busy.pop(key)
        worker.at_work -= 1
        mended = self._mended.pop(key, set())
        if isinstance(reply.error, Tampered) and reply.error.where not in mended:
            self._mend(reply.error)
            self._mended[key] = {*mended, reply.error.where}
            self._send(reply.slot, task, worker, anew=True)
        elif reply.error is not None:
            raise reply.error
        elif reply.trace:
            self.close()
            raise WorldgateError("a worker of the clip loader failed", got=reply.trace)

    def _died(self, worker: _Worker) -> WorldgateError:
        worker.process.join(_PATIENCE_S)
        code = worker.process.exitcode
        self.close()
        return WorldgateError(
            "a worker of the clip loader died",
            got=f"exit code {code}" if code is None or code >= 0 else f"signal {signal.Signals(-code).name}",
            hint="fewer workers, if memory ran out; the same state resumes at the batch that was not served",
        )

    def close(self) -> None:
        """End the workers."""
        workers, self._workers = self._workers, []
        self._busy.clear()
        for worker in workers:
            worker.pipe.close()  # which is how a worker learns that it is over
        for worker in workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _blocks(memory: Any, layout: Layout) -> ByteArray:
    """(slots, bytes of a batch) over the ring."""
    return np.frombuffer(memory, np.uint8).reshape(-1, layout.nbytes)


def _work(
    pipe: Connection[Any, Any], filler: Filler, tables: Mapping[str, _Table], layout: Layout, memory: Any
) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to answer
    cv2.setNumThreads(1)
    whole = replace(filler, numbers={name: table.view() for name, table in tables.items()})
    slots = [layout.views(block) for block in _blocks(memory, layout)]
    while True:
        try:
            slot, task, anew = pipe.recv()
        except (EOFError, OSError):
            return
        if anew:
            readers.forget()
        reply = _fill(whole, slots[slot], slot, task)
        try:
            pipe.send(reply)
        except OSError:
            return


def _fill(filler: Filler, out: Arrays, slot: int, task: Task) -> _Reply:
    try:
        filler.fill(out, task)
    except WorldgateError as error:
        return _Reply(slot=slot, error=error)
    except Exception:  # whatever it is, the caller must learn of it
        return _Reply(slot=slot, trace=traceback.format_exc(limit=-3))
    return _Reply(slot=slot)
