"""``worldgate data diff``, ``merge``, ``subset`` and ``card``: datasets compared, made from datasets, and described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from worldgate.cli._contract import read_facts
from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from worldgate.data.datasets import DatasetDiff
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace


def diff(before: str, after: str, /, *, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Compare two datasets: episodes, splits, facts, streams and contract.

    For example:

        worldgate data diff kitchen-1 kitchen-2
        worldgate data diff 4c7a9a17 5d01b2aa --json

    Logs are matched by content, never by name or place.

    Args:
        before: Id or name of a dataset.
        after: Id or name of another.
    """
    from worldgate.data import datasets

    with open_workspace(workspace) as ws:
        a, b = (ws.resolve(name, "dataset") for name in (before, after))
        found = datasets.diff(ws, a.digest, b.digest)
    rows = _changes(found)
    tables = [Table(columns=("what", "log", "change"), rows=rows)] if rows else []
    said = "the same episodes, splits and streams" if found.same else f"{len(found.added)} added, {len(found.removed)} "
    said += "" if found.same else f"removed, {len(found.moved)} changes of episodes in both"
    answer("data.diff", {"before": a, "after": b, "diff": found}, *tables, said, as_json=json)


def _changes(found: DatasetDiff) -> list[tuple[str, str, str]]:
    from worldgate.core.digest import short

    rows = [("added", f"{e.name} {short(e.log)}", f"in {e.split}") for e in found.added]
    rows += [("removed", f"{e.name} {short(e.log)}", f"from {e.split}") for e in found.removed]
    rows += [(m.what, f"{m.name} {short(m.log)}", _arrow(m.before, m.after)) for m in found.moved]
    rows += [("stream", "", f"{m.name}: {_arrow(m.before, m.after)}") for m in found.streams]
    for what, pair in (("contract", found.contract), ("alignment", found.alignment)):
        rows += [(what, "", _arrow(*pair))] if pair else []
    rows += [("refused now", short(log), "left out by the contract") for log in found.refused]
    return rows


def _arrow(before: str, after: str) -> str:
    """From one value to another; digests are shortened."""
    shown = [text[:12] if len(text) == 64 else text or "nothing" for text in (before, after)]
    return f"{shown[0]} → {shown[1]}"


def merge(*datasets: str, name: str, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Join datasets into one; each episode is taken once and keeps its split.

    For example:

        worldgate data merge kitchen-2 cell-4 --name both
        worldgate data merge 4c7a9a17 5d01b2aa 77b0c3d4 --name autumn

    Exit code 4 if an episode teaches in one and judges in another, or if the alignments differ.

    Args:
        datasets: Ids or names of datasets; the first one's contract names the result's.
        name: What people call the whole.
    """
    from worldgate.data.datasets import merge as join

    with open_workspace(workspace) as ws, progress("merge") as tell:
        ref = join(ws, [ws.resolve(text, "dataset") for text in datasets], name=name, progress=tell)
        _told(ws, ref, as_json=json)


def subset(
    dataset: str,
    /,
    *,
    name: str,
    split: str = "",
    site: str = "",
    robot: str = "",
    fact: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    since: str = "",
    until: str = "",
    without: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Take a part of a dataset; its episodes keep their ids and splits.

    For example:

        worldgate data subset kitchen-2 --site north --fact success=true --name north-good
        worldgate data subset kitchen-2 --without 4c7a9a17 --name without-one

    Args:
        dataset: Id or name of a dataset.
        name: What people call the part.
        split: Only this split.
        site: Only logs of this site.
        robot: Only logs of this robot.
        fact: Only logs that say NAME=VALUE of themselves; may be given several times.
        since: Only logs that start at this UTC instant or later: 2026-10-01T00:00:00Z.
        until: Only logs that end by this UTC instant.
        without: Ids or names of logs to leave out; may be given several times.
    """
    from worldgate.data import datasets

    facts = read_facts(fact)
    with open_workspace(workspace) as ws, progress("measure") as tell:
        keep = datasets.where(ws, split=split, site=site, robot=robot, facts=facts, since=since, until=until)
        left = {ws.resolve(text, "log").digest for text in without}
        whole = ws.resolve(dataset, "dataset")
        ref = datasets.subset(ws, whole, lambda e: keep(e) and e.log not in left, name=name, progress=tell)
        _told(ws, ref, as_json=json)


def _told(ws: Workspace, ref: Ref, *, as_json: bool) -> None:
    from collections import Counter

    from worldgate.core.digest import short
    from worldgate.data.datasets import manifest

    held = manifest(ws, ref.digest)
    counts = Counter(entry.split for entry in held.episodes)
    rows = [(split, count, sum(e.rows for e in held.split(split))) for split, count in sorted(counts.items())]
    table = Table(columns=("split", "episodes", f"rows [{held.rate_hz:g} Hz]"), rows=rows)
    said = f"dataset {short(ref.digest)} {ref.name}: {len(held.episodes)} episodes"
    next_ = f"next: worldgate data card {short(ref.digest)} --html card.html"
    answer("data.dataset", {"dataset": ref, "manifest": held}, table, said, next_, as_json=as_json)


def card(
    dataset: str,
    /,
    *,
    html: Path | None = None,
    episode: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Describe a dataset: terms, splits, streams, alignment, findings, episodes.

    For example:

        worldgate data card kitchen-2 > README.md
        worldgate data card kitchen-2 --html card.html
        worldgate data card kitchen-2 --html look.html --episode run-7.mcap run-8.mcap

    The page shows small pictures of every camera and a plot of every stream of numbers of some episodes; what a
    recorded contract masks or forbids is not among them.

    Args:
        dataset: Id or name of a dataset.
        html: Write a self-contained page there instead of Markdown to stdout; replaced if it exists.
        episode: Names or ids of the episodes that the page shows; else the first of every split, and a few more.
    """
    from worldgate.data.datasets import card as cards

    if episode and html is None:
        raise UsageError("episodes are shown on a page", got=episode[0], hint="--html FILE")
    with open_workspace(workspace) as ws:
        ref = ws.resolve(dataset, "dataset")
        body = {"dataset": ref, "card": cards.card(ws, ref)}
        if html is None:
            answer("data.card", body, cards.markdown(ws, ref).rstrip("\n"), as_json=json)
        else:
            page = cards.write_html(ws, ref, html, episodes=episode)
            answer("data.card", {**body, "html": page}, f"the card is {html}", as_json=json)
