"""The desk of a plan's trials: what its pages are told, and nothing that could say which release is which.

A run is "side A" or "side B" by its place in its pair; the order inside a pair was drawn when the plan was made. What
the gate says so far would give a side away in the middle of a pair, and the words of a check at any time: with a
baseline the pages are told only how many runs are left and whether the gate has its answer, as of the last whole pair.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worldgate.console.leases import Leases
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Origin
from worldgate.core.times import SECOND, now_ns
from worldgate.evidence.left import Left, left
from worldgate.evidence.sheets import Book, Sheet
from worldgate.record.workspace import Workspace

_SIDES = ("A", "B")
LARGEST_PICTURE = 8 << 20
_PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskConfig:
    """How a desk hands out rows."""

    lease_s: float = 1800.0
    """How long a device keeps its rows without asking again, in seconds."""
    pairs_ahead: int = 3
    """Pairs that a device holds, so that it can go on without a connection."""


class Desk:
    """One plan, many devices; safe to call from several threads.

    Args:
        ws: the workspace.
        plan: digest of a registered plan.
        actor: name of the operator's key; signs every trial.
        config: how rows are handed out.
        clock: now, in ns.

    Raises:
        DataRefused: a plan that is not on the ledger.
        NotFound: no such plan or key.
    """

    def __init__(
        self,
        ws: Workspace,
        plan: str,
        *,
        actor: str,
        config: DeskConfig | None = None,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        config = config or DeskConfig()
        self.ws, self.clock = ws, clock
        self.book = Book(ws, plan, actor=actor)
        self.plan = self.book.plan
        self.leases = Leases(self.plan.rows, span_ns=round(config.lease_s * SECOND), pairs=config.pairs_ahead)
        self._lock = threading.Lock()
        self._left: tuple[int, Left] | None = None

    @property
    def blinded(self) -> bool:
        """Whether there are two releases to tell apart."""
        return bool(self.plan.baseline)

    def about(self) -> dict[str, Any]:
        """What never changes."""
        return {
            "plan": self.book.digest,
            "name": self.plan.name,
            "executor": self.plan.executor,
            "real": self.plan.executor is Origin.REAL,
            "rows": len(self.plan.rows),
            "slots": list(dict.fromkeys(row.slot for row in self.plan.rows)),
            "exclusions": list(self.plan.exclusions),
            "blinded": self.blinded,
        }

    def lease(self, client: str, slot: str) -> dict[str, Any]:
        """Rows for a device, and how far the plan is.

        Raises:
            DataRefused: an arm that is not of the plan.
        """
        if slot not in {row.slot for row in self.plan.rows}:
            raise DataRefused("no such arm in this plan", got=ascii(slot)[:80])
        with self._lock:
            self.book.refresh()
            now = self.clock()
            numbers = self.leases.take(client, slot, self.book.done, now)
            busy = sum(row.slot == slot and n not in self.book.done for n, row in enumerate(self.plan.rows, 1))
            return {
                "rows": [self._row(number) for number in numbers],
                "elsewhere": busy - len(numbers),
                "now_ms": now // 1_000_000,
                **self._progress(),
            }

    def give_back(self, client: str) -> dict[str, Any]:
        """Let a device's rows go."""
        with self._lock:
            self.leases.give_back(client)
            return self._progress()

    def record(self, sheet: Sheet) -> dict[str, Any]:
        """Record a run; ``state`` is ``recorded`` or ``refused``.

        Raises:
            DataRefused: a sheet that is not of this plan.
        """
        with self._lock:
            now = self.clock()
            holder = self.leases.holder(sheet.row, now)
            reason = self.book.record(sheet, now_ns=now, held_by=holder if holder != sheet.client else "")
            return {"state": "refused" if reason else "recorded", "reason": reason, **self._progress()}

    def left(self) -> dict[str, Any]:
        """How far the plan is from a decision, as far as it may be told."""
        with self._lock:
            self.book.refresh()
            upto = self.book.whole if self.blinded else self.ws.ledger.head().seq
            if self._left is None or self._left[0] != upto:
                self._left = (upto, left(self.ws, self.book.digest, now_ns=self.clock(), upto_seq=upto))
            found = self._left[1]
            missing = [] if self.blinded else list(found.missing)
            return {"decided": found.decided, "missing": missing, **self._progress()}

    def photograph(self, number: int) -> tuple[bytes, str] | None:
        """The picture of a row's initial state and its type; ``None``: there is none that can be shown."""
        digest = self.book.scenes[number - 1].photo if 1 <= number <= len(self.plan.rows) else ""
        data = self.ws.store.get(digest) if digest and self.ws.store.has(digest) else b""
        kind = next((kind for head, kind in _PICTURES.items() if data.startswith(head)), "")
        return (data, kind) if kind and len(data) <= LARGEST_PICTURE else None

    def _progress(self) -> dict[str, Any]:
        """Runs recorded, and how many can still be run."""
        return {"recorded": len(self.book.done), "open": len(self.plan.rows) - len(self.book.done)}

    def _row(self, number: int) -> dict[str, Any]:
        row, scene = self.plan.rows[number - 1], self.book.scenes[number - 1]
        place = sum(other.pair == row.pair for other in self.plan.rows[: number - 1])
        return {
            "row": number,
            "side": _SIDES[place] if self.blinded else "",
            "pair": row.pair,
            "slot": row.slot,
            "scenario": scene.name,
            "attributes": {key: str(value) for key, value in scene.attributes.items()},
            "criterion": scene.criterion,
            "goals": list(scene.rubric),
            "photograph": bool(scene.photo),
        }
