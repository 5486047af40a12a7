"""Which injected duplicates are found, and which different episodes of one rig are mistaken for such.

``.venv/bin/python benchmarks/dedup.py [--quick] [--json] [--real FOLDER] [--cache FOLDER]``. Episodes of the simulated
cell (seeds from 100) and real bridge and DROID episodes get copies of each kind of injection, each with its own draw.
Thresholds were chosen on other cell seeds (below 100; 5000 to 5059), the first eight bridge and the first five DROID
episodes. For every kind originals and copies stand in pools together, so each original must find its copy (recall) and
nothing else (precision): the wrong pairs are episodes of one rig at one task, with one background and home pose. The
more episodes of one task, the more of them resemble each other by chance: so the kind that is hardest to tell is
measured again with all in one pool. Kinds that end in ``, pictures alone`` or ``, numbers alone`` drop the rest of the
log, because what is left untouched would give the copy away. Bridge episodes last 2 s and have rows of their own.
Intervals: 95 %, Clopper-Pearson; 73 copies without a miss put the lower bound at 0.95. One row gives the bridge sample
twice to a workspace, once as it is and once cut, re-encoded, renamed and with other stamps, on two sides of a split.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.core.streams import NUMERIC, Finding, Kind, Log, Origin, Stream, StreamInfo
from worldgate.data.duplicates import finding
from worldgate.data.duplicates.match import Match, matches
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import Sketch, sketch
from worldgate.data.ingest import ingest, ingested
from worldgate.data.logs import open_folder
from worldgate.data.logs.mcap import write_log
from worldgate.evidence.statistics import binomial_interval
from worldgate.record.workspace import Workspace
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig

SECOND = 1_000_000_000
Images = NDArray[np.uint8]
BAR = 0.95


class Pictures:
    """Frames in memory."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: NDArray[np.int64]) -> Images:
        return self.images[indices]

    def content_digest(self) -> str:
        return str(hash(self.images.tobytes()))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A log in memory."""

    name: str
    held: Mapping[str, Stream]
    origin: Origin = Origin.SIMULATED
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        return self.held[stream]


Change = Callable[[Made, np.random.Generator], Made]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many logs of each source are copied."""

    cell: int = 40
    draws: int = 2
    """Copies of each of them, each drawn apart and in a pool of its own."""
    pool: int = 8
    """Episodes of the cell in one pool."""
    large: int = 40
    """Episodes of the cell in the one large pool."""
    droid: int = 2
    """Of each of two laboratories."""
    bridge: int = 12
    twice: int = 25
    """Bridge episodes that are given twice."""


QUICK = Sizes(cell=3, draws=1, pool=3, large=3, droid=1, bridge=2, twice=3)


def take(log: Log, name: str) -> Made:
    """A log's numbers and cameras, in memory, at most 128 pixels across."""
    held = {}
    for info in log.streams():
        if info.kind not in {*NUMERIC, Kind.IMAGE}:
            continue
        stream = log.read(info.name)
        if info.kind is Kind.IMAGE:
            images = stream.values if isinstance(stream.values, np.ndarray) else None
            if images is None:
                images = stream.frames.read(np.arange(len(stream), dtype=np.int64))
            stream = replace(stream, values=Pictures(np.stack([fitted(image) for image in images])))
        held[info.name] = stream
    return Made(name=name, held=held)


def fitted(image: Images) -> Images:
    """At most 128 pixels across."""
    share = min(1.0, 128 / image.shape[1])
    return image if share == 1 else cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def pictures(log: Made, change: Callable[[Images], Images]) -> Made:
    """Every camera's pictures changed."""
    held = dict(log.held)
    for name, stream in log.held.items():
        if isinstance(stream.values, Pictures):
            images = change(stream.values.images)
            held[name] = replace(stream, values=Pictures(images), info=replace(stream.info, shape=images.shape[1:]))
    return replace(log, held=held)


