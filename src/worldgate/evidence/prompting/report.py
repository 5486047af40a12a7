"""What prompts are worth, as a document: one row a kind of prompt and stream.

Plain JSON (schema ``worldgate/prompts/1``), put into the store and named by its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Origin
from worldgate.evidence.evaluation.sums import Estimate
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/prompts/1"
MEASURED = "world_model.prompts_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow:
    """One kind of prompt, judged on one stream by the energy score of samples, in training deviations."""

    kind: str
    stream: str
    """A camera, or ``states``: all of them together."""
    error: Estimate
    """Mean over the steps that the prompt leaves open."""
    null: Estimate
    """Of the empty prompt, on the same steps and with the same random numbers."""
    over_null: Estimate
    """1 - error / null; above 0 the prompt is worth something."""
    over_wrong: Estimate
    """1 - error / error under the same kind of prompt from another episode; above 0 its content is."""
    less: str
    """The kind that this one adds something to."""
    over_less: Estimate | None = None
    """1 - error / error under that kind; None where it is the empty prompt."""

    @property
    def works(self) -> bool:
        """Both lower bounds are above 0: better than no prompt, and than another one."""
        return all(e.lower is not None and e.lower > 0 for e in (self.over_null, self.over_wrong))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a measurement of prompts found."""

    schema: str = SCHEMA
    subject: str
    """Digest of the model."""
    origin: Origin
    """Of the episodes."""
    dataset: str
    steps: int
    """Horizon."""
    samples: int
    windows: int
    episodes: tuple[str, ...]
    level: float
    """One-sided, of each bound."""
    features: str
    """Of pictures."""
    not_measured: Mapping[str, str]
    """Kind -> why the model cannot be asked for it."""
    rows: tuple[PromptRow, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "prompts") -> Prompts:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
            ConfigError: unknown or missing fields.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a report on prompts this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)

    def keep(self, ws: Workspace, *inputs: Ref) -> Ref:
        """Put it into the store and record it; returns it as an ``evaluation``."""
        ref = Ref("evaluation", ws.put_json(self.to_json()), "")
        body = {
            "evaluation": ref.digest,
            "subject": self.subject,
            "origin": self.origin,
            "episodes": len(self.episodes),
        }
        ws.record(MEASURED, body=body, inputs=inputs, outputs=(ref,))
        return ref
