"""The stage of the demo: its workspace, people, robots, arms and calendar.

Everything happens on fixed days, so that a rerun tells the same story; only signatures and ids of runs differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.names import Slot
from worldgate.core.report import Section
from worldgate.core.times import SECOND, parse_ns
from worldgate.recipes._story import Story
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace
from worldgate.sim.sites import slots as cell_slots

ENGINEER, OPERATOR = "ada", "bo"
"""Two persons: who releases does not approve."""
SLOTS: Sequence[Slot] = cell_slots()
"""Two sites with two arms each."""
FAILING, ARM_B = SLOTS[1], SLOTS[2]
"""The arm whose camera fails, the arm of the near-miss."""

DAY = 86_400 * SECOND
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


@dataclass(slots=True)
class Stage:
    """What the scenes share."""

    ws: Workspace
    folder: Path
    story: Story
    sections: list[Section] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures that the command line and tests read."""

    def scene(self, title: str) -> None:
        """Announce a scene."""
        self.story.scene(title)

    def close_scene(self, section: Section) -> None:
        """Keep a scene's page and say its verdict."""
        self.sections.append(section)
        self.story.say(f"→ {section.verdict}")


def build(folder: Path, story: Story) -> Stage:
    """Make the workspace, a second person's key and the robots' keys.

    Raises:
        AlreadyExists: the folder holds a workspace.
    """
    ws = Workspace.init(folder, person=ENGINEER, name="demo")
    ws.add_key(OPERATOR, owner=OPERATOR)
    for robot in sorted({str(slot.robot) for slot in SLOTS}):
        ws.add_key(robot, owner=OPERATOR, role=Role.ROBOT)
    return Stage(ws=ws, folder=folder, story=story)
