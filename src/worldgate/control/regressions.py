"""Recorded episodes through what the record holds: releases with their policies, a world model, a dataset.

Open loop: see :mod:`worldgate.evidence.regression`. Which episodes a release learned from stands on the ledger and is
told; they do not count in bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldgate.control import policies
from worldgate.core.errors import DataRefused
from worldgate.data import datasets
from worldgate.evidence.gate_evidence import TRAINING_SCHEMA
from worldgate.evidence.regression import Actor, Progress, regress
from worldgate.evidence.regression_table import Regression, RegressionConfig, put
from worldgate.fleet import releases
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.train import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A recorded regression."""

    evidence: Ref
    regression: Regression
    learned: frozenset[str]
    """Ids of its episodes that the release learned from."""


def actor(ws: Workspace, release: Ref) -> Actor:
    """A release as it acts."""
    held = releases.load(ws, release.digest)
    return Actor(
        digest=release.digest,
        policy=policies.load(held, ws.store),
        observation=held.observation,
        action=held.action,
        rate_hz=held.controller.rate_hz,
    )


def regress_recorded(
    ws: Workspace,
    dataset: Ref,
    new: Ref,
    old: Ref | None = None,
    *,
    model: Ref | None = None,
    split: str = "val",
    config: RegressionConfig | None = None,
    progress: Progress | None = None,
) -> Made:
    """Go through a dataset's episodes open loop and keep what came of it as evidence.

    Args:
        ws: the workspace.
        dataset: whose episodes.
        new: the release that is judged.
        old: the release it is compared with.
        model: a world model that predicts under the recorded actions.
        split: which of the dataset's splits.
        config: how.
        progress: called after each episode.

    Raises:
        DataRefused: a split without episodes, or episodes that do not fit the releases.
    """
    episodes = datasets.load(ws, dataset.digest, split)
    if not episodes:
        raise DataRefused("no episode in this split", got=split, where=dataset.name)
    made = regress(
        episodes,
        actor(ws, new),
        actor(ws, old) if old is not None else None,
        stage.load(ws, model.digest) if model is not None else None,
        config,
        progress,
        dataset=dataset.digest,
    )
    inputs = [dataset, new, *filter(None, (old, model))]
    return Made(
        evidence=put(ws, made, inputs=inputs),
        regression=made,
        learned=learned(ws, made),
    )


def learned(ws: Workspace, made: Regression) -> frozenset[str]:
    """Episodes of a regression that its release learned from, by the ledger's training records."""
    weights = set(ws.get_json(made.subject).get("weights", {}).values())
    told: set[str] = set()
    for event in ws.ledger.events("evidence.made"):
        if event.body["schema"] == TRAINING_SCHEMA and event.body["subject"] in weights:
            record = ws.get_json(str(event.body["evidence"]))
            told |= {*record["episodes"], *record.get("logs", ())}
    return frozenset(row.episode for row in made.episodes if {row.episode, row.log} & told)
