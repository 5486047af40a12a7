"""LeRobot v3.0: many episodes a parquet file and a video file, found through ``meta/episodes``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Finding
from worldgate.data.logs._lerobot_episode import LeRobotLog, VideoSpan
from worldgate.data.logs._lerobot_meta import Meta, column, read_table
from worldgate.data.logs._lerobot_times import MESSAGES_PATH, TIMES_PATH

FACTS = "worldgate/facts"
"""Column of ``meta/episodes`` in which our writer keeps an episode's facts, as JSON."""


def episodes(meta: Meta) -> tuple[list[LeRobotLog], list[str], list[Finding]]:
    """Episodes that the metadata lists, the reasons to refuse, and what disagrees."""
    files = sorted((meta.root / "meta" / "episodes").rglob("*.parquet"))
    if not files:
        return [], ["meta/episodes holds no parquet"], []
    logs: list[LeRobotLog] = []
    reasons: list[str] = []
    for file in files:
        try:
            logs += _logs(meta, read_table(file), file)
        except (LogUnreadable, KeyError, TypeError, ValueError) as error:
            what = error.what if isinstance(error, LogUnreadable) else repr(error)[:80]
            reasons.append(f"{file.relative_to(meta.root)}: {what}")
    needed = {log.data for log in logs} | {span.path for log in logs for span in log.videos.values()}
    reasons += [f"{_relative(path, meta)} is missing" for path in sorted(needed) if not path.is_file()]
    logs.sort(key=lambda log: log.episode_index)
    findings = []
    if meta.total_episodes not in (-1, len(logs)):
        findings.append(_mismatch(len(logs), meta.total_episodes, "episodes"))
    frames = sum(log.length for log in logs)
    if meta.total_frames not in (-1, frames):
        findings.append(_mismatch(frames, meta.total_frames, "frames"))
    return logs, reasons, findings


def _relative(path: Path, meta: Meta) -> str:
    return Path(os.path.relpath(path, meta.root)).as_posix()


def _logs(meta: Meta, table: pa.Table, file: Path) -> list[LeRobotLog]:
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    wanted += [f"videos/{f.key}/{part}" for f in meta.of("video") for part in _VIDEO_PARTS]
    columns = {name: column(table, name, file) for name in wanted}
    tasks = table.column("tasks").to_pylist() if "tasks" in table.column_names else [[]] * len(table)
    facts = table.column(FACTS).to_pylist() if FACTS in table.column_names else ["{}"] * len(table)
    out = []
    for i in range(len(table)):
        row = {name: values[i] for name, values in columns.items()}
        out.append(_log(meta, row, tasks[i] or [], json.loads(facts[i] or "{}")))
    return out


_VIDEO_PARTS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


def _log(meta: Meta, row: dict[str, Any], tasks: list[str], facts: dict[str, Any]) -> LeRobotLog:
    index = int(row["episode_index"])
    videos = {}
    for feature in meta.of("video"):
        chunk, number, start, stop = (row[f"videos/{feature.key}/{part}"] for part in _VIDEO_PARTS)
        path = meta.path(meta.video_path, video_key=feature.key, chunk_index=int(chunk), file_index=int(number))
        videos[feature.key] = VideoSpan(path=path, from_s=float(start), to_s=float(stop))
    place = {"chunk_index": int(row["data/chunk_index"]), "file_index": int(row["data/file_index"])}
    data = meta.path(meta.data_path, **place)
    times, said = meta.path(TIMES_PATH, **place), meta.path(MESSAGES_PATH, **place)
    known = {str(k): v for k, v in facts.items() if isinstance(v, str | int | float | bool)}
    return LeRobotLog(
        meta=meta,
        name=f"episode_{index:06d}",
        episode_index=index,
        data=data,
        videos=videos,
        length=int(row["length"]),
        facts={"task": "; ".join(str(t) for t in tasks), "robot": meta.robot, **known},
        times=times if times.is_file() else None,
        messages=said if said.is_file() else None,
    )


def _mismatch(value: int, limit: int, unit: str) -> Finding:
    return Finding(
        check="count_mismatch",
        stream="",
        message=f"meta/episodes lists {value} {unit}, info.json says {limit}",
        value=float(value),
        limit=float(limit),
        unit=unit,
    )
