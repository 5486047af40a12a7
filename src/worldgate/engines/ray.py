"""A Ray cluster: one that runs already, or one started on this machine for as long as the work takes.

Source: https://docs.ray.io. Notable choices: Ray gives a bundle to another worker when the process or the node it ran
on dies; results come back to the driver, which keeps them, so nothing needs a shared folder but the store. Workers read
the store, so a cluster of several machines needs one that all of them see: a bucket, or a shared file system.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from worldgate.core.errors import WorldgateError
from worldgate.engines._stage import Bundle, Reply, failure, names, perform

if TYPE_CHECKING:
    from worldgate.engines import EngineConfig

CARD = {
    "line": "a Ray cluster, running or started for the occasion",
    "inputs": "address: of a running cluster; workers: how many bundles at once",
    "needs": "ray",
    "source": "https://docs.ray.io",
}

_ANSWER_S = 10.0

RETRIES = 2
"""How often a bundle whose worker died is given to another."""


class RayEngine:
    """Runs bundles as Ray tasks."""

    def __init__(self, *, address: str, workers: int) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            _refuse_absent(address)
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
            # A cluster that runs has its own number of cores; one that is started gets ours.
            where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers or None}
            try:
                ray.init(**where, **quiet, include_dashboard=None if address else False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise _absent(address or "here", error) from error
        held: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray's own
        self._workers = workers or max(1, int(held.get("CPU", 1)))
        self._task = ray.remote(max_retries=RETRIES, num_cpus=1)(perform)

    def run(self, bundles: Sequence[Bundle]) -> Iterator[tuple[int, tuple[Reply, ...]]]:
        """Bundles as they finish."""
        waiting = deque(range(len(bundles)))
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    index = waiting.popleft()
                    running[self._task.remote(bundles[index])] = index
                (done,), _ = ray.wait(list(running), num_returns=1)
                index = running.pop(done)
                yield index, _replies(done, bundles[index])
        finally:
            for reference in running if ray.is_initialized() else ():
                ray.cancel(reference, force=True)

    def close(self) -> None:
        """Stop the cluster, if it was started here."""
        if self._ours and ray.is_initialized():
            ray.shutdown()


def _refuse_absent(address: str) -> None:
    """Ask before Ray does, which waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        except OSError as error:
            raise _absent(address, error) from error


def _absent(address: str, error: Exception) -> WorldgateError:
    return WorldgateError("no Ray cluster answers", got=error, where=address, hint="ray status")


def _replies(reference: Any, bundle: Bundle) -> tuple[Reply, ...]:
    try:
        replies: tuple[Reply, ...] = ray.get(reference)
    except RayError as error:  # its workers died, or its node left
        lost = WorldgateError("no worker lived through this input", got=type(error).__name__, hint="ray status")
        return tuple((failure(lost, name=name), {}) for name in names(bundle))
    return replies


def start(config: EngineConfig) -> RayEngine:
    """Connect to the cluster, or start one.

    Raises:
        WorldgateError: no cluster at this address.
    """
    return RayEngine(address=config.address, workers=config.workers)
