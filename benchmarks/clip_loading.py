"""How fast random clips become batches: ours beside LeRobotDataset, torchcodec and a memory map.

Clips of 16 frames from every camera, with states and actions, at random from real recordings: Unitree G1 (one camera,
AV1 640x480) and DROID (three cameras, H.264 320x192), as LeRobot v3.0 datasets that every reader reads: the recordings'
own packets, and LeRobot's own default encoding (AV1, a keyframe every other frame) at the size that is wanted. A
reader is one process on one core; repeats are interleaved. LeRobot is measured at ``__getitem__``, without collation,
ours up to the finished batch. Pictures of the same clips are compared first. Figures are frames a second of wall time;
``cpu`` counts the process's own time, which a busy machine does not change as much.

"Every clip decoded" decodes each clip for itself, which no loader does faster than its decoder. "Block order" is a
whole first epoch of overlapping clips, from its first to its last, by a loader that has decoded nothing yet: once with
1 GB for eight open spans, once with memory for a quarter of the frames and four. It stands beside random clips of
LeRobotDataset, which is its own shuffled epoch, and beside LeRobotDataset in row order, which is not shuffled; how well
the clips of a batch are mixed is told beside the uniform order. The clip cache was made before.

Real recordings lie at ``WORLDGATE_DATA`` or ``../shared/data/real``. ``--quick`` takes fewer episodes, one size, the
recordings' own packets, and of each peer the one configuration that is the fastest nearly everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers.clip_files import Recordings, cameras_of, write_dataset

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KEPT = HERE / "results" / "clip_loading.json"
PEERS = {"LeRobotDataset 0.4.4": ".venv-lerobot", "LeRobotDataset, newest": ".venv-lerobot312"}
T = 16
EPOCHS = 2
"""Repeats of what is measured over whole epochs."""
EQUAL_DB = 30.0
"""Pictures of two readers are the same pictures from here on; frames that are neighbours in time stand below."""

G1 = Recordings(name="G1", folder="g1_lerobot_v21", codec="AV1", fps=30)
DROID = Recordings(name="DROID", folder="droid_ctrlworld/droid_subset", codec="H.264", fps=5)


@dataclass
class Process:
    """A process that serves clips, one command at a time."""

    python: Path
    process: subprocess.Popen[str] | None = None

    def ask(self, **told: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        if self.process is None:
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "PYTHONWARNINGS": "ignore",
                "SVT_LOG": "0",
            }
            self.process = subprocess.Popen(
                [str(self.python), str(HERE / "peers" / "clip_reader.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with {self.process.wait()}"}

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Contender:
    """One reader in one configuration over one set of files."""

    name: str
    group: str
    """``lerobot``, ``lerobot rows``, ``torchcodec``, ``ours``, ``blocks``, ``cache`` or ``memmap``."""
    process: Process
    told: dict[str, Any]
    files: str = ""
    wall: list[float] = field(default_factory=list)
    """Frames a second, repeat by repeat."""
    cpu: list[float] = field(default_factory=list)
    count: int = 0
    error: str = ""
    psnr_db: float = float("nan")
    mix: dict[str, float] = field(default_factory=dict)
    """Of the block order: how well a batch is mixed."""

    @property
    def key(self) -> str:
        return f"{self.name}/{self.files}/{self.told['height']}x{self.told['width']}"

    @property
    def whole(self) -> bool:
        """Measured over a whole epoch, whatever that takes."""
        return bool(self.told["reader"] == "epoch")

    @property
    def rate(self) -> float:
        """Median frames a second."""
        return statistics.median(self.wall)

    @property
    def frames(self) -> int:
        """Frames of one clip."""
        return T * len(self.told["cameras"])

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """A command; the first error ends this contender."""
        if self.error:
            return {"error": self.error}
        answer = self.process.ask(do=do, name=self.key, **more)
        self.error = answer.get("error", "")
        return answer

    def start(self, seconds: float) -> None:
        """Open it, and see how many clips fill a repeat."""
        self.ask("open", **self.told)
        if self.whole:
            self.mix = self.ask("mix")
        self.ask("run", first=0, count=8)
        answer = self.ask("run", first=8, count=8)
        if self.whole:
            self.count = 2 * 8  # any more than a batch: an epoch is measured whole
        elif not self.error:
            self.count = max(8, round(seconds / max(answer["wall"], 1e-6)) * 8)

    def repeat(self, index: int) -> None:
        """Measure once."""
        answer = self.ask("run", first=16 + index * self.count, count=self.count)
        if not self.error:
            self.wall.append(answer["clips"] * self.frames / answer["wall"])
            self.cpu.append(answer["clips"] * self.frames / max(answer["cpu"], 1e-9))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    episodes: int
    sizes: tuple[tuple[int, int], ...]
    repeats: int
    seconds: float
    anew: bool
    """Also read LeRobot's own encoding, at the size that is wanted."""
    backends: tuple[str, ...]
    """Of LeRobotDataset."""
    seeks: tuple[str, ...]
    """Of torchcodec."""
    in_order: bool
    """Also read LeRobotDataset row by row."""


