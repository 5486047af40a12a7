"""How well each check finds faults injected into clean logs, and how often it speaks up without one.

Clean logs are episodes of the cell (both sites, every arm, ordinary attributes) and real DROID episodes, narrowed to a
fixed camera with states and actions. Cameras are held against the checks twice, as recorded and encoded anew, because
injected faults go through the codec too. What the reader itself said of a log on opening it is no false alarm. About
half of the kinds of faults (``HELD_OUT``) is unseen: no check was changed for them. A kind that was looked at to repair
a check was moved to the others, and a new one of its family was written in its place.
Every cell of the table is kept under the digest of its code, so a run that was stopped goes on where it was. `--quick`
takes one log of the cell and the first fault of each injector.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import sha256
from worldgate.core.seams import cards
from worldgate.core.streams import Finding, Kind, Log, Origin, Stream, StreamInfo
from worldgate.data import checks, contracts, injectors
from worldgate.data.injectors._wrap import injected, pictures, units, with_pictures
from worldgate.data.logs import open_as
from worldgate.data.proving import ALSO_TRUE, CAUGHT_BY, Before, Case, Rules, held_as_it_is, hourly, tried, wilson
from worldgate.sim.attributes import Attributes
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig
from worldgate.sim.sites import slots

RESULT = Path(__file__).parent / "results" / "checks_quality.json"
CACHE = Path(os.environ.get("WORLDGATE_BENCH_CACHE", tempfile.gettempdir())) / "worldgate-checks-quality"
REAL = Path(os.environ.get("WORLDGATE_DATA", Path(__file__).parents[2] / "shared" / "data" / "real"))
BAR = 0.95

HELD_OUT = frozenset(
    {
        "blackout.green", "blackout.white", "clipping.coarse", "clock_set.hours", "clock_set.reset", "cut_short.ragged",
        "damage.rolled", "damage.torn", "defocus.drifts", "defocus.shake", "disorder.swapped", "exposure.dusk",
        "exposure.hunt", "force_zero.step", "force_zero.warming", "freeze.av1", "freeze.double", "jitter.late",
        "knocked.sag", "latency.early", "latency.stepped", "lost_frames.burst", "lost_messages.batched",
        "lost_messages.bursts", "miscount.camera", "misdeclared.duration", "misdeclared.names", "not_a_number.rows",
        "occluder.drop", "occluder.tape", "overrange.overshoot", "quaternions.flips", "sensor_clock.warming",
        "silence.head", "silence.tail", "slow_renewal.av1", "slow_renewal.coded", "spike.bit", "spike.zero",
        "standstill.head", "standstill.pause", "stuck.last", "teleport.splice", "teleport.wrapped",
        "wrong_codec.size", "wrong_size.swapped", "wrong_unit.centimetres", "wrong_unit.percent",
    }
)  # fmt: skip
"""Kinds that stay unseen while checks are tuned."""

PANDA = {"upper": (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973), "speed": (2.175,) * 4 + (2.61,) * 3}
"""The maker's limits of the Franka arm, rad and rad/s."""
CELL = {"upper": (3.0, 2.5, 3.0, 3.0), "speed": (6.0,) * 4}
"""Limits of the cell's arm as a site could state them."""
ORDINARY = (Attributes(), Attributes(clutter=3), Attributes(spill=0.08), Attributes(person=True), Attributes(dim=0.3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """Some streams of a log, and its tool's place as poses where it says one."""

    log: Log
    held: Mapping[str, Stream] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def origin(self) -> Origin:
        return self.log.origin

    @property
    def facts(self) -> Mapping[str, str | float | bool]:
        return self.log.facts

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.log.findings

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        assert window_ns is None
        return self.held[stream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Clean logs of one kind, and the contract they are held against."""

    name: str
    logs: Sequence[Log]
    rules: Rules
    limits: Mapping[str, Any]


def narrowed(log: Log, keep: Sequence[str], tool: str) -> Log:
    """The streams in ``keep`` that the log has, with a pose stream made from the tool's place and heading."""
    held = {i.name: log.read(i.name) for i in log.streams() if i.name in keep}
    state = held[tool]
    place = [c for c, unit in enumerate(units(state)) if unit == "m"][:3]
    angle = np.asarray(state.array, dtype=np.float64)[:, units(state).index("rad")]
    heading = np.unwrap(angle)[:, None] / 2  # half an angle that wraps would flip the sign
    zero = np.zeros_like(heading)
    values = np.hstack([state.array[:, place], zero, zero, np.sin(heading), np.cos(heading)])
    info = StreamInfo(
        name="observation.pose", kind=Kind.POSE, count=len(values), shape=(7,), unit="m,m,m,1,1,1,1",
        clock=state.info.clock, rate_hz=state.info.rate_hz,
    )  # fmt: skip
    held[info.name] = replace(state, info=info, values=values)
    return Narrow(log=log, held=held)


def cell(count: int) -> Source:
    """Recorded episodes of every slot with ordinary attributes."""
    folder = CACHE / "cell"
    folder.mkdir(parents=True, exist_ok=True)
    config = RecordConfig(sensors=SensorConfig(cameras=("front",), geometry=(), lidar=False))
    logs = []
    for seed in range(count):
        slot, path = slots()[seed % len(slots())], folder / f"cell_{seed:03}.mcap"
        if not path.exists():
            record(path, site=slot.site, arm=slot.arm, seed=seed, attributes=ORDINARY[seed // 4 % 5], config=config)
        (log,) = open_as("mcap", path).logs
        logs.append(narrowed(log, [i.name for i in log.streams()], "observation.state"))
    names = logs[0].read("observation.state").info.names[:4]
    return Source(name="cell", logs=logs, rules=rules("cell", names, CELL), limits=CELL)


def droid(count: int) -> Source | None:
    """Real episodes of both laboratories; None where they are not here."""
    path = REAL / "droid_ctrlworld"
    if not path.is_dir():
        return None
    keep = ("observation.state", "observation.state.tool", "action", "observation.images.0")
    found = sorted(open_as("droid", path).logs, key=lambda log: sha256(log.name.encode()))[:count]
    logs = [narrowed(log, keep, "observation.state.tool") for log in found]
    names = logs[0].read("observation.state").info.names[:7]
    return Source(name="droid", logs=logs, rules=rules("droid", names, PANDA), limits=PANDA)


def rules(contract: str, joints: Sequence[str], limits: Mapping[str, Any]) -> Rules:
    """The shipped contract's checks with its parameters, and those it leaves out."""
    held = {name: dict(rule.params) for name, rule in contracts.read(contract).checks.items()}
    channels = {
        joint: {"upper": top, "velocity": speed}
        for joint, top, speed in zip(joints, limits["upper"], limits["speed"], strict=True)
    }
    held["limits"] = {"channels": {"observation.state": channels}}
    return {name: held.get(name, {}) for name in cards("checks")}


@cache
def code_of(check: str) -> str:
    """Digest of a check, of all files that checks share, and of the injectors' shared file."""
    folder = Path(checks.__file__).parent
    shared = [*sorted(folder.glob("_*.py")), Path(injectors.__file__).parent / "_wrap.py"]
    return sha256(*(p.read_bytes() for p in (folder / f"{check}.py", *shared)))


def kept(key: Sequence[object], make: Any) -> Any:
    """A cell of the table: from the cache, or made and put there."""
    path = CACHE / "cells" / f"{sha256(json.dumps(key).encode())}.json"
    if path.is_file():
        return json.loads(path.read_text())
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(made))
    fresh.replace(path)  # whole or not there, should another run read it or this one be stopped
    return made


def encoded_anew(log: Log) -> Log:
    """The log with its camera through H.264, as injected faults go."""
    held = next(log.read(i.name) for i in log.streams() if i.kind is Kind.IMAGE)
    return injected(log, [with_pictures(held, pictures(held), "h264")])


def before(source: Source, log: Log, form: str) -> Before:
    """What each check says of a clean log, check by check from the cache."""
    hold = encoded_anew(log) if form == "encoded" else log
    found: dict[str, tuple[Finding, ...]] = {}
    seconds = 0.0
    for name, params in source.rules.items():

        def make(name: str = name, params: Mapping[str, Any] = params) -> Any:
            held = held_as_it_is(hold, {name: params})
            return {"seconds": held.seconds, "findings": [asdict(f) for f in held.findings[name]]}

        cell = kept(["clean", source.name, log.name, form, name, params, code_of(name)], make)
        seconds = cell["seconds"]
        found[name] = tuple(decode(Finding, f, where="cache") for f in cell["findings"])
    return Before(log=log.name, seconds=seconds, findings=found)


def cases(source: Source, logs: Sequence[Log], kind: str, magnitude: float, *, others: bool) -> Iterator[Case]:
    """One fault in each of these logs, where it can befall them."""
    injector = kind.partition(".")[0]
    file = Path(injectors.__file__).parent / f"{injector}.py"
    check = CAUGHT_BY[injector]
    code = [code_of(name) for name in (source.rules if others else (check,))]
    for seed, log in enumerate(logs):

        def make(seed: int = seed, log: Log = log) -> Any:
            form = "encoded" if check in _CAMERA else "recorded"
            params = source.limits if injector == "overrange" else None
            known = before(source, log, form)
            if form == "encoded":
                both = before(source, log, "recorded").findings
                known = replace(known, findings={n: (*f, *both[n]) for n, f in known.findings.items()})
            found = tried(log, known, kind, magnitude, source.rules, seed=seed, params=params, others=others)
            return None if found is None else asdict(found)

        key = ["case", source.name, log.name, kind, magnitude, seed, others, sha256(file.read_bytes()), *code]
        made = kept([*key, source.rules[check]], make)
        if made is not None:
            yield decode(Case, made, where="cache")


_CAMERA = {"blank", "blur", "content_rate", "corrupt", "exposure", "extrinsics", "frozen", "metadata", "occluded"}
_CAMERA |= {"resolution"}


@dataclass(slots=True, kw_only=True)
class Tally:
    """Everything measured of one check."""

    tuned: list[bool] = field(default_factory=list)
    unseen: list[bool] = field(default_factory=list)
    blind: int = 0
    clean_alarms: Counter[str] = field(default_factory=Counter)
    fault_alarms: Counter[str] = field(default_factory=Counter)
    matrix_hits: int = 0


def measure(sources: Sequence[Source], kinds: Sequence[str], *, recall: int, matrix: int, sweep: int) -> dict[str, Any]:
    """Clean logs, faults at the least magnitude that matters, the same with all checks, and sweeps."""
    tallies = {name: Tally() for name in cards("checks")}
    seconds: Counter[str] = Counter()
    by_kind: dict[str, dict[str, Any]] = {}
    for source in sources:
        for log in source.logs:
            for form in ("recorded", "encoded"):
                held = before(source, log, form)
                if form == "recorded":  # the same time seen twice is no more time
                    seconds[source.name] += held.seconds
                for name, found in held.findings.items():
                    said = {(f.stream, f.message) for f in log.findings}
                    unsaid = {f.stream for f in found if (f.stream, f.message) not in said}
                    tallies[name].clean_alarms[source.name] += len(unsaid)
        print(f"{source.name}: clean logs done", file=sys.stderr)
        for kind in kinds:
            fault = injectors.named(kind)
            row = by_kind.setdefault(kind, {"kind": kind, "unit": fault.unit, "least": fault.least, "caught": {}})
            for magnitude in fault.sweep:
                logs = source.logs[: recall if magnitude == fault.least else sweep]
                told = [c for c in cases(source, logs, kind, magnitude, others=False) if not c.blind]
                hits = counted(row, source.name, f"{magnitude:g}", told, missed=magnitude >= fault.least)
                if magnitude == fault.least:
                    row.setdefault("sources", {})[source.name] = [sum(hits), len(hits)]
                    tally = tallies[CAUGHT_BY[kind.partition(".")[0]]]
                    (tally.unseen if kind in HELD_OUT else tally.tuned).extend(hits)
            for case in cases(source, source.logs[:matrix], kind, fault.least, others=True):
                tallies[case.check].matrix_hits += case.caught and not case.blind
                for alarm in set(case.alarms) - ALSO_TRUE.get(kind.partition(".")[0], frozenset()):
                    tallies[alarm].fault_alarms[f"{kind} ({source.name})"] += 1
            print(f"{source.name}: {kind} {row.get('sources', {}).get(source.name)}", file=sys.stderr)
    return {
        "seconds": dict(seconds),
        "checks": [checked(name, tally, seconds) for name, tally in tallies.items()],
        "kinds": [{**row, "held_out": row["kind"] in HELD_OUT} for row in by_kind.values()],
    }


def counted(row: dict[str, Any], source: str, size: str, told: Sequence[Case], *, missed: bool) -> list[bool]:
    """One magnitude's cases into a kind's row: those that show the fault, those that do not, and which were missed."""
    hits = [c.caught for c in told if not c.hidden]
    for key, found in (("caught", hits), ("hidden", [c.caught for c in told if c.hidden])):
        if found or key == "caught":
            old = row.setdefault(key, {}).get(size, [0, 0])
            row[key][size] = [old[0] + sum(found), old[1] + len(found)]
    names = [f"{source} {c.log.rpartition('/')[2]}" for c in told if missed and not c.hidden and not c.caught]
    if names:
        row.setdefault("missed", {}).setdefault(size, []).extend(names)
    return hits


def checked(name: str, tally: Tally, seconds: Mapping[str, float]) -> dict[str, Any]:
    """One check's line of the table."""
    hits = [*tally.tuned, *tally.unseen]
    true, clean, false = sum(hits), sum(tally.clean_alarms.values()), sum(tally.fault_alarms.values())
    rate, bound = hourly(clean, sum(seconds.values()))
    precise = tally.matrix_hits / (tally.matrix_hits + false + clean) if tally.matrix_hits + false + clean else None
    return {
        "check": name,
        "recall": [true, len(hits)],
        "recall_interval": [round(x, 3) for x in wilson(true, len(hits))],
        "tuned": [sum(tally.tuned), len(tally.tuned)],
        "held_out": [sum(tally.unseen), len(tally.unseen)],
        "precision": None if precise is None else round(precise, 3),
        "true_alarms": tally.matrix_hits,
        "alarms_on_clean_logs": dict(tally.clean_alarms),
        "alarms_on_other_faults": dict(tally.fault_alarms),
        "false_alarms_per_hour": round(rate, 2),
        "false_alarms_per_hour_at_most": round(bound, 1),
    }


def rows(table: Mapping[str, Any]) -> list[dict[str, object]]:
    """The table in the form that every benchmark prints."""
    out: list[dict[str, object]] = []
    for line in table["checks"]:
        hits, trials = line["recall"]
        figures = (("recall", hits / trials if trials else None), ("precision", line["precision"]))
        for what, value in figures:
            told = None if value is None else round(value, 3)
            ok = None if value is None else value >= BAR
            out.append(_row(f"{line['check']}: {what}", told, "share", BAR, ok))
        out.append(_row(f"{line['check']}: false alarms", line["false_alarms_per_hour"], "1/h", None, None))
    return out


def _row(what: str, value: object, unit: str, bar: float | None, ok: bool | None) -> dict[str, object]:
    peerless = {"peer": "", "peer_value": None, "ratio": None}
    return {"what": what, "value": value, "unit": unit, **peerless, "bar": bar, "ok": ok}


def shown(table: Mapping[str, Any]) -> str:
    """The table for people."""
    lines = [
        f"{'check':16} {'tuned kinds':>12} {'held out':>10} {'recall':>7} {'interval':>14} {'precision':>9} alarms/h"
    ]
    for line in table["checks"]:
        hits, trials = line["recall"]
        recall = f"{hits / trials:.3f}" if trials else "-"
        low, high = line["recall_interval"]
        tuned, held = ("{}/{}".format(*line[key]) for key in ("tuned", "held_out"))
        precise = "-" if line["precision"] is None else f"{line['precision']:.3f}"
        rate = f"{line['false_alarms_per_hour']:.1f} (< {line['false_alarms_per_hour_at_most']:.0f})"
        lines.append(
            f"{line['check']:16} {tuned:>12} {held:>10} {recall:>7} {low:>6.2f} to {high:.2f} {precise:>9} {rate}"
        )
    return "\n".join(lines)


def markdown(table: Mapping[str, Any]) -> str:
    """The two tables of the documentation page."""
    columns = (
        "check",
        "tuned kinds",
        "held-out kinds",
        "recall",
        "95 % interval",
        "precision",
        "alarms an hour (at most)",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for line in table["checks"]:
        hits, trials = line["recall"]
        recall = f"{hits / trials:.2f}" if trials else ""
        precise = "" if line["precision"] is None else f"{line['precision']:.2f}"
        tuned, held = ("{} of {}".format(*line[key]) for key in ("tuned", "held_out"))
        low, high = line["recall_interval"]
        rate = f"{line['false_alarms_per_hour']:.1f} ({line['false_alarms_per_hour_at_most']:.0f})"
        lines.append(
            f"| `{line['check']}` | {tuned} | {held} | {recall} | {low:.2f} to {high:.2f} | {precise} | {rate} |"
        )
    lines += ["", "| fault | must be found from | caught at each magnitude |", "|---|---|---|"]
    for row in table["kinds"]:
        hidden = {size: " ({} of {})".format(*counts) for size, counts in row.get("hidden", {}).items()}
        swept = "; ".join(
            f"{size}: {hits}/{trials}{hidden.get(size, '')}"
            for size, (hits, trials) in row["caught"].items()
            if trials or size in hidden
        )
        unseen = " (held out)" if row["held_out"] else ""
        lines.append(f"| `{row['kind']}`{unseen} | {row['least']:g} {row['unit']} | {swept} |")
    return "\n".join(lines)


def commit() -> str:
    """The commit that was measured."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def main() -> None:
    """Print the table, or one JSON object; a full run keeps it."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="one log of the cell, one fault of each injector")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument("--markdown", action="store_true", help="the tables of the page, from the last full run")
    arguments.add_argument("--only", default="", help="kinds that begin so; nothing is kept")
    arguments.add_argument(
        "--logs",
        type=int,
        default=4,
        help="logs of each source that faults are injected into; a quarter of them for sweeps and other checks",
    )
    told = arguments.parse_args()
    if told.markdown:
        print(markdown(json.loads(RESULT.read_text())))
        return
    kinds = [kind for kind in injectors.kinds() if kind.startswith(told.only)]
    if told.quick:
        first: dict[str, str] = {}
        for kind in kinds:
            first.setdefault(kind.partition(".")[0], kind)
        sources: list[Source] = [cell(1)]
        table = measure(sources, [*first.values()], recall=1, matrix=0, sweep=0)
    else:
        given = (cell(3 * told.logs), droid(2 * told.logs))
        sources = [source for source in given if source is not None]
        few = max(1, told.logs // 4)
        table = measure(sources, kinds, recall=told.logs, matrix=few, sweep=few)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    absent = [] if told.quick or len(sources) == 2 else ["no DROID episodes here: their rows are left out"]
    whole = {"name": "checks_quality", "machine": machine, "commit": commit(), "notes": absent, "rows": rows(table)}
    whole |= {"logs": {s.name: len(s.logs) for s in sources}, "faulty_logs": told.logs, **table}
    if not told.quick and not told.only and not absent:
        RESULT.write_text(json.dumps(whole, indent=1) + "\n")
    if told.json:
        print(json.dumps(whole, indent=1))
        return
    print(shown(table), *absent, sep="\n")
    if told.quick and RESULT.is_file():
        last = json.loads(RESULT.read_text())
        print(f"\nthe last full run, at {last['commit']}, {last['logs']} logs:\n{shown(last)}")


if __name__ == "__main__":
    main()
