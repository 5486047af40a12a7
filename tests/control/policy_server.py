"""A policy server that speaks openpi's protocol, with faults on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

CHUNK, WIDTH = 4, 2


def packed(value):
    """As openpi's own ``msgpack_numpy`` does it."""
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


def unpacked(tree):
    if b"__ndarray__" in tree:
        return np.ndarray(buffer=tree[b"data"], dtype=np.dtype(tree[b"dtype"]), shape=tree[b"shape"])
    return tree


class Server:
    """What it says, and what it was asked."""

    def __init__(self) -> None:
        self.metadata = {"model": "pi0", "action_horizon": CHUNK}
        self.asked: list[dict[str, object]] = []
        self.fault = ""
        self.headers: list[object] = []

    def __call__(self, socket: ServerConnection) -> None:
        self.headers.append(socket.request.headers.get("Authorization"))
        socket.send(msgpack.packb(self.metadata))
        try:
            while True:
                seen = msgpack.unpackb(socket.recv(), object_hook=unpacked)
                self.asked.append(seen)
                self.answer(socket, seen)
        except ConnectionClosed:
            return

    def answer(self, socket: ServerConnection, seen: dict[str, np.ndarray]) -> None:
        first = np.asarray(seen["observation/state"]).reshape(-1)[:WIDTH]
        actions = (first + np.arange(CHUNK)[:, None]).astype(np.float32)
        if self.fault == "slow":
            time.sleep(0.6)
        if self.fault == "error":
            socket.send("Traceback (most recent call last):\nKeyError: 'observation/image'")
            return
        if self.fault == "garbage":
            socket.send(b"\xc1\xc1")
            return
        bad = {"nan": actions * np.nan, "shape": actions[:-1], "none": None, "text": "go"}
        body = {"actions": bad.get(self.fault, actions), "server_timing": {"infer_ms": np.float64(1.5)}}
        data = msgpack.packb(body, default=packed)
        if self.fault == "object":
            data = data.replace(b"<f4", b"|O8")
        if self.fault == "longer":
            data = data.replace(msgpack.packb(actions.shape), msgpack.packb((CHUNK + 1, WIDTH)))
        socket.send(data)


@contextmanager
def running() -> Iterator[tuple[Server, str]]:
    """A server at work, and its address."""
    server = Server()
    with serve(server, "127.0.0.1", 0, compression=None) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield server, f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        finally:
            listening.shutdown()
            thread.join()
