"""Figures for reports: error against horizon with the bar at H(epsilon), and the table of a gate. No display is needed.

Every axis names its unit, every estimate is drawn with its interval, and the origin of the data stands in the picture.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldgate.core.errors import UsageError
from worldgate.core.evidence import CheckResult, Status
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.gap_bounds import Unmeasured, column, valid_horizon
from worldgate.evidence.gap_report import GapReport

_STYLE = {
    "model": ("model", "#0072b2", "-", "o"),
    "hold": ("hold-last", "#6e6e6e", "--", "s"),
    "velocity": ("constant velocity", "#e69f00", "-.", "^"),
    "shuffled": ("model, shuffled actions", "#cc79a7", ":", "D"),
}
"""Contender -> label, colour (Okabe-Ito), dash and marker: told apart without colour."""

_TONE = {
    Status.PASS: ("✓ PASS", "#d9efe2"),
    Status.FAIL: ("✗ FAIL", "#f8dcd6"),
    Status.INCONCLUSIVE: ("? INCONCLUSIVE", "#f2ecd0"),
}


def horizon_curves(
    report: GapReport, signal: str, *, probability: str = "0.8", alpha: str = "0.05", resamples: int = 400
) -> Figure:
    """Mean error over episodes against horizon in seconds, with bootstrap intervals; shaded beyond H(epsilon).

    Args:
        report: the gap.
        signal: which of its signals.
        probability: as in the gate's ``horizon`` check.
        alpha: one-sided level of every bound.
        resamples: of the drawn intervals.

    Raises:
        UsageError: no such signal, or fewer than two episodes.
    """
    info = report.signal(signal)
    if len(report.episodes) < 2:
        raise UsageError("intervals need at least two episodes", got=len(report.episodes))
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for contender in _STYLE:
        _curve(axes, report, signal, contender, alpha=alpha, resamples=resamples)
    if info.epsilon is not None:
        axes.axhline(info.epsilon, color="#333333", linewidth=0.8)
        axes.annotate("ε", (report.steps / report.rate_hz, info.epsilon), va="bottom", ha="right")
        reached = valid_horizon(report, signal, probability=probability, alpha=alpha).seconds
        axes.axvline(reached, color="#333333", linewidth=1.6)
        axes.axvspan(reached, report.steps / report.rate_hz * 1.02, color="#999999", alpha=0.25, linewidth=0)
        axes.set_title(f"{signal}: H(ε) = {reached:g} s, grey is not evidence", fontsize=10)
    else:
        axes.set_title(f"{signal}: no ε given, no H(ε)", fontsize=10)
    axes.set_xlim(0, report.steps / report.rate_hz * 1.02)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("horizon, s")
    axes.set_ylabel(f"error, {info.unit or 'unit unknown'}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    sure = 100 * (1 - 2 * float(alpha))
    note = (
        f"imagined against {report.origin} · {len(report.episodes)} held-out episodes · {sure:g} % bootstrap intervals"
    )
    figure.supxlabel(note, fontsize=7, color="#444444")
    return figure


def _curve(axes: Axes, report: GapReport, signal: str, contender: str, *, alpha: str, resamples: int) -> None:
    times, middle, low, high = [], [], [], []
    for step in range(1, report.steps + 1):
        try:
            values = column(report, signal, contender, step)
        except Unmeasured:
            continue
        if len(values) < 2:
            continue
        interval = ratio_interval(values, [1.0] * len(values), alpha=alpha, resamples=resamples)
        times.append(step / report.rate_hz)
        middle.append(interval.estimate)
        low.append(float(interval.lower))
        high.append(float(interval.upper))
    if not times:
        return
    label, colour, dash, marker = _STYLE[contender]
    if contender == "hold" and not report.signal(signal).channels:
        label = "copy-last"
    axes.plot(times, middle, dash, color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
    axes.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)


def gate_table(checks: Sequence[CheckResult], *, title: str) -> Figure:
    """The checks of a decision as a table: what was measured, its bound, what was required, the answer.

    Raises:
        UsageError: no checks.
    """
    if not checks:
        raise UsageError("a decision without checks has no table", got=title)
    figure = Figure(figsize=(9.6, 0.5 + 0.3 * (len(checks) + 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_title(title, fontsize=10, loc="left")
    head = ["check", "signal", "statistic", "estimate", "bound", "required", "n", ""]
    cells = [
        [c.check, c.signal, c.statistic, c.estimate or "–", _brief(c.bound), c.required, str(c.n), _TONE[c.status][0]]
        for c in checks
    ]
    table = axes.table(cellText=cells, colLabels=head, loc="center", cellLoc="left", colLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    table.auto_set_column_width(list(range(len(head))))
    for row, result in enumerate(checks, start=1):
        table[row, len(head) - 1].set_facecolor(_TONE[result.status][1])
    return figure


def _brief(bound: str) -> str:
    """Bounds have up to twelve digits on the record; a table shows six."""
    return f"{float(bound):.6g}" if bound else "–"


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same bytes every time: fixed ids, no date."""
    buffer = io.BytesIO()
    settings: Mapping[Any, Any] = {"svg.hashsalt": "worldgate", "svg.fonttype": "none"}
    with mpl.rc_context(dict(settings)):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()