QUICK = Plan(
    episodes=2, sizes=((256, 256),), repeats=2, seconds=0.2, anew=False, backends=("torchcodec",),
    seeks=("approximate",), in_order=False,
)  # fmt: skip
FULL = Plan(
    episodes=6, sizes=((96, 96), (256, 256), (480, 640)), repeats=3, seconds=0.7, anew=True,
    backends=("torchcodec", "pyav"), seeks=("exact", "approximate"), in_order=True,
)  # fmt: skip


def random_clips(lengths: list[int], count: int = 4096) -> list[list[int]]:
    """Clips uniformly over all rows that begin one."""
    rng = np.random.default_rng(0)
    every = [[episode, row] for episode, length in enumerate(lengths) for row in range(length - T + 1)]
    return [every[i] for i in rng.integers(0, len(every), count)]


def contenders(
    about: Recordings, data: Path, scratch: Path, plan: Plan, processes: dict[str, Process]
) -> Iterator[tuple[tuple[int, int], list[Contender]]]:
    """All readers of one recording set, size by size."""
    episodes = about.episodes(data, plan.episodes)
    cameras, lengths = cameras_of(episodes[0]), [len(e) for e in episodes]
    native = tuple(episodes[0].streams[cameras[0]].info.shape[:2])
    chosen = random_clips(lengths)
    common = {
        "cameras": cameras,
        "numbers": about.numbers,
        "fps": about.fps,
        "starts": np.cumsum([0, *lengths[:-1]]).tolist(),
        "clips": chosen,
        "some": chosen[:3],
        "rows": [[episode, row] for episode, length in enumerate(lengths) for row in range(length - T + 1)],
        "cache": str(scratch / f"{about.name}-cache"),
    }
    own = f"own {about.codec} {native[1]}x{native[0]}"
    roots = {own: (write_dataset(scratch / f"{about.name}-own", episodes, about, None), native)}
    for size in plan.sizes:
        files = dict(roots)
        if size != native and plan.anew:
            root = write_dataset(scratch / f"{about.name}-{size[0]}x{size[1]}", episodes, about, size)
            files[f"AV1 g=2 {size[1]}x{size[0]}"] = (root, size)
        found: list[Contender] = []
        for label, (root, held) in files.items():
            told = {**common, "root": str(root), "height": size[0], "width": size[1], "resize": held != size}
            told["raw"] = sum(lengths) * len(cameras) * size[0] * size[1] * 3
            found += readers(told, label, processes, plan)
        told = {**common, "root": str(roots[own][0]), "height": size[0], "width": size[1], "resize": False}
        for codec in ("raw", "jpeg", "h264"):
            one = {**told, "reader": "ours", "codec": codec}
            found.append(Contender(f"clip cache, {codec}", "cache", processes["ours"], one, "cache"))
        found.append(Contender("memmap", "memmap", processes["ours"], {**told, "reader": "memmap"}, "cache"))
        yield size, found


def readers(told: dict[str, Any], files: str, processes: dict[str, Process], plan: Plan) -> list[Contender]:
    """Everything that reads one dataset."""
    one = {**told, "reader": "ours", "codec": "none"}
    found = [Contender("ours", "ours", processes["ours"], one, files)]
    for label, memory_gb, spans in (("1 GB", 1.0, 8), ("a quarter of the frames", told["raw"] / 4e9, 4)):
        epoch = {**one, "reader": "epoch", "order": "blocks", "memory_gb": memory_gb, "spans": spans}
        found.append(Contender(f"block order, {label}", "blocks", processes["ours"], epoch, files))
    for peer, process in processes.items():
        if peer == "ours":
            continue
        for backend in plan.backends:
            one = {**told, "reader": "lerobot", "backend": backend, "uint8": "newest" in peer}
            found.append(Contender(f"{peer}, {backend}", "lerobot", process, one, files))
            if plan.in_order:
                rows = {**one, "clips": told["rows"]}
                found.append(Contender(f"{peer}, {backend}, in row order", "lerobot rows", process, rows, files))
        if "0.4.4" in peer:
            for seek in plan.seeks:
                one = {**told, "reader": "torchcodec", "seek": seek}
                found.append(Contender(f"torchcodec, {seek} seek", "torchcodec", process, one, files))
    return found


