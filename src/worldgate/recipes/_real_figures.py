"""Figures of a run on real logs: skill, sensitivity and horizon with their intervals, curves, and strips of video.

A strip shows a held-out second as recorded and as imagined by a model that never saw it; what no decision admitted is
greyed and says "not evidence".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import UsageError
from worldgate.core.report import Picture, Table, png
from worldgate.core.streams import Origin
from worldgate.core.worlds import WorldModel
from worldgate.data import clips
from worldgate.evidence import gap_bounds
from worldgate.evidence.bootstrap import Interval
from worldgate.evidence.gap_bounds import Unmeasured
from worldgate.evidence.gap_report import GapReport
from worldgate.fleet import strip
from worldgate.fleet.replay import Branch, Replay, ReplayConfig
from worldgate.worlds.imagine.rollouts import imagine

_TILE = 128


def figures_of(report: GapReport, signals: Sequence[str], horizons_s: Sequence[float]) -> list[dict[str, Any]]:
    """Per signal and horizon: error, both baselines, skill with its interval, sensitivity, H."""
    return [_row(report, signal, seconds) for signal in signals for seconds in horizons_s]


def _row(report: GapReport, signal: str, seconds: float) -> dict[str, Any]:
    step = report.step_of(seconds)
    values = gap_bounds.column(report, signal, "model", step)
    row: dict[str, Any] = {
        "signal": signal,
        "unit": report.signal(signal).unit,
        "seconds": seconds,
        "episodes": len(values),
        "error": sum(values) / len(values),
    }
    for baseline in ("hold", "velocity"):
        row[baseline] = _bound(partial(gap_bounds.skill, report, signal, baseline, step, alpha="0.05"))
    row["sensitivity"] = _bound(partial(gap_bounds.sensitivity, report, signal, step, alpha="0.05"))
    for probability in ("0.8", "0.5"):
        row[f"H at {probability}"] = gap_bounds.valid_horizon(
            report, signal, probability=probability, alpha="0.05"
        ).seconds
    return row


def _bound(compute: Callable[[], Interval]) -> dict[str, float] | None:
    try:
        found: Interval = compute()
    except Unmeasured:
        return None
    return {
        "estimate": found.estimate,
        "lower": float(found.lower),
        "upper": float(found.upper),
        "width": found.width,
    }


def table(found_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for name, found in found_of.items():
        for row in found:
            rows.append(
                (
                    name,
                    row["signal"],
                    f"{row['seconds']:g}",
                    f"{row['error']:.4g} {row['unit']}".removesuffix(" 1").strip(),
                    _shown(row["hold"], "+.2f"),
                    _shown(row["velocity"], "+.2f"),
                    _shown(row["sensitivity"], ".2f"),
                    f"{row['H at 0.8']:.2g} / {row['H at 0.5']:.2g}",
                    str(row["episodes"]),
                )
            )
    headings = (
        "model",
        "signal",
        "ahead [s]",
        "error",
        "skill over last held",
        "skill over constant velocity",
        "action sensitivity",
        "H at p 0.8 / 0.5 [s]",
        "episodes",
    )
    return Table(headings=headings, rows=tuple(rows), caption="Estimate [lower, upper] by one-sided 95 % bounds")


def _shown(found: Mapping[str, float] | None, form: str) -> str:
    if found is None:
        return "-"
    estimate, lower, upper = (format(found[key], form) for key in ("estimate", "lower", "upper"))
    return f"{estimate} [{lower}, {upper}] width {found['width']:.2f}"


def strips(model: WorldModel, episode: Episode, seconds: float, horizons: Mapping[str, int]) -> list[Picture]:
    """One strip a camera: the second after the middle of an episode, recorded and imagined.

    Args:
        model: one that did not learn from the episode.
        episode: held out.
        seconds: how far ahead.
        horizons: camera -> steps up to which a decision admitted it.
    """
    cameras = [signal.name for signal in model.spec.cameras]
    steps = max(1, round(seconds * model.spec.rate_hz))
    row = len(episode) // 2
    try:
        made = imagine(model, episode, row, steps)
    except UsageError:
        return []  # an episode too short, or a gap in its middle
    size = model.spec.cameras[0].shape[0]
    real = {c: np.asarray(clips.frames(episode, c, size)[row + 1 : row + 1 + steps]) for c in cameras}
    replay = Replay(
        config=ReplayConfig(start=row, steps=steps),
        rate_hz=model.spec.rate_hz,
        episode=episode.id,
        models=(model.spec.digest,),
        recorded=_branch("recorded", episode.origin, real, made.actions),
        imagined=(_branch("conv", Origin.IMAGINED, {c: made.frame.frames[c][0] for c in cameras}, made.actions),),
        horizons=horizons,
    )
    return [_strip(replay, camera, episode.name) for camera in cameras]


def _branch(name: str, origin: Origin, frames: Mapping[str, Any], actions: Any) -> Branch:
    return Branch(name=name, origin=origin, release="", states={}, frames=frames, actions=actions)


def _strip(replay: Replay, camera: str, episode: str) -> Picture:
    drawn = strip.strip(replay, camera, strip.StripConfig(tile=_TILE, columns=6))
    done, data = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    caption = f"{camera} of {episode}: recorded above, imagined under the recorded actions below"
    return png(bytes(data), alt=f"strip of {camera}: real above, imagined below", caption=caption, wide=True)
