"""``worldgate replay episodes``: recorded episodes open loop through a release, an old one and a world model."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.control.regressions import Made
    from worldgate.evidence.bootstrap import Interval


def episodes(
    dataset: str,
    release: str,
    /,
    *,
    against: str | None = None,
    model: str | None = None,
    split: str = "val",
    limit: str = "1.25",
    out: Path | None = None,
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Show recorded episodes to a release, open loop, and rank where it would have done something else.

    For example:

        worldgate replay episodes cell-1 careful-r3 --against careful-r2
        worldgate replay episodes cell-1 careful-r3 --against careful-r2 --model arm-dynamics --out regression.html

    What it commands is compared with what was recorded and with the old release; a world model's predictions under the
    recorded actions with what happened. Open loop cannot show closed-loop success. Exit code 3 where the release is
    shown to be farther from the recordings than the limit allows. The result is recorded as evidence.

    Args:
        dataset: Id or name of a dataset.
        release: Id or name of the release that is judged.
        against: Id or name of the release it is compared with.
        model: Id or name of a world model.
        split: Which of the dataset's splits; the release must not have learned from it.
        limit: Largest tolerable ratio of the errors, new / old.
        out: HTML page to write.
    """
    from worldgate.control.regressions import regress_recorded
    from worldgate.core.config import resolve
    from worldgate.evidence.regression_page import write_page
    from worldgate.evidence.regression_table import RegressionConfig

    most = _ratio(limit)
    config = resolve(RegressionConfig(), sets=set_, environment=False).value
    with open_workspace(workspace) as ws, progress("episodes") as tell:
        refs = {
            "new": ws.resolve(release, "release"),
            "old": ws.resolve(against, "release") if against else None,
            "model": ws.resolve(model, "world_model") if model else None,
        }
        new = refs["new"]
        assert new is not None
        made = regress_recorded(
            ws,
            ws.resolve(dataset, "dataset"),
            new,
            refs["old"],
            model=refs["model"],
            split=split,
            config=config,
            progress=tell,
        )
    if out is not None:
        names = {ref.digest: ref.name for ref in refs.values() if ref is not None and ref.name}
        write_page(out, made.regression, names=names, learned=made.learned)
    found = _interval(made)
    worse = found is not None and Fraction(found.lower) > most
    _tell(made, found, worse, [out] if out else [], as_json=json)
    return 3 if worse else 0


def _ratio(limit: str) -> Fraction:
    try:
        most = Fraction(limit)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError("--limit takes a number", got=limit) from error
    if most <= 0:
        raise UsageError("--limit is above 0", got=limit)
    return most


def _interval(made: Made) -> Interval | None:
    from worldgate.evidence.regression_table import interval

    try:
        return interval(made.regression, leave=made.learned)
    except UsageError:
        return None


def _tell(made: Made, found: Interval | None, worse: bool, files: Sequence[Path], *, as_json: bool) -> None:
    from worldgate.evidence.exact import shown
    from worldgate.evidence.regression_table import moments, ranked

    regression, evidence = made.regression, made.evidence
    rows = [
        (row.name, row.rows, row.skipped, *(_mean(trace) for trace in (row.new, row.old, row.apart)))
        for row in ranked(regression)[:10]
    ]
    columns = (
        "episode",
        "rows",
        "left out",
        "new - recorded [spreads]",
        "old - recorded [spreads]",
        "new - old [spreads]",
    )
    said = [f"{len(regression.episodes)} {regression.origin} episodes, the farthest behind first"]
    if found is not None:
        said.append(f"error new / old: {shown(found.estimate)}, 95 % bounds {found.lower} to {found.upper}")
    said += [f"{len(made.learned)} episodes were learned from and do not count in the bounds"] if made.learned else []
    said += [f"most at {m.name} from {m.start_s:g} s: {m.new:.3g}" for m in moments(regression)[:1]]
    said += [regression.caveat, f"evidence {evidence.digest[:12]}", *map(str, files)]
    body = {
        "evidence": evidence,
        "subject": regression.subject,
        "baseline": regression.baseline,
        "ratio": found,
        "worse": worse,
        "learned": made.learned,
        "episodes": ranked(regression),
        "moments": moments(regression)[:100],
        "caveat": regression.caveat,
        "files": files,
    }
    answer("replay.episodes", body, Table(columns=columns, rows=rows), *said, as_json=as_json)


def _mean(trace: object) -> str:
    value = getattr(trace, "mean", None)
    return "-" if value is None else f"{value:.3f}"
