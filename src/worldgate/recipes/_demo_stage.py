"""The demo's calendar, and the arms on which something happens.

Everything happens on fixed days, so that a rerun tells the same story; only signatures and ids of runs differ.
"""

from __future__ import annotations

from worldgate.core.times import SECOND, parse_ns
from worldgate.recipes._cell_stage import SLOTS

FAILING, ARM_B = SLOTS[1], SLOTS[2]
"""The arm whose camera fails, the arm of the near-miss."""

RECORDED = parse_ns("2026-11-02T08:00:00Z")
"""Demonstrations are recorded."""
DECIDED = parse_ns("2026-11-08T09:00:00Z")
"""Gates decide about r1."""
SWITCHED = parse_ns("2026-11-09T10:00:00Z")
"""r1 replaces r0 on every arm."""
SWITCH_ERROR = 5 * SECOND
"""How well a robot's clock knows when it switched."""
NEAR_MISS = parse_ns("2026-11-12T14:03:00Z")
"""The shift in which it happens begins."""
LATE = parse_ns("2026-11-13T08:00:00Z")
"""The receipt of arm A arrives."""
NEXT = parse_ns("2026-11-16T09:00:00Z")
"""Gates decide about r2 and r3."""
