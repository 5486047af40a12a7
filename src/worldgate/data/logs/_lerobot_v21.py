"""LeRobot v2.0 and v2.1: one parquet file and one video a camera for each episode, metadata as JSON lines."""

from __future__ import annotations

import re
from pathlib import Path

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Finding
from worldgate.data.logs._lerobot_episode import LeRobotLog, VideoSpan
from worldgate.data.logs._lerobot_meta import Meta, read_jsonl

_EPISODE = re.compile(r"episode_(\d{6,})\.parquet")


def episodes(meta: Meta) -> tuple[list[LeRobotLog], list[str], list[Finding]]:
    """Episodes whose files are present, the reasons to refuse, and what disagrees with the metadata."""
    reasons: list[str] = []
    try:
        stated = {int(row["episode_index"]): row for row in read_jsonl(meta.root / "meta" / "episodes.jsonl")}
    except (LogUnreadable, KeyError, TypeError, ValueError) as error:
        return [], [f"meta/episodes.jsonl cannot be used ({error!r:.80})"], []
    found = sorted(int(m.group(1)) for m in map(_EPISODE.fullmatch, (p.name for p in _parquet(meta.root))) if m)
    logs = []
    for index in found:
        if index not in stated:
            reasons.append(f"episode {index} has rows but no metadata")
            continue
        log = _log(meta, index, stated[index])
        missing = [key for key, span in log.videos.items() if not span.path.is_file()]
        reasons += [f"episode {index} has no video of {key}" for key in missing]
        reasons += [] if log.data.is_file() else [f"episode {index} has no parquet where info.json says"]
        logs.append(log)
    findings = [] if len(found) == len(stated) else [_absent(len(found), len(stated))]
    return logs, reasons, findings


def _parquet(root: Path) -> list[Path]:
    return sorted((root / "data").rglob("*.parquet"))


def _log(meta: Meta, index: int, row: dict[str, object]) -> LeRobotLog:
    chunk = index // meta.chunks_size
    videos = {
        feature.key: VideoSpan(
            path=meta.path(meta.video_path, episode_chunk=chunk, video_key=feature.key, episode_index=index)
        )
        for feature in meta.of("video")
    }
    tasks = row.get("tasks")
    task = "; ".join(str(t) for t in tasks) if isinstance(tasks, list) else ""
    facts: dict[str, str | float | bool] = {"task": task, "robot": meta.robot}
    facts |= {
        key: value
        for key, value in row.items()
        if isinstance(value, str | int | float | bool) and key not in {"episode_index", "length", "tasks"}
    }
    length = row.get("length", -1)
    return LeRobotLog(
        meta=meta,
        name=f"episode_{index:06d}",
        episode_index=index,
        data=meta.path(meta.data_path, episode_chunk=chunk, episode_index=index),
        videos=videos,
        length=int(length) if isinstance(length, int) else -1,
        facts=facts,
    )


def _absent(present: int, stated: int) -> Finding:
    return Finding(
        check="count_mismatch",
        stream="",
        message=f"{present} episodes are present, the metadata describes {stated}",
        value=float(present),
        limit=float(stated),
        unit="episodes",
    )
