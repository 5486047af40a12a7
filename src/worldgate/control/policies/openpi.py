"""openpi: policies behind its policy server (pi0, pi0-FAST, pi0.5), over a websocket.

Its users run the model on a machine with a GPU by ``scripts/serve_policy.py`` and ask it from the robot; this is the
robot's side, in the protocol of its own client: MessagePack with arrays, first the server's metadata, then for each
observation a chunk of actions. Source: https://github.com/Physical-Intelligence/openpi, ``docs/remote_inference.md``.

A release names what the server said of itself when it was registered, the streams, the prompt, the chunk and the rate;
at each reset the server must say the same again. What its weights are cannot be seen from here: ``checkpoint`` is what
the operator states, and no more. The server normalises, resizes pictures and holds the statistics. Where it is stands
in no release: the environment variable ``OPENPI_SERVER`` says it, ``OPENPI_API_KEY`` a key where it asks for one.

Notable choices: an answer counts only as (K, A) finite numbers of the announced chunk, within the time allowed and
16 MiB; after anything else the connection is closed, so that no answer is taken for another's.

Shape legend: K actions of a chunk, A action channels, H x W pixels.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from worldgate.control.policies._msgpack import pack, unpack
from worldgate.control.policies._release import WEIGHTS, Fitted, file_text, read_tensors
from worldgate.core.digest import canonical, to_json
from worldgate.core.errors import DataRefused, UsageError, WeightsRefused, WorldgateError
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation, Signal
from worldgate.fleet.releases import Controller, Release

CARD = {
    "line": "a policy behind an openpi server: pi0 and its kin, asked over a websocket",
    "inputs": "what the server asks for: numbers, colour cameras, a prompt",
    "needs": "openpi",
    "source": "https://github.com/Physical-Intelligence/openpi, docs/remote_inference.md",
}

SERVER, KEY = "OPENPI_SERVER", "OPENPI_API_KEY"
"""Environment variables."""
_HERE = "ws://127.0.0.1:8000"
_LARGEST = 2**24
"""Bytes of an answer."""


def describe(
    observation: Mapping[str, Signal],
    action: Signal,
    *,
    prompt: str,
    controller: Controller,
    checkpoint: str = "",
    timeout_s: float = 5.0,
) -> Fitted:
    """What is served now, ready to become a release; the server is asked for its metadata.

    Args:
        observation: the server's key -> the stream that is sent under it, such as ``observation/image``.
        action: what it answers.
        prompt: the instruction that is sent along; empty: each run is told its own.
        controller: rate, convention, the chunk that it answers and how much of it is executed.
        checkpoint: what the operator states about the weights that are served.
        timeout_s: longest wait for an answer.

    Raises:
        WorldgateError: no server answers.
        DataRefused: an answer that is none.
    """
    with _Line(timeout_s) as line:
        metadata = line.metadata
    about = {"metadata": metadata, "checkpoint": checkpoint, "keys": {s.name: key for key, s in observation.items()}}
    signals = (*observation.values(), action)
    still = {
        s.name: Statistics(mean=(0.0,) * s.shape[0], std=(1.0,) * s.shape[0]) for s in signals if len(s.shape) == 1
    }
    return Fitted(
        policy="openpi",
        tensors={"chunk": np.array([controller.chunk, *action.shape], np.int64)},
        about={"openpi": canonical(to_json(about)).decode()},
        normaliser=Normaliser(streams=still),
        observation=tuple(observation.values()),
        action=action,
        controller=controller,
        pre={"prompt": prompt},
        post={"timeout_s": timeout_s},
    )


class OpenPiPolicy:
    """Fulfils :class:`worldgate.core.worlds.Policy`; connects at the first reset or action.

    Args:
        release: the executable identity.
        weights: its one file, which holds no weights but what the server said of itself.

    Raises:
        WeightsRefused: another file.
    """

    def __init__(self, release: Release, weights: Mapping[str, bytes]) -> None:
        tensors = read_tensors(weights)
        wanted = (release.controller.chunk, *release.action.shape)
        if set(tensors) != {"chunk"} or tuple(tensors["chunk"].tolist()) != wanted:
            raise WeightsRefused("not what an openpi server is described by", got=", ".join(sorted(tensors))[:80])
        try:
            self._about: dict[str, Any] = json.loads(file_text(weights)["openpi"])
            self._keys = {s.name: str(self._about["keys"][s.name]) for s in release.observation}
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsRefused("not what an openpi server is described by", got=error, where=WEIGHTS) from error
        self._release, self._line = release, _Line(float(release.post["timeout_s"]))
        self._queue: deque[FloatArray] = deque()
        self._prompt = str(release.pre["prompt"])

    @property
    def digest(self) -> str:
        return self._release.digest

    def reset(self, *, seed: int) -> None:
        """Forget what was planned and ask the server who it is; its chance is its own.

        Raises:
            WorldgateError: no server answers.
            DataRefused: it is another one than the release names.
        """
        self._queue.clear()
        self._prompt = str(self._release.pre["prompt"])
        self._line.close()
        self._open()

    @property
    def own_instruction(self) -> str:
        """What the release always asks for; empty: it must be told."""
        return str(self._release.pre["prompt"])

    def tell(self, text: str) -> None:
        """See :class:`worldgate.core.tasks.InstructedPolicy`; for a release without a prompt of its own."""
        if self.own_instruction:
            hint = self.own_instruction
            raise UsageError("this release has an instruction of its own", got=text[:80], hint=hint)
        self._prompt = text

    def act(self, observation: Observation) -> FloatArray:
        """(A,), in the action's unit.

        Raises:
            DataRefused: an observation that does not fit, or an answer that is none.
            WorldgateError: the server is gone, or too slow.
        """
        sent = self._sent(observation)
        if not self._queue:
            self._queue.extend(self._asked(sent)[: self._release.controller.execute])
        return self._queue.popleft()

    def plan(self, observation: Observation) -> FloatArray:
        """(K, A) a whole chunk; nothing of it is kept."""
        return self._asked(self._sent(observation))

    def _sent(self, observation: Observation) -> dict[str, Any]:
        if not self._prompt:
            raise UsageError("this release was not told what to do", got="no prompt", hint="tell(text) before act()")
        sent: dict[str, Any] = {"prompt": self._prompt}
        for signal in self._release.observation:
            held = np.asarray(observation.get(signal.name, ()))
            if held.shape != signal.shape or (len(signal.shape) == 3) != (held.dtype == np.uint8):
                got = f"{held.dtype} {held.shape}" if held.size else "nothing"
                raise DataRefused("not the observation this release reads", got=got, where=signal.name)
            if not np.isfinite(held).all():
                raise DataRefused("an observation that is not finite", got=held, where=signal.name)
            sent[self._keys[signal.name]] = held
        return sent

    def _open(self) -> None:
        self._line.open()
        if to_json(self._line.metadata) != self._about["metadata"]:
            self._line.close()
            got = canonical(to_json(self._line.metadata)).decode()[:120]
            raise DataRefused("the server is not the one that this release names", got=got, where=self._line.where)

    def _asked(self, sent: dict[str, Any]) -> FloatArray:
        if not self._line.is_open:
            self._open()
        answer = self._line.ask(sent)
        actions = answer.get("actions") if isinstance(answer, dict) else None
        wanted = (self._release.controller.chunk, *self._release.action.shape)
        numbers = isinstance(actions, np.ndarray) and actions.shape == wanted and bool(np.isfinite(actions).all())
        if not numbers:
            self._line.close()
            got = getattr(actions, "shape", type(actions).__name__)
            raise DataRefused("not a chunk of finite actions", got=got, where=self._line.where, hint=f"{wanted}")
        return np.asarray(actions, np.float64)


class _Line:
    """A connection to a server; closed by anything that is not an answer."""

    def __init__(self, timeout_s: float) -> None:
        self.where, self._timeout_s = os.environ.get(SERVER, _HERE), timeout_s
        self._socket: ClientConnection | None = None
        self._held = ExitStack()
        self.metadata: Any = None

    def __enter__(self) -> _Line:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        """Connect and take the server's metadata."""
        if not self.where.startswith(("ws://", "wss://")):
            hint = f"{SERVER}={_HERE}"
            raise UsageError("a policy server's address begins with ws:// or wss://", got=self.where, hint=hint)
        headers = {"Authorization": f"Api-Key {os.environ[KEY]}"} if KEY in os.environ else None
        try:
            self._socket = self._held.enter_context(
                connect(
                    self.where,
                    compression=None,
                    max_size=_LARGEST,
                    open_timeout=self._timeout_s,
                    close_timeout=1,
                    additional_headers=headers,
                    proxy=None,
                )
            )
        except (OSError, WebSocketException) as error:
            hint = f"start it with scripts/serve_policy.py, or set {SERVER}"
            raise WorldgateError("no policy server answers", got=error, where=self.where, hint=hint) from error
        self.metadata = self._received()

    def ask(self, sent: Mapping[str, Any]) -> Any:
        """The answer to one observation."""
        assert self._socket is not None
        try:
            self._socket.send(pack(sent))
        except (OSError, ConnectionClosed) as error:
            self.close()
            raise WorldgateError("the policy server is gone", got=error, where=self.where) from error
        return self._received()

    def close(self) -> None:
        """Let go; nothing happens where there is nothing to let go."""
        self._held.close()
        self._socket = None

    def _received(self) -> Any:
        assert self._socket is not None
        try:
            message = self._socket.recv(timeout=self._timeout_s)
            if isinstance(message, str):
                # The server's way to say that it failed: the last line of its trace is what went wrong.
                lines: Sequence[str] = message.strip().splitlines() or [""]
                raise DataRefused("the policy server failed", got=lines[-1][:160], where=self.where)
            return unpack(message, where=self.where)
        except TimeoutError as error:
            self.close()
            got = f"nothing within {self._timeout_s:g} s"
            raise WorldgateError("the policy server is too slow", got=got, where=self.where) from error
        except (OSError, ConnectionClosed) as error:
            self.close()
            raise WorldgateError("the policy server is gone", got=error, where=self.where) from error
        except DataRefused:
            self.close()
            raise


def build(release: Release, weights: Mapping[str, bytes]) -> OpenPiPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    return OpenPiPolicy(release, weights)
