"""The kinds of prompts that a world model can start from, each as what of an episode it shows.

Shape legend: K steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from worldgate.core.worlds import Capability, ModelSpec
from worldgate.evidence.prompts import Asked

NULL = "null"
"""The empty prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptKind:
    """What a prompt of this kind shows."""

    line: str
    rows: int | None = 0
    """Known rows; None: the model's context."""
    states: bool = False
    """Whether the states of those rows are known."""
    ahead: tuple[float, ...] = ()
    """Parts of the horizon at which pictures are known."""
    text: bool = False
    actions: bool = False
    less: str = NULL
    """The kind that it adds something to."""

    def asked(self, steps: int, text: str) -> Asked:
        """Of a horizon of K steps."""
        at = tuple(sorted({max(1, round(share * steps)) for share in self.ahead}))
        said = text if self.text else ""
        return Asked(rows=self.rows, states=self.states, ahead=at, text=said, actions=self.actions)

    def lacking(self, spec: ModelSpec, have: frozenset[Capability]) -> str:
        """Why a model cannot be asked for it; empty where it can."""
        shown = self.rows != 0 and not self.states
        for needed, there, why in (
            (self.text, Capability.TEXT in have, "the model reads no text"),
            (self.actions, Capability.ACTIONS in have and spec.action is not None, "the model takes no actions"),
            (bool(self.ahead), Capability.AHEAD in have, "the model takes no frames ahead"),
            (shown, Capability.FRAMES in have, "the model takes no frames"),
        ):
            if needed and not there:
                return why
        return ""


KINDS = MappingProxyType(
    {
        "text": PromptKind(line="a text alone", text=True),
        "image": PromptKind(line="one image", rows=1),
        "clip": PromptKind(line="the pictures of the context", rows=None, less="image"),
        "first_last": PromptKind(line="the first and the last image", rows=1, ahead=(1.0,), less="image"),
        "frames": PromptKind(line="two images ahead and none before", ahead=(1 / 3, 1.0)),
        "rows": PromptKind(line="all rows of the context", rows=None, states=True),
        "actions": PromptKind(line="actions alone", actions=True),
        "driven": PromptKind(line="all rows and the actions", rows=None, states=True, actions=True, less="rows"),
        "mixture": PromptKind(
            line="a text, all rows, the actions and the last image",
            rows=None,
            states=True,
            ahead=(1.0,),
            text=True,
            actions=True,
            less="driven",
        ),
    }
)
"""By name."""
