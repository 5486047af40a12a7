"""What the parts of a run on real logs share: the robot, the workspace, the page as it grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.report import Section
from worldgate.recipes._story import Story
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """A robot and how its logs are judged."""

    name: str
    """Of the recipe and its datasets."""
    contract: str
    """Shipped contract that its logs are held against."""
    title: str
    lead: str
    folder: str
    """Of the logs, inside the data folder."""
    slot: str
    """``site/robot/arm`` that a promotion would be about."""
    telemetry_hz: float
    video_hz: float
    states: tuple[str, ...]
    action: str
    cameras: tuple[str, ...]
    epsilon: Mapping[str, float]
    """Signal -> largest tolerable error, in its unit."""
    video_horizons_s: tuple[float, ...]
    """Where video is compared, on its grid."""
    notes: tuple[str, ...] = ()
    """What a reader of the report must know of these logs."""


@dataclass(slots=True)
class Stage:
    """What the parts share."""

    ws: Workspace
    folder: Path
    story: Story
    robot: Robot
    sections: list[Section] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=lambda: {"decisions": []})
    """Figures that the command line and tests read."""

    def scene(self, title: str) -> None:
        """Announce a part."""
        self.story.scene(title)

    def close_scene(self, section: Section) -> None:
        """Keep a part's page and say its verdict."""
        self.sections.append(section)
        self.story.say(f"→ {section.verdict}")
