"""Has anything behind a release learned from what it is tried on? Lineage tells, whoever says otherwise.

A scene made from a recording names it as an input. A training record names the episodes, and their logs, that a run was
fed. Behind a release stand its weights, the world models that chose its scenes, and all that went into either: a policy
trained in a world model that saw the holdout has seen it too.
"""

from __future__ import annotations

from collections.abc import Collection

from worldgate.evidence.gate_evidence import TRAINING_SCHEMA
from worldgate.record.lineage import upstream
from worldgate.record.workspace import Workspace

RECORDINGS = frozenset({"episode", "log"})
LEARNERS = frozenset({"world_model", "tokenizer", "weights", "release"})


def overlaps(
    ws: Workspace, scenes: Collection[str], subjects: Collection[str], *, upto_seq: int
) -> list[dict[str, str]]:
    """Scenes whose recording was learned from: ``{scenario, source, by}``, sorted.

    Args:
        ws: the workspace.
        scenes: digests of scenarios.
        subjects: digests of a release, its weights, and world models that had a say.
        upto_seq: the ledger as it stood there.
    """
    sources: dict[str, set[str]] = {}
    for event in ws.ledger.events("scenario.made"):
        digest = event.outputs[0].digest
        if event.seq <= upto_seq and digest in scenes:
            given = {digest} | {ref.digest for ref in event.inputs}
            behind = upstream(ws, given, upto_seq=upto_seq)
            told = {ref.digest for ref in event.inputs if ref.kind in RECORDINGS}
            sources.setdefault(digest, set()).update(told, (d for kind, d in behind if kind in RECORDINGS))
    if not any(sources.values()):
        return []
    learners = set(subjects) | {d for kind, d in upstream(ws, subjects, upto_seq=upto_seq) if kind in LEARNERS}
    found = set()
    for event in ws.ledger.events("evidence.made"):
        body = event.body
        if event.seq > upto_seq or body["schema"] != TRAINING_SCHEMA or body["subject"] not in learners:
            continue
        record = ws.get_json(str(body["evidence"]))
        fed = {*record["episodes"], *record.get("logs", ())}
        found |= {(s, source, str(body["subject"])) for s, held in sources.items() for source in held & fed}
    return [{"scenario": s, "source": source, "by": by} for s, source, by in sorted(found)]