def jpeg(log: Made, rng: np.random.Generator) -> Made:
    """JPEG at a quality of 30 to 60, at 0.6 to 1.4 of the size."""
    quality, scale = int(rng.integers(30, 61)), float(rng.uniform(0.6, 1.4))

    def one(image: Images) -> Images:
        sized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", sized[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])

    return pictures(log, lambda images: np.stack([one(image) for image in images]))


def h264(log: Made, rng: np.random.Generator) -> Made:
    """H.264 at a CRF of 28 to 38."""
    crf = str(int(rng.integers(28, 39)))

    def whole(images: Images) -> Images:
        images = images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as out:
            video = out.add_stream("libx264", rate=10, options={"crf": crf, "preset": "veryfast", "threads": "1"})
            video.width, video.height, video.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
            for image in images:
                out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            out.mux(video.encode())
        buffer.seek(0)
        with av.open(buffer) as back:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in back.decode(video=0)])

    return pictures(log, whole)


def crop(log: Made, rng: np.random.Generator) -> Made:
    """5 to 15 % of each side's length cut off around the middle, then scaled back."""
    share = float(rng.uniform(0.05, 0.15))

    def whole(images: Images) -> Images:
        height, width = images.shape[1:3]
        top, left = round(height * share / 2), round(width * share / 2)
        cut = images[:, top : height - top, left : width - left]
        return np.stack([cv2.resize(image, (width, height)) for image in cut])

    return pictures(log, whole)


def shift(log: Made, rng: np.random.Generator) -> Made:
    """Moved by up to 5 % of the side in any direction, and at least by 2 %; edges repeat."""
    down, right = (float(rng.choice([-1, 1]) * rng.uniform(0.02, 0.05)) for _ in range(2))

    def whole(images: Images) -> Images:
        height, width = images.shape[1:3]
        rows = (np.arange(height) + round(down * height)).clip(0, height - 1)
        columns = (np.arange(width) + round(right * width)).clip(0, width - 1)
        return images[:, rows][:, :, columns]

    return pictures(log, whole)


def brightness(log: Made, rng: np.random.Generator) -> Made:
    """Contrast of 0.6 to 1.3, brightness of -30 to 30, gamma of 0.8 to 1.25."""
    gain, lift, gamma = rng.uniform(0.6, 1.3), rng.uniform(-30, 30), rng.uniform(0.8, 1.25)
    table = np.clip(255 * (np.arange(256) / 255) ** gamma * gain + lift, 0, 255).astype(np.uint8)
    return pictures(log, lambda images: table[images])


def cut(log: Made, rng: np.random.Generator) -> Made:
    """A piece of 60 to 80 % of the time, from anywhere."""
    start = min(int(s.times_ns.min()) for s in log.held.values() if len(s))
    end = max(int(s.times_ns.max()) for s in log.held.values() if len(s))
    share = float(rng.uniform(0.6, 0.8))
    first = start + int((end - start) * float(rng.uniform(0, 1 - share)))
    last = first + int((end - start) * share)
    held = {}
    for name, s in log.held.items():
        kept = np.flatnonzero((s.times_ns >= first) & (s.times_ns <= last))
        values = Pictures(s.values.images[kept]) if isinstance(s.values, Pictures) else s.array[kept]
        held[name] = replace(s, times_ns=s.times_ns[kept], values=values)
    return replace(log, held=held)


def stamps(log: Made, rng: np.random.Generator) -> Made:
    """Recorded at another time."""
    later = int(rng.integers(1, 10**6)) * SECOND + int(rng.integers(0, SECOND))
    return replace(log, held={n: replace(s, times_ns=s.times_ns + later) for n, s in log.held.items()})


def relabel(log: Made, rng: np.random.Generator) -> Made:
    """Other names of the streams, other facts."""
    held = {}
    for place, s in enumerate(log.held.values()):
        name = f"topic_{place}"
        held[name] = replace(s, info=replace(s.info, name=name))
    return replace(log, held=held, facts={"success": False, "task": "another"})


