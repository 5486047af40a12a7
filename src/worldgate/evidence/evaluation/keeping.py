"""An evaluation on the record: the report in the store, and the event ``world_model.evaluated``.

No gate reads it. What a gate decides on is a gap report and a site report, whose bounds an outsider can recompute;
:func:`measure` makes the latter from the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worldgate.core.episodes import Episode
from worldgate.core.progress import Progress, silent
from worldgate.core.worlds import WorldModel
from worldgate.evidence import layout, site_report
from worldgate.evidence.decide import put_evidence
from worldgate.evidence.evaluation.measures import EvaluateConfig
from worldgate.evidence.evaluation.report import Evaluation
from worldgate.evidence.evaluation.run import evaluate
from worldgate.evidence.evaluation.sums import Table
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVALUATED = "world_model.evaluated"


def measure(
    ws: Workspace,
    model: WorldModel,
    episodes: Sequence[Episode],
    config: EvaluateConfig,
    *,
    references: Sequence[Episode] = (),
    dataset: Ref,
    site: str = "",
    progress: Progress = silent,
    inputs: Sequence[Ref] = (),
) -> tuple[Evaluation, Ref, Ref]:
    """Evaluate a world model and record both documents of the run.

    Args:
        ws: the workspace.
        model: anything that fulfils the protocol.
        episodes: held out from its training.
        config: of the evaluation; a layout that it names is kept, too.
        references: real episodes of its training split.
        dataset: what both come from.
        site: of episodes whose log names none.
        progress: called after each episode.
        inputs: what it was made from.

    Returns:
        What was found, the evaluation, and the evidence: a site report that gates read.

    Raises:
        UsageError, DataRefused: as :func:`worldgate.evidence.evaluation.evaluate`.
    """
    table = Table()
    found = evaluate(
        model, episodes, config, references=references, dataset=dataset.digest, progress=progress, sums=table
    )
    room = ws.put_json(layout.load(Path(config.layout)).to_json()) if config.layout else ""
    report = site_report.of(found, table, episodes, references, site=site, layout=room)
    return found, keep(ws, found, inputs=inputs), put_evidence(ws, report, inputs=inputs)


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