def compare(entries: list[Contender], scratch: Path) -> None:
    """Set each contender's PSNR to ours on the same files, over the same clips."""
    reference: dict[str, np.ndarray] = {}
    for entry in entries:
        to = scratch / "sample.npy"
        some = entry.told["some"]
        entry.ask("sample", clips=some, to=str(to))
        if entry.error:
            continue
        pictures = np.load(to).astype(np.float32)
        against = reference.setdefault(entry.files, pictures)
        if entry.files == "cache" and entry.group == "cache" and "raw" in entry.name:
            own = next(label for label in reference if label.startswith("own"))
            against = reference[own]
        error = float(((pictures - against) ** 2).mean())
        entry.psnr_db = 99.0 if error == 0 else round(float(10 * np.log10(255**2 / error)), 1)


def measure(entries: list[Contender], plan: Plan, scratch: Path) -> None:
    """Open, compare, and measure in turn."""
    for entry in entries:
        entry.start(plan.seconds)
    compare(entries, scratch)
    for index in range(plan.repeats):
        for entry in entries:
            if not (entry.whole and index >= EPOCHS):
                entry.repeat(index)
    for entry in entries:
        entry.ask("close")


def best(entries: list[Contender]) -> Contender | None:
    """The fastest that serves the same pictures."""
    good = [e for e in entries if e.wall and e.psnr_db >= EQUAL_DB]
    return max(good, key=lambda e: e.rate, default=None)


def row(what: str, ours: Contender, peer: Contender | None, bar: float | None) -> dict[str, object]:
    """Ours beside one peer."""
    if not ours.wall:
        return {"what": what, "value": None, "unit": "frames/s", "peer": ours.error or "nothing measured", "ok": False}
    said: dict[str, object] = {
        "what": what,
        "value": round(ours.rate),
        "unit": "frames/s",
        "spread": [round(min(ours.wall)), round(max(ours.wall))],
        "cpu": round(statistics.median(ours.cpu)),
        "psnr_db": ours.psnr_db,
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "bar": bar,
        "ok": bar is None,
    }
    if peer is None:
        return {**said, "peer": "not installed: make bench-env"}
    ratio = ours.rate / peer.rate
    return {
        **said,
        "peer": f"{peer.name} on {peer.files}",
        "peer_value": round(peer.rate),
        "peer_spread": [round(min(peer.wall)), round(max(peer.wall))],
        "peer_psnr_db": peer.psnr_db,
        "ratio": round(ratio, 2),
        "cpu_ratio": round(statistics.median(ours.cpu) / statistics.median(peer.cpu), 2),
        "ok": bar is None or ratio >= bar,
    }


def rows_of(about: Recordings, size: tuple[int, int], entries: list[Contender]) -> Iterator[dict[str, object]]:
    """The table's rows of one size."""
    for entry in entries:
        if entry.error:
            yield absent(f"{about.name}: {entry.key}", entry.error)
    at = f"{about.name} at {size[1]}x{size[0]}"
    old = [e for e in entries if e.group == "lerobot" and "0.4.4" in e.name]
    new = [e for e in entries if e.group == "lerobot" and "newest" in e.name]
    for ours in (e for e in entries if e.group == "ours"):
        what = f"{at}, {ours.files}: every clip decoded"
        for peers, bar in ((old, 4.0), (new, None)):
            held = [e for e in peers if e.files == ours.files]
            if peers or bar:
                yield row(what, ours, best(held), bar)
        for more in (e for e in entries if e.group == "blocks" and e.files == ours.files):
            yield from block_rows(f"{at}, {more.files}: {more.name}", more, entries)
        plain = best([e for e in entries if e.group == "torchcodec" and e.files == ours.files])
        if plain is not None:
            yield row(what, ours, plain, None)
    limit = best([e for e in entries if e.group == "memmap"])
    for cached in (e for e in entries if e.group == "cache"):
        raw = cached.name.endswith("raw")
        yield row(f"{at}: {cached.name}", cached, best(old), 20.0 if raw and size == (256, 256) else None)
        if new and best(new):
            yield row(f"{at}: {cached.name}", cached, best(new), None)
        if raw:
            yield row(f"{at}: {cached.name}", cached, limit, None)


