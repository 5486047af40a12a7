"""Datasets on the ledger for reports that were made without one: an admission asks what a report left out."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from worldgate.core.digest import sha256
from worldgate.data.datasets import snapshots
from worldgate.data.datasets.manifests import SCHEMA, DatasetManifest, EpisodeEntry
from worldgate.evidence.gap_report import GapReport
from worldgate.evidence.site_report import SiteReport
from worldgate.record.workspace import Workspace

Report = TypeVar("Report", GapReport, SiteReport)


def manifest(report: GapReport | SiteReport) -> DatasetManifest:
    """A dataset of just the episodes of a report, in one split."""
    return DatasetManifest(
        schema=SCHEMA, name="held-out", contract=sha256(b"contract"), alignment=sha256(b"grid"), rate_hz=10.0,
        origins=(report.origin,), streams={},
        episodes=tuple(
            EpisodeEntry(
                id=e.episode, log=e.log, name=e.name, split="test", site=e.site, origin=report.origin, rows=60,
                report="",
            )
            for e in report.episodes
        ),
    )  # fmt: skip


def frozen(ws: Workspace, report: Report) -> Report:
    """The report, of a dataset that is on the ledger."""
    return dataclasses.replace(report, dataset=snapshots.freeze(ws, manifest(report), []).digest)
