"""An evaluation on the record: the report in the store, and the event ``world_model.evaluated``.

No gate reads it. What a gate decides on is a gap report, whose bounds an outsider can recompute to the digit.
"""

from __future__ import annotations

from collections.abc import Sequence

from worldgate.evidence.evaluation.report import Evaluation
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVALUATED = "world_model.evaluated"


def keep(ws: Workspace, evaluation: Evaluation, *, inputs: Sequence[Ref] = ()) -> Ref:
    """Put a report into the store and record it; returns it as an ``evaluation``."""
    ref = Ref("evaluation", ws.put_json(evaluation.to_json()), "")
    body = {
        "evaluation": ref.digest,
        "subject": evaluation.subject,
        "origin": evaluation.facts.origin,
        "episodes": len(evaluation.facts.episodes),
    }
    ws.record(EVALUATED, body=body, inputs=inputs, outputs=(ref,))
    return ref
