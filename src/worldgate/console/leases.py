"""Who runs which row: devices hold rows for a while, in whole pairs, in the order of the plan.

Leases live in memory. A server that starts again knows none, and a device that still holds its rows takes them again;
what was run stands on the ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

from worldgate.evidence.plans import Row


@dataclass(frozen=True, slots=True)
class _Lease:
    client: str
    until_ns: int


class Leases:
    """Rows of one plan.

    Args:
        rows: of the plan.
        span_ns: how long a row is held after its device last asked.
        pairs: how many pairs a device holds ahead, so that it can go on without a connection.
    """

    def __init__(self, rows: Sequence[Row], *, span_ns: int, pairs: int = 3) -> None:
        self.rows, self.span_ns, self.pairs = rows, span_ns, pairs
        self._held: dict[int, _Lease] = {}

    def holder(self, number: int, now_ns: int) -> str:
        """The device that has a row now; empty: none."""
        lease = self._held.get(number)
        return lease.client if lease is not None and lease.until_ns > now_ns else ""

    def take(self, client: str, slot: str, done: Set[int], now_ns: int) -> list[int]:
        """Rows for a device on an arm: those that it holds, then the next free ones, in whole pairs.

        Args:
            client: the device.
            slot: its arm.
            done: rows that have been run.
            now_ns: the server's clock.
        """
        taken: list[int] = []
        pairs = 0
        for _, group in itertools.groupby(enumerate(self.rows, 1), key=lambda item: item[1].pair):
            open_rows = [number for number, row in group if row.slot == slot and number not in done]
            free = all(self.holder(number, now_ns) in ("", client) for number in open_rows)
            if open_rows and free and pairs < self.pairs:
                taken += open_rows
                pairs += 1
        for number in taken:
            self._held[number] = _Lease(client, now_ns + self.span_ns)
        return taken

    def give_back(self, client: str) -> None:
        """Let a device's rows go."""
        self._held = {number: lease for number, lease in self._held.items() if lease.client != client}