def resample(log: Made, rng: np.random.Generator) -> Made:
    """Numbers at 8 to 20 Hz instead of their own rate, as float32."""
    rate = float(rng.uniform(8, 20))
    held = dict(log.held)
    for name, s in log.held.items():
        if not isinstance(s.values, Pictures) and len(s) > 1:
            times = np.arange(s.times_ns[0], s.times_ns[-1], round(SECOND / rate))
            flat = s.array.reshape(len(s), -1)
            values = np.stack([np.interp(times, s.times_ns, c) for c in flat.T], 1).astype(np.float32)
            held[name] = replace(s, times_ns=times.astype(np.int64), values=values)
    return replace(log, held=held)


def only(log: Made, pictures: bool) -> Made:
    """Cameras alone, or numbers alone."""
    return replace(log, held={n: s for n, s in log.held.items() if isinstance(s.values, Pictures) == pictures})


def chain(*changes: Change) -> Change:
    """One after another."""

    def all_of(log: Made, rng: np.random.Generator) -> Made:
        for change in changes:
            log = change(log, rng)
        return log

    return all_of


def seen(log: Made, rng: np.random.Generator) -> Made:
    """Cameras alone."""
    return only(log, True)


def felt(log: Made, rng: np.random.Generator) -> Made:
    """Numbers alone."""
    return only(log, False)


KINDS: Mapping[str, Change] = {
    "JPEG, other size": jpeg,
    "H.264": h264,
    "crop 5-15 %": crop,
    "shift 2-5 %": shift,
    "brightness": brightness,
    "cut in time": cut,
    "stamps": stamps,
    "relabelled": relabel,
    "all at once": chain(crop, brightness, jpeg, cut, stamps, relabel),
    "JPEG, other size, pictures alone": chain(jpeg, seen),
    "H.264, pictures alone": chain(h264, seen),
    "crop 5-15 %, pictures alone": chain(crop, seen),
    "shift 2-5 %, pictures alone": chain(shift, seen),
    "brightness, pictures alone": chain(brightness, seen),
    "cut in time, pictures alone": chain(cut, stamps, seen),
    "all at once, pictures alone": chain(crop, brightness, jpeg, cut, stamps, relabel, seen),
    "cut in time, numbers alone": chain(cut, stamps, felt),
    "resampled, numbers alone": chain(resample, stamps, felt),
}


def cell(seeds: Sequence[int], folder: Path) -> Iterator[Made]:
    """Episodes of one site's one arm at one task, by three experts; rendered once and kept in the folder."""
    config = RecordConfig(sensors=SensorConfig(geometry=(), lidar=False))
    for seed in seeds:
        expert = ("scripted", "noisy", "careless")[seed % 3]
        path = folder / digest_json(config)[:12] / f"{expert}-{seed}.mcap"
        if not path.exists():
            part = path.with_name(f"part-{path.name}")
            part.unlink(missing_ok=True)
            part.parent.mkdir(parents=True, exist_ok=True)
            record(part, expert=expert, seed=seed, duration_s=6.0, config=config)
            part.rename(path)
        yield take(open_folder(path).logs[0], path.stem)


@dataclass
class Count:
    """Pairs of one kind in one source."""

    copies: int = 0
    found: int = 0
    wrong: int = 0
    pairs: int = 0
    missed: list[str] = field(default_factory=list)
    mistaken: list[str] = field(default_factory=list)


def matched(pool: Sequence[Sketch]) -> list[tuple[int, int, Match]]:
    """Pairs of a pool that match."""
    names = [str(place) for place in range(len(pool))]
    return [(int(m.first), int(m.second), m) for m in matches(names, pool, MatchConfig())]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Logs that stand in one pool with their copies; sketched once for all kinds that look at the same parts."""

    logs: Sequence[Made]
    sketches: Sequence[Sketch]

    @classmethod
    def of(cls, logs: Sequence[Made], part: Callable[[Made], Made]) -> Pool:
        """Sketch some logs' parts."""
        return cls(logs=logs, sketches=[sketch(part(log)) for log in logs])


