"""How many frames a second one core puts through the camera checks, with decoding and without, each and all together.

A robot arm's worth of motion over a textured, noisy scene is encoded at 256 x 256 and 640 x 480, as H.264 with groups
of 16 and as AV1 with groups of 2 (LeRobot's default). For each file: *decode only*, the physical limit, runs the same
decoder and touches every frame's luma; *the pass* decodes and measures; *all checks* is ``run`` of every camera check
on a fresh log, which is what a user waits for; *without decoding* is the same on luma planes that lie in memory. A
check alone is what it costs after the pass. The process is held to one core and times are its own CPU seconds, which a
busy machine changes less than the clock on the wall; rounds of all measurements are interleaved, medians reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo
from worldgate.data.checks import _frames, run
from worldgate.data.logs._video import VideoFrames, video_index

KEPT = Path(__file__).resolve().parent / "results" / "checks_throughput.json"
CHECKS = (
    "blank", "blur", "content_rate", "corrupt", "dropped_frames", "exposure", "extrinsics", "frozen", "metadata",
    "occluded", "resolution",
)  # fmt: skip
SIZES = ((256, 256), (480, 640))
CODECS = {
    "H.264 groups of 16": ("libx264", {"crf": "23", "preset": "veryfast", "g": "16"}),
    "AV1 groups of 2": ("libsvtav1", {"crf": "30", "preset": "10", "g": "2", "svtav1-params": "lp=1"}),
}
BAR = 1500
"""Frames a second and core for all checks together at 256 x 256, with decoding where the decoder alone is faster."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """Two streams in memory; every object is a new log to the checks."""

    held: tuple[Stream, ...]
    name: str = "bench"
    origin: Origin = Origin.SIMULATED
    findings: tuple[Finding, ...] = ()

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        """None."""
        return {}

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(stream.info for stream in self.held)

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return next(held for held in self.held if held.info.name == stream)


def picture(number: int, scene: Any, draw: np.random.Generator) -> Any:
    """One frame: the scene, an arm of two links over it, sensor noise."""
    height, width = scene.shape
    out = scene.copy()
    root = (width // 2, 0)
    elbow = (int(width * (0.5 + 0.2 * np.sin(number / 17))), int(height * 0.35))
    hand = (int(elbow[0] + width * 0.2 * np.cos(number / 11)), int(height * (0.6 + 0.15 * np.sin(number / 7))))
    for start, end in ((root, elbow), (elbow, hand)):
        cv2.line(out, start, end, 225.0, max(2, width // 24))
    noisy = out + draw.normal(0.0, 1.5, out.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write(path: Path, size: tuple[int, int], codec: str, options: dict[str, str], count: int) -> None:
    """Encode the scene."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(50, 180, (size[0] // 16, size[1] // 16)).astype(np.float64)
    scene = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) + draw.integers(-15, 15, size)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(30), options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = int(options["g"])
        for number in range(count):
            grey = picture(number, scene, draw)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        container.mux(stream.encode(None))


def log_of(values: Any, size: tuple[int, int]) -> Log:
    """A log of a camera and a robot that moves with it."""
    count = len(values)
    times = np.arange(count, dtype=np.int64) * 1_000_000_000 // 30
    info = StreamInfo(name="camera", kind=Kind.IMAGE, count=count, shape=(*size, 3), rate_hz=30.0)
    state = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=count, shape=(3,), rate_hz=30.0)
    moves = np.sin(np.arange(count)[:, None] / np.array([17.0, 11.0, 7.0]))
    return Log(
        held=(Stream(info=info, times_ns=times, values=values), Stream(info=state, times_ns=times, values=moves))
    )


def decode_only(frames: VideoFrames) -> None:
    """Every frame out of the decoder, one byte in 64 of its luma read."""
    for _, frame in frames.decoded():
        np.frombuffer(frame.planes[0], dtype=np.uint8)[::64].max()  # type: ignore[call-overload]  # a buffer