def block_rows(what: str, ours: Contender, entries: list[Contender]) -> Iterator[dict[str, object]]:
    """A whole epoch in block order: beside both versions of the peer, shuffled and in row order, and how it mixes."""
    for group, bar in (("lerobot", 4.0), ("lerobot rows", None)):
        for version, least in (("0.4.4", bar), ("newest", None)):
            peers = [e for e in entries if e.group == group and version in e.name and e.files == ours.files]
            if peers or least:
                yield row(what, ours, best(peers), least)
    for name, unit, scale in (
        ("episodes", "episodes in a batch of 8", 1),
        ("overlap", "% of pairs share a frame", 100),
    ):
        value, uniform = (round(scale * ours.mix.get(f"{order} {name}", 0.0), 2) for order in ("blocks", "uniform"))
        spans = f"{ours.mix.get('open', 0):.0f} of {ours.mix.get('spans', 0):.0f} spans open"
        ratio = round(value / uniform, 2) if uniform else None
        said = {
            "what": f"{what}, {spans}",
            "value": value,
            "unit": unit,
            "peer": "uniform order",
            "peer_value": uniform,
        }
        yield {**said, "ratio": ratio, "bar": None, "ok": True}


@contextmanager
def running() -> Iterator[dict[str, Process]]:
    """One process a Python."""
    with ExitStack() as stack:
        found = {"ours": Process(Path(sys.executable))}
        for name, folder in PEERS.items():
            python = ROOT / folder / "bin" / "python"
            if python.exists():
                found[name] = Process(python)
        for process in found.values():
            stack.callback(process.close)
        yield found


def table(data: Path, scratch: Path, plan: Plan) -> list[dict[str, object]]:
    """Every row."""
    rows: list[dict[str, object]] = []
    with running() as processes:
        for about in (G1, DROID):
            if not (data / about.folder).is_dir():
                rows.append(
                    {"what": f"{about.name}: skipped", "value": None, "unit": "", "peer": f"no {data}", "ok": True}
                )
                continue
            for size, entries in contenders(about, data, scratch, plan, processes):
                cell = scratch / f"rows-{about.name}-{size[0]}x{size[1]}-{cell_key(plan, processes)}.json"
                if not cell.exists():
                    measure(entries, plan, scratch)
                    print(f"{about.name} at {size[1]}x{size[0]}: measured", file=sys.stderr)
                    cell.write_text(json.dumps(list(rows_of(about, size, entries))))
                rows += json.loads(cell.read_text())
        if "LeRobotDataset, newest" not in processes:
            rows.append(
                {"what": "newest lerobot (Python 3.12)", "value": None, "unit": "", "peer": "not found", "ok": True}
            )
    return rows


def cell_key(plan: Plan, processes: dict[str, Process]) -> str:
    """What a cell of the table was measured with: a run that was stopped goes on while that is the same."""
    data = ROOT / "src/worldgate/data"
    sources = [
        HERE / "clip_loading.py",
        *(HERE / "peers").glob("clip_*.py"),
        *(path for folder in ("loader", "codecs") for path in (data / folder).glob("*.py")),
        *(data / "logs").glob("_video*.py"),
        data / "clip_cache.py",
        data / "scaling.py",
    ]
    text = repr((plan, sorted(processes))).encode() + b"".join(path.read_bytes() for path in sorted(sources))
    return hashlib.sha256(text).hexdigest()[:12]


def absent(what: str, why: str) -> dict[str, object]:
    """A row that was not measured."""
    return {"what": what, "value": None, "unit": "", "peer": why, "peer_value": None, "ratio": None, "ok": True}


def machine() -> str:
    """Where these figures were measured, and what else it did."""
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    cores = os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {platform.system()}, load {load}"


def show(rows: list[dict[str, object]]) -> None:
    """The table for people."""
    for one in rows:
        value = f"{one['value']:>9,} {one['unit']}" if one["value"] else f"{'':>9}"
        peer = f"{one['peer']} {one['peer_value']:,}, ratio {one['ratio']}" if one.get("ratio") else one["peer"]
        bar = f"  bar {one['bar']} {'ok' if one['ok'] else 'short'}" if one.get("bar") else ""
        print(f"{one['what']:52} {value}  {peer}{bar}")


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument(
        "--quick", action="store_true", help="fewer episodes, one size, one configuration of each peer"
    )
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument(
        "--scratch",
        type=Path,
        help="folder for datasets and caches, used again by the next run; cells of the table too",
    )
    told = arguments.parse_args()
    data = Path(os.environ.get("WORLDGATE_DATA") or ROOT.parent / "shared" / "data" / "real")
    with ExitStack() as stack:
        scratch = told.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = table(data, scratch, QUICK if told.quick else FULL)
    if told.json:
        print(json.dumps({"name": "clip_loading", "machine": machine(), "rows": rows}))
        return
    show(rows)
    if told.quick and KEPT.exists():
        kept = json.loads(KEPT.read_text())
        print(f"last full run, {kept['machine']}:")
        show(kept["rows"])


if __name__ == "__main__":
    main()
