"""LeRobot datasets: v2.0, v2.1 and v3.0 read, v3.0 written; each episode is one log.

Source: https://github.com/huggingface/lerobot. Read directly with pyarrow and PyAV: the ``lerobot`` package would
bring a training stack, and refuses v2.1. A dataset with anything broken in it is refused whole, and every reason is
named; counts that disagree while the data can be used (a subset of the episodes, a missing frame) become findings.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from worldgate.core.digest import digest_file
from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Finding, LogFolder
from worldgate.data.logs import _lerobot_v21 as v21
from worldgate.data.logs import _lerobot_v30 as v30
from worldgate.data.logs._lerobot_episode import LeRobotLog
from worldgate.data.logs._lerobot_join import Layout
from worldgate.data.logs._lerobot_meta import read_meta, read_table
from worldgate.data.logs._lerobot_times import RowTimes
from worldgate.data.logs._lerobot_write import LeRobotWriter, working_folder
from worldgate.data.logs._paths import files_of_parts

__all__ = ["CARD", "Layout", "LeRobotLog", "LeRobotWriter", "RowTimes", "detect", "open_logs", "working_folder"]

CARD = {
    "line": "LeRobot datasets v2.0, v2.1 and v3.0: parquet rows and videos, one log an episode",
    "inputs": "a folder with meta/info.json",
    "source": "https://github.com/huggingface/lerobot",
}

_log = logging.getLogger(__name__)
_SHOWN = 12

_LAYOUTS = {"v2.0": v21.episodes, "v2.1": v21.episodes, "v3.0": v30.episodes}


def detect(path: Path) -> bool:
    """A folder with ``meta/info.json``, itself or below it."""
    return path.is_dir() and bool(_roots(path))


def _roots(path: Path) -> list[Path]:
    if (path / "meta" / "info.json").is_file():
        return [path]
    return sorted(info.parent.parent for info in path.rglob("meta/info.json"))


def open_logs(path: Path) -> LogFolder:
    """Open a dataset, or every dataset below a folder.

    Raises:
        NotFound: no dataset there.
        LogUnreadable: a dataset that cannot be used; every reason is named.
    """
    roots = _roots(path)
    if not roots:
        raise NotFound("no LeRobot dataset (meta/info.json) in this folder", where=path)
    logs: list[LeRobotLog] = []
    findings: list[Finding] = []
    for root in roots:
        some, noticed = _open_dataset(root)
        prefix = "" if root == path else f"{root.relative_to(path).as_posix()}/"
        logs += [replace(log, name=f"{prefix}{log.name}") for log in some] if len(roots) > 1 else some
        findings += noticed
    return LogFolder(path=path, format="lerobot", logs=tuple(logs), findings=tuple(findings))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of the dataset of each episode: ``meta`` describes all of them, and v3.0 joins them in one file."""
    roots = _roots(path)
    return files_of_parts({root: len(_open_dataset(root)[0]) for root in roots}) if len(roots) > 1 else []


def _open_dataset(root: Path) -> tuple[list[LeRobotLog], list[Finding]]:
    meta, reasons = read_meta(root)
    logs: list[LeRobotLog] = []
    findings: list[Finding] = []
    if meta is not None and meta.version not in _LAYOUTS:
        reasons.append(f"version {meta.version}, not one of {', '.join(_LAYOUTS)}")
    elif meta is not None:
        logs, more, findings = _LAYOUTS[meta.version](meta)
        reasons += more
    if not any((root / "data").rglob("*.parquet")):
        reasons.append("no data/*.parquet: there are no states or actions")
    if reasons or not logs:
        reasons += [*_counts(root), *_same_videos(root)]
        raise LogUnreadable(
            f"this LeRobot dataset is refused for {len(reasons)} reason{'s' if len(reasons) != 1 else ''}",
            got="; ".join(reasons[:_SHOWN]) or "no episodes",
            where=root,
            hint="repair or remove what is named, then ingest again",
        )
    return logs, findings


def _counts(root: Path) -> list[str]:
    """How many episodes each part of a refused dataset claims, if they do not agree."""
    counts: dict[str, int] = {}
    try:
        tree = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
        stated = tree.get("total_episodes", tree.get("num_episodes"))
        counts |= {"info.json": int(stated)} if stated is not None else {}
    except (OSError, ValueError, TypeError, AttributeError):
        _log.debug("no count in %s", root)
    tables = sorted((root / "meta" / "episodes").rglob("*.parquet"))
    if tables:
        counts["meta/episodes"] = sum(len(read_table(table)) for table in tables)
    for camera, files in _cameras(root).items():
        counts[f"videos of {camera}"] = len(files)
    if len(set(counts.values())) < 2:
        return []
    return ["episodes disagree: " + ", ".join(f"{count} in {part}" for part, count in counts.items())]


def _cameras(root: Path) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for file in sorted((root / "videos").rglob("*.mp4")):
        groups.setdefault(file.parent.name, []).append(file)
    return groups


def _same_videos(root: Path) -> list[str]:
    """Cameras whose videos are byte for byte the same in every episode, said beside the other reasons."""
    return [
        f"all {len(files)} videos of {camera} are byte-identical (a dead camera)"
        for camera, files in _cameras(root).items()
        if len(files) > 1 and len({digest_file(file) for file in files}) == 1
    ]