def everything(log: Log) -> None:
    """What ``worldgate check`` does of one log that it has not seen: features are kept by content, so they go first."""
    _frames._CACHE.clear()
    for name in CHECKS:
        run(name, log)


def measure(path: Path, size: tuple[int, int], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every measurement, by name, one entry a round."""
    index = video_index(path)
    frames = VideoFrames(path=path, rows=np.arange(len(index.pts), dtype=np.int64))
    planes = np.stack([_frames._plane(frame, 0).copy() for _, frame in frames.decoded()])
    took: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        start = time.process_time()
        work()
        took.setdefault(name, []).append(time.process_time() - start)

    for warm in range(rounds + 1):
        if warm == 1:
            took.clear()
        timed("decode only", lambda: decode_only(frames))
        timed("the pass", lambda: _frames.measure(log_of(frames, size).held[0]))
        timed("all checks", lambda: everything(log_of(frames, size)))
        timed("all checks, without decoding", lambda: everything(log_of(planes, size)))
        log = log_of(frames, size)
        run("resolution", log)  # makes the pass
        for name in CHECKS:
            timed(name, lambda name=name, log=log: run(name, log))  # type: ignore[misc]
    return took


def rows_of(took: dict[str, list[float]], label: str, count: int, size: tuple[int, int]) -> list[dict[str, object]]:
    """The table of one file."""
    rates = {name: count / max(statistics.median(times), 1e-6) for name, times in took.items()}
    limit = rates["decode only"]
    for name in ("the pass", "all checks"):
        # Faster than its own decoder: something was remembered, and the figure would be of a cache.
        assert rates[name] <= limit, f"{label}: {name} at {rates[name]:.0f} frames/s, decode only {limit:.0f}"
    rows = []
    for name, rate in rates.items():
        alone = name in CHECKS
        reachable = "without" in name or limit > BAR  # no check is faster than the decoder before it
        bar = BAR if size[0] == 256 and name.startswith("all checks") and reachable else None
        spread = [count / max(t, 1e-6) for t in took[name]]
        rows.append(
            {
                "what": f"{label}: {name}" + (", after the pass" if alone else ""),
                "value": round(rate),
                "unit": "frames/s",
                "spread": [round(min(spread)), round(max(spread))],
                "peer": "" if alone or "without" in name or name == "decode only" else "decode only",
                "peer_value": round(limit),
                "ratio": None if alone or "without" in name else round(rate / limit, 3),
                "bar": bar,
                "ok": None if bar is None else rate >= bar,
            }
        )
    return rows


def machine() -> str:
    """Where and at which commit, and how busy it was."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, held to 1 of {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{platform.system()}, load {load:.1f}, commit {commit.stdout.strip()}"
    )


def main() -> None:
    """Print the table, or one JSON object; a full run is kept."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="150 frames and one round instead of 600 and five")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    told = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    count, rounds = (150, 1) if told.quick else (600, 5)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            for codec, (encoder, options) in CODECS.items():
                path = Path(scratch) / f"{encoder}-{size[0]}.mp4"
                write(path, size, encoder, options, count)
                rows += rows_of(measure(path, size, rounds), f"{size[1]}x{size[0]} {codec}", count, size)
    result = {"name": "checks_throughput", "machine": machine(), "rows": rows}
    if not told.quick:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(result, indent=1) + "\n")
    if told.json:
        print(json.dumps(result))
        return
    print(result["machine"])
    for row in rows:
        of = f"{row['ratio']:.2f} of decode only" if row["ratio"] else ""
        bar = f"bar {row['bar']:,} {'ok' if row['ok'] else 'short'}" if row["bar"] else ""
        print(f"{row['what']:62} {row['value']:>10,} {row['unit']}  {of:22} {bar}".rstrip())
    if told.quick and KEPT.is_file():
        kept = json.loads(KEPT.read_text())
        print(f"last full run, {kept['machine']}:")
        for row in kept["rows"]:
            if "all checks" in row["what"] or "decode only" in row["what"]:
                print(f"  {row['what']:60} {row['value']:>10,} {row['unit']}")


if __name__ == "__main__":
    main()