def measure(pool: Pool, kind: str, seed: int) -> Count:
    """One kind over one pool."""
    logs, n = pool.logs, len(pool.logs)
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    both = [*pool.sketches, *(sketch(KINDS[kind](log, rng)) for log in logs)]
    count = Count(copies=n, pairs=2 * n * (2 * n - 1) // 2)
    found = set()
    for a, b, match in matched(both):
        if b - a == n:
            found.add(a)
        else:
            said = " - ".join(("copy of " if e >= n else "") + logs[e % n].name for e in (a, b))
            count.mistaken.append(f"{said}: {match.kind} {match.score} {match.why}")
    count.found, count.wrong = len(found), len(count.mistaken)
    count.missed = [logs[i].name for i in range(n) if i not in found]
    return count


def interval(hits: int, total: int) -> list[float]:
    """95 % Clopper-Pearson."""
    return [float(x) for x in binomial_interval(hits, total, Fraction(1, 20))] if total else [0.0, 1.0]


def summed(counts: Sequence[Count]) -> Count:
    """All sources of one kind."""
    return Count(
        copies=sum(c.copies for c in counts),
        found=sum(c.found for c in counts),
        wrong=sum(c.wrong for c in counts),
        pairs=sum(c.pairs for c in counts),
        missed=[name for c in counts for name in c.missed],
        mistaken=[name for c in counts for name in c.mistaken],
    )


def row(kind: str, count: Count, *, judged: bool) -> dict[str, Any]:
    """One line of the table; kinds that are only reported have no verdict."""
    said = count.found + count.wrong
    precision, recall = count.found / max(said, 1), count.found / max(count.copies, 1)
    return {
        "what": kind,
        "copies": count.copies,
        "recall": round(recall, 4),
        "recall_95": interval(count.found, count.copies),
        "precision": round(precision, 4),
        "precision_95": interval(count.found, said),
        "wrong": count.wrong,
        "pairs": count.pairs,
        "bar": BAR if judged else None,
        "ok": bool(precision >= BAR and recall >= BAR) if judged else None,
        "missed": count.missed,
        "mistaken": count.mistaken,
    }


def twice(folder: Path, limit: int) -> dict[str, Any]:
    """The bridge sample in a workspace as it is and cut, re-encoded, shifted in time and renamed."""
    rng = np.random.default_rng(7)
    change = chain(jpeg, cut, stamps, relabel)
    with tempfile.TemporaryDirectory() as scratch:
        ws = Workspace.init(Path(scratch) / "w", person="bench")
        pairs = set()
        for place, log in enumerate(open_folder(folder / "octo_bridge_rlds").logs[:limit]):
            ends = []
            for side, made in (("train", take(log, "a")), ("val", change(take(log, "b"), rng))):
                path = Path(scratch) / f"{side}-{place:02d}.mcap"
                write_log(path, list(made.held.values()), origin=Origin.REAL, facts={"split": side})
                ends += [ref.digest for ref in ingest(ws, path)]
            pairs.add(tuple(ends))
        split_of = {d: str(record.facts["split"]) for d, record in ingested(ws).items()}
        leaks = list(finding.leaks(finding.find(ws).matches, split_of))
        ws.close()
    found = {tuple(sorted((x.match.first, x.match.second))) for x in leaks}
    wanted = {tuple(sorted(pair)) for pair in pairs}
    hits = len(found & wanted)
    count = Count(copies=len(wanted), found=hits, wrong=len(found - wanted), pairs=len(split_of) ** 2 // 4)
    return row(TWICE, count, judged=True)


PARTS: Mapping[str, Callable[[Made], Made]] = {
    ", pictures alone": lambda log: only(log, True),
    ", numbers alone": lambda log: only(log, False),
    "": lambda log: log,
}
TWICE = "bridge given twice: train and val share clips"
LARGE = "all at once, pictures alone"
"""The kind that is also measured with many more episodes of one task in its pool."""


def sources(sizes: Sizes, cache: Path, folder: Path | None) -> tuple[list[list[Made]], list[list[Made]]]:
    """Pools of logs of 5 s and more, and pools of logs of 2 s."""
    episodes = list(cell(range(100, 100 + sizes.cell), cache))
    long, short = [episodes[at : at + sizes.pool] for at in range(0, len(episodes), sizes.pool)], []
    if folder is not None:
        parts = [("droid_ctrlworld/droid_subset", slice(5, min(11, 5 + sizes.droid)))]
        parts += [("droid_ctrlworld/droid_new_setup", slice(0, sizes.droid))]
        long += [[take(log, f"droid:{log.name}") for log in open_folder(folder / w).logs[p]] for w, p in parts]
        bridge = open_folder(folder / "octo_bridge_rlds").logs[8 : 8 + sizes.bridge]
        short = [[take(log, f"bridge:{log.name}") for log in bridge]]
    return long, short


def run(
    sizes: Sizes,
    cache: Path,
    folder: Path | None,
    keep: Callable[[list[dict[str, Any]]], None],
    known: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Every row, kept as it comes; those that are known are not measured again."""
    long, short = sources(sizes, cache, folder)
    cells = -(-sizes.cell // sizes.pool)
    rows: list[dict[str, Any]] = list(known)
    done = {row["what"] for row in rows}
    if folder is not None and TWICE not in done:
        rows.append(twice(folder, sizes.twice))
        keep(rows)
    together = [log for logs in long for log in logs if not log.name.startswith("droid")][: sizes.large]
    if (name := f"{LARGE}, {2 * len(together)} logs in one pool") not in done:
        rows.append(row(name, measure(Pool.of(together, PARTS[", pictures alone"]), LARGE, 99), judged=True))
        keep(rows)
    for part, of in PARTS.items():
        pools = {"": [Pool.of(logs, of) for logs in long], ", of logs of 2 s": [Pool.of(logs, of) for logs in short]}
        for kind in KINDS:
            if part != next(p for p in PARTS if kind.endswith(p)):
                continue
            cuts = any(word in kind for word in ("cut", "all at once", "resampled"))
            for which, held in pools.items():
                if f"{kind}{which}" in done:
                    continue
                counts = [measure(pool, kind, 1 + place) for place, pool in enumerate(held)]
                if not which:
                    again = range(1, sizes.draws)
                    counts += [measure(p, kind, 100 * d + at) for d in again for at, p in enumerate(held[:cells])]
                if counts:
                    rows.append(row(f"{kind}{which}", summed(counts), judged=not (which and cuts)))
                    keep(rows)
    return rows


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--real", type=Path, default=os.environ.get("WORLDGATE_DATA"))
    parser.add_argument("--resume", action="store_true", help="go on where the last run with this code was stopped")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-dedup")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    start, sizes = time.perf_counter(), QUICK if asked.quick else Sizes()
    said: list[str] = []
    results = Path(__file__).parent / "results" / "dedup.json"

    def whole(rows: list[dict[str, Any]]) -> str:
        about = {"benchmark": "dedup", **asdict(sizes), "machine": platform.machine(), "load": os.getloadavg()[0]}
        about |= {
            "seconds": round(time.perf_counter() - start),
            "complete": len(rows) == len(KINDS) + 1 + (asked.real is not None) * (len(KINDS) + 1),
        }
        return json.dumps({**about, "real": asked.real is not None, "rows": rows}, indent=1) + "\n"

    def keep(rows: list[dict[str, Any]]) -> None:
        if not asked.quick and asked.real is not None:
            write_atomic(results, whole(rows).encode(), overwrite=True)
        for last in [] if asked.json else rows[len(said) :]:
            said.append(last["what"])
            recall, precision = (f"{last[x]:.3f} from {last[f'{x}_95'][0]:.3f}" for x in ("recall", "precision"))
            counts = f"{last['copies']:3d} copies of {last['pairs']:6d} pairs"
            print(f"{last['what']:60s} {counts}  recall {recall}  precision {precision}  {last['ok']}", flush=True)

    known = json.loads(results.read_text())["rows"] if asked.resume else []
    rows = run(sizes, asked.cache, asked.real, keep, known)
    if asked.json:
        print(whole(rows), end="")


if __name__ == "__main__":
    main()
