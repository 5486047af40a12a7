"""The figures on the clip loader's page are those of the last full run of its benchmark."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "clip-loader.md"
RESULT = ROOT / "benchmarks" / "results" / "clip_loading.json"
INDEPENDENT, BLOCKS = "every clip decoded", "block order, 1 GB"


def rows() -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads(RESULT.read_text())["rows"]
    return kept


def speeds() -> list[str]:
    """A line for all files at a size; ratios by wall and by processor time, to both versions of LeRobotDataset."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows():
        at, _, how = row["what"].partition(": ")
        for version in ("0.4.4", "newest"):
            if how in (INDEPENDENT, BLOCKS) and version in row["peer"] and "row order" not in row["peer"]:
                found.setdefault(at, {})[how, version] = row
    lines = []
    for at, held in found.items():
        first = held[BLOCKS, "0.4.4"]
        pairs = [held[how, version] for version in ("0.4.4", "newest") for how in (BLOCKS, INDEPENDENT)]
        ratios = [f"{row['ratio']:.1f} / {row['cpu_ratio']:.1f}" for row in pairs]
        cells = [at, f"{first['value']:,}", f"{first['peer_value']:,}", *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def mixing() -> list[str]:
    """A line for each order of the recordings' own files at full size."""
    lines: list[str] = []
    for episodes, overlap in pairwise(rows()):
        at, _, how = episodes["what"].partition(": ")
        if episodes["unit"].startswith("episodes") and "640x480, own" in at:
            for key, order in (("peer_value", "uniform order"), ("value", how.removeprefix("block order, "))):
                lines.append(f"| {at.split()[0]} | {order} | {episodes[key]:.1f} | {overlap[key]:.1f} % |")
    return list(dict.fromkeys(lines))


def test_the_page_tells_the_measured_speeds() -> None:
    told, page = speeds(), PAGE.read_text()
    assert len(told) == 11
    assert "\n".join(told) in page


def test_the_page_tells_how_the_order_mixes() -> None:
    told, page = mixing(), PAGE.read_text()
    assert len(told) == 6
    assert "\n".join(told) in page
