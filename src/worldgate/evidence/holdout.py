"""Has anything behind a release learned from what it is tried on? Lineage tells, whoever says otherwise.

A scene made from a recording names it as an input. A training record names the episodes, and their logs, that a run was
fed. Behind a release stand its weights, the world models that chose its scenes, and all that went into either: a policy
trained in a world model that saw the holdout has seen it too.
"""

from __future__ import annotations

from collections.abc import Collection

from worldgate.evidence.gate_evidence import TRAINING_SCHEMA
from worldgate.record.lineage import made_from, upstream
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
    made = made_from(ws, scenes, upto_seq=upto_seq)
    sources = {scene: {d for kind, d in upstream(made, {scene}) if kind in RECORDINGS} for scene in scenes}
    if not any(sources.values()):
        return []
    behind = upstream(made_from(ws, subjects, upto_seq=upto_seq), subjects)
    learners = set(subjects) | {digest for kind, digest in behind if kind in LEARNERS}
    found = set()
    for event in ws.ledger.events("evidence.made"):
        body = event.body
        if event.seq > upto_seq or body["schema"] != TRAINING_SCHEMA or body["subject"] not in learners:
            continue
        record = ws.get_json(str(body["evidence"]))
        fed = {*record["episodes"], *record.get("logs", ())}
        found |= {(s, source, str(body["subject"])) for s, held in sources.items() for source in held & fed}
    return [{"scenario": s, "source": source, "by": by} for s, source, by in sorted(found)]
