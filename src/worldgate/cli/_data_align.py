"""``worldgate data align``: what a log says of its clocks, and the numbers that mend them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer, note
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worldgate.core.streams import Log
    from worldgate.data.alignment import AlignmentSpec
    from worldgate.data.alignment_report import AlignmentReport
    from worldgate.data.clocks.sheet import ClockSheet


def align(
    log: str,
    /,
    *,
    contract: str | None = None,
    only: str | None = None,
    motion: bool = True,
    reach_s: float = 1.0,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Estimate the clock of every stream of a log, and print the skew and the numbers that mend it.

    For example:

        worldgate data align recordings/run_007.mcap
        worldgate data align 4c7a9a17 --contract kitchen.toml

    Nothing is changed: the last lines are TOML to paste into a contract, so that what an alignment does stays written
    down. Every estimate comes with its 95 % error. A clock's offset holds the least delay of its messages too, which
    stamps alone cannot tell apart; the lags of motion do not.

    Args:
        log: A file or folder that `worldgate list logs` can open, or the id or name of a log of the workspace.
        contract: Whose alignment is shown: a TOML file, or a contract that ships with Worldgate. Without one, nearest
            messages to the first camera's.
        only: Name of one log of a folder that holds several.
        motion: Look for lags of motion too: commands against states, cameras against both.
        reach_s: Lags looked at, either way, in s.
    """
    from worldgate.data.clocks.sheet import sheet

    spec = _spec(contract)
    if Path(log).exists():
        found = sheet(_pick(Path(log), only), spec, cameras=motion, most_s=reach_s)
    else:
        from worldgate.data.ingest import open_log

        with open_workspace(workspace) as ws:
            found = sheet(open_log(ws, ws.resolve(log, "log").digest), spec, cameras=motion, most_s=reach_s)
    body = {
        "log": found.log, "name": found.name, "clocks": found.clocks, "lags": found.lags, "before": found.before,
        "after": found.after, "toml": "\n".join(found.toml),
    }  # fmt: skip
    answer("data.align", body, *_parts(found), as_json=json)
    if found.before is None:
        note("as they were recorded, the streams share no instant and cannot be aligned")


def _spec(contract: str | None) -> AlignmentSpec | None:
    from worldgate.data import contracts

    return None if contract is None else contracts.read(contract).spec()


def _pick(path: Path, only: str | None) -> Log:
    from worldgate.core.errors import NotFound
    from worldgate.data.logs import open_folder

    logs = open_folder(path).logs
    named = [log for log in logs if only in (None, log.name)]
    if len(named) != 1:
        shown = ", ".join(log.name for log in logs[:6]) + (" ..." if len(logs) > 6 else "")
        what = "no log of this name" if not named else "several logs"
        raise NotFound(what, got=only, where=path, hint=f"--only NAME, one of {shown}")
    return named[0]


def _parts(found: ClockSheet) -> Iterator[Table | str]:
    yield _clocks(found)
    if found.lags:
        rows = [
            (lag.following, lag.leading, f"{lag.lag.lag_ns / 1e6:.1f} ± {lag.lag.error_ns / 1e6:.1f}",
             f"{lag.lag.correlation:.2f}")
            for lag in found.lags
        ]  # fmt: skip
        yield Table(title="motion", columns=("stream", "follows", "by [ms]", "correlation"), rows=rows)
    for report, title in ((found.before, "skew as recorded"), (found.after, "skew with the models below")):
        if report is not None:
            yield _skew(report, title)
    if found.toml:
        yield "\n".join(found.toml)
    else:
        yield "no clock needs a model"


def _clocks(found: ClockSheet) -> Table:
    rows = []
    for clock in found.clocks:
        line = clock.line
        offset = "-" if line is None else f"{line.offset_ns / 1e6:.3f} ± {line.offset_error_ns / 1e6:.3f}"
        drift = "-" if line is None else f"{line.drift_ppm:.1f} ± {line.drift_error_ppm:.1f}"
        delay = "-" if line is None else f"{line.delay_ns / 1e6:.3f}"
        steps = ", ".join(
            f"{s.offset_ns / 1e6:+.1f} ± {s.error_ns / 1e6:.1f} at message {s.message}" for s in clock.steps[:3]
        )
        more = f" and {len(clock.steps) - 3} more" if len(clock.steps) > 3 else ""
        rows.append((clock.stream, clock.clock, clock.count, offset, drift, delay, (steps or "none") + more))
    columns = ("stream", "clock", "messages", "behind [ms]", "drift [ppm]", "usual delay [ms]", "steps [ms]")
    return Table(title=f"clocks of {found.name}, against the recorder's", columns=columns, rows=rows)


def _skew(report: AlignmentReport, title: str) -> Table:
    rows = []
    for name, s in report.streams.items():
        spread = (f"{v / 1e6:.1f}" for v in (s.skew.p50_ns, s.skew.p95_ns, s.skew.p99_ns, s.skew.max_ns))
        rows.append((name, s.clock, s.used, *spread, f"{s.skew_bias_ns / 1e6:+.1f}", s.gaps))
    columns = ("stream", "clock", "rows", "p50 [ms]", "p95 [ms]", "p99 [ms]", "max [ms]", "median signed [ms]", "gaps")
    return Table(title=title, columns=columns, rows=rows)
