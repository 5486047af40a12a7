"""What recipes in the embedded cell stand on: a workspace, its people, robots and arms, and the page as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.names import Slot
from worldgate.core.report import Section
from worldgate.core.times import SECOND
from worldgate.recipes._story import Story
from worldgate.record.keys import Role
from worldgate.record.workspace import Workspace
from worldgate.sim.sites import slots as cell_slots

ENGINEER, OPERATOR = "ada", "bo"
"""Two persons: who releases does not approve."""
SLOTS: Sequence[Slot] = cell_slots()
"""Two sites with two arms each."""
DAY = 86_400 * SECOND


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
