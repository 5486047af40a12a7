"""How many bad releases and bad world models get through the gate, against two things that people do instead.

``.venv/bin/python benchmarks/escape.py [--quick] [--json] [--cache FOLDER] [--reps N] [--minutes P]``. Kinds of faults,
each at three strengths and repeated on other scenes, go through the product's own gates in the embedded cell. Whether a
release is bad is measured, not declared: apart from the gate it runs up to 200 scenes, and is bad if by these figures
it breaks what the gate's policy promises (success, violations, worst stratum, worse than the champion by the margin).
What is wrong on paper (identity, holdout) or rests on evidence that was made up is bad whatever it does. A fault too
weak to break a promise is counted apart, as harmless.

Peers, on the same releases and the same runs: a *fixed test*, 40 of the first 44 runs as people report them (exact, the
same p0 and alpha, power 0.93 at 0.95), and a *registry's threshold*, the error of actions on held-out demonstrations
through the exported pipeline against the champion's (for world models the error one step ahead), at the best of three
thresholds. Neither knows plans, identities or lineage.

Every trial and every answer of a gate is kept under ``--cache`` by what it depends on; the same command goes on where
the last one ended, and ``--minutes`` ends it in time. ``--quick`` does a few kinds at one strength and shows the table
of the last full result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import escape_cases as cases
import escape_cell as cell
import escape_faults as faults
import escape_metric as metric
import escape_worlds as worlds

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json
from worldgate.evidence.statistics import binomial_lower, binomial_upper

Row: TypeAlias = dict[str, Any]
RESULT = Path(__file__).resolve().parent / "results" / "escape.json"
STRENGTHS = ("weak", "middle", "strong")
TRUTH, REPS, GOOD_REPS = 200, 4, 3
THRESHOLDS = (1.05, 1.1, 1.5)
"""Of the registry, times the champion's error."""
QUICK = ("stale calibration of the arm", "unit of a stream", "failures excluded", "actions ignored")
FIRST = "simulated stands in for real: every trial here is a run of the embedded cell; no figure is about a real arm"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One kind at one strength."""

    group: str
    """``robot``, ``release``, ``declared``, ``process``, ``world`` or ``good``."""
    kind: str
    strength: str
    sure: bool
    """Bad by definition: what is wrong is on paper, or the evidence."""
    ask: Callable[[int], dict[str, Any]]
    """Repetition -> verdict, caught, spent, fixed."""
    truth: Callable[[int], dict[str, Any]] | None
    """Scenes -> what it really does."""
    error: Callable[[], float] | None
    """What a registry would look at, over the champion's; None: the champion's own."""
    code: str
    """Digest of what answers depend on."""

    def key(self, part: str) -> str:
        """Name in the cache."""
        return digest_json([self.group, self.kind, self.strength, part, self.code])[:24]


def jobs(cache: Path) -> Iterator[Job]:
    """Every kind at every strength."""
    runs = cache / "trials"
    runs.mkdir(parents=True, exist_ok=True)
    gates = cell.code_of("evidence/**/*.py", "sim/*.py", "control/policies/scripted.py", "escape_cell.py")
    made_up = gates + cell.code_of("escape_cases.py")
    imagined = cell.code_of("evidence/**/*.py", "sim/*.py", "escape_worlds.py")

    def behaviour_of(kind: faults.Kind, value: float) -> cell.Behaviour:
        return cell.Behaviour(
            name=f"{kind.name} {value:g}", faults=lambda: kind.faults(value), expert=kind.expert(value)
        )

    for kind in faults.KINDS:
        for strength, value in zip(STRENGTHS, kind.values, strict=True):
            behaviour = behaviour_of(kind, value)
            yield Job(
                group=kind.where, kind=kind.name, strength=strength, sure=False, code=gates,
                ask=lambda rep, b=behaviour: cases.honestly(runs, suite(rep), b),
                truth=lambda scenes, b=behaviour: cell.truth(runs, b, scenes),
                error=(lambda b=behaviour: metric.ratio(cache, b)) if kind.where == "release" else None,
            )  # fmt: skip
    for declared in cases.DECLARED:
        for strength, value in zip(STRENGTHS, declared.values, strict=True):
            behaviour = declared.behaviour(runs, value)
            yield Job(
                group="declared", kind=declared.name, strength=strength, sure=True, code=made_up, truth=None,
                ask=lambda rep, d=declared, v=value: d.run(runs, suite(rep), v),
                error=lambda b=behaviour: metric.ratio(cache, b),
            )  # fmt: skip
    for process in cases.PROCESS:
        for strength, value in zip(STRENGTHS, process.values, strict=True):
            behaviour = process.bad(value)
            yield Job(
                group="process", kind=process.name, strength=strength, sure=True, code=made_up,
                ask=lambda rep, p=process, v=value: p.run(runs, suite(rep), v),
                truth=lambda scenes, b=behaviour: cell.truth(runs, b, scenes),
                error=lambda b=behaviour: metric.ratio(cache, b),
            )  # fmt: skip
    for name, (made, expert) in faults.GOOD.items():
        behaviour = cell.Behaviour(name=f"good: {name}", faults=lambda made=made: list(made), expert=expert)
        yield Job(
            group="good", kind=name, strength="", sure=False, code=gates,
            ask=lambda rep, b=behaviour: cases.honestly(runs, suite(rep), b),
            truth=lambda scenes, b=behaviour: cell.truth(runs, b, scenes),
            error=lambda b=behaviour: metric.ratio(cache, b),
        )  # fmt: skip
    for kind, strength, sure, ask, truth, error in worlds.jobs(cache, STRENGTHS):
        yield Job(
            group="world" if sure is not None else "good world", kind=kind, strength=strength, sure=bool(sure),
            ask=ask, truth=truth, error=error, code=imagined,
        )  # fmt: skip


def suite(rep: int) -> int:
    """Where the scenes of a repetition begin: the same for every kind, so that the champion runs them once."""
    return 1_000_000 + 10_000 * rep


class Kept:
    """Answers by what they depend on.

    Args:
        folder: of the cache.
        until: no new answer is begun after it, by ``time.monotonic``.
    """

    def __init__(self, folder: Path, until: float) -> None:
        self.folder, self.until = folder / "answers", until
        self.folder.mkdir(parents=True, exist_ok=True)

    def peek(self, job: Job, part: str) -> Any:
        """What is there; None: nothing."""
        path = self.folder / f"{job.key(part)}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def get(self, job: Job, part: str, make: Callable[[], Any]) -> None:
        """Make what is not there, if there is time."""
        if self.peek(job, part) is None and time.monotonic() < self.until:
            print(f"{job.group}: {job.kind} {job.strength}, {part}", file=sys.stderr, flush=True)
            text = json.dumps(make())
            write_atomic(self.folder / f"{job.key(part)}.json", text.encode(), overwrite=True)


def passed(answer: Row | None) -> bool:
    """Whether a gate let it through."""
    return answer is not None and answer["verdict"] in {"PROMOTE", "ADMIT"}


def work(todo: Sequence[Job], kept: Kept, *, reps: int) -> None:
    """Repetition by repetition, so that whenever it ends all kinds have come as far.

    After the first comes the truth of all, first of what was let through.
    """
    for rep in range(max(reps, GOOD_REPS)):
        for job in todo:
            if rep < wanted(job, reps):
                kept.get(job, f"gate {rep}", lambda job=job, rep=rep: job.ask(rep))
        if rep == 0:
            for job in todo:
                if job.error is not None:
                    kept.get(job, "error", job.error)
            of_champion = [job for job in todo if job.group == "good"][:1]
            for job in [*of_champion, *sorted(todo, key=lambda job: not passed(kept.peek(job, "gate 0")))]:
                if job.truth is not None:
                    kept.get(job, f"truth {TRUTH}", lambda job=job: job.truth(TRUTH))


def wanted(job: Job, reps: int) -> int:
    """How often a kind is asked: of the good there are few, so each is asked three times whatever the others are."""
    return GOOD_REPS if job.group in {"good", "good world"} else reps


def cells(todo: Sequence[Job], kept: Kept, *, reps: int) -> list[Row]:
    """What is known of each kind at each strength."""
    champion = next((kept.peek(job, f"truth {TRUTH}") for job in todo if job.group == "good"), None)
    out = []
    for job in todo:
        asked = [a for rep in range(wanted(job, reps)) if (a := kept.peek(job, f"gate {rep}")) is not None]
        found = kept.peek(job, f"truth {TRUTH}")
        broken = None
        if found is not None and job.group in {"world", "good world"}:
            broken = worlds.is_bad(found)
        elif found is not None and champion is not None:
            broken = cell.is_bad(found, champion)
        bad = True if job.sure else None if broken is None else bool(broken)
        error = kept.peek(job, "error") if job.error is not None else 1.0
        out.append({
            "group": job.group, "kind": job.kind, "strength": job.strength, "by_definition": job.sure,
            "truth": found, "breaks": broken, "bad": bad, "error": error, "runs": asked,
        })  # fmt: skip
    return out


def share(label: str, bad: int, n: int, **more: Any) -> Row:
    """A rate with its exact interval, both bounds at 97.5 %."""
    low = binomial_lower(bad, n, "0.025") if n else "0"
    high = binomial_upper(bad, n, "0.025") if n else "1"
    value = round(bad / n, 4) if n else None
    return {"what": label, "value": value, "unit": "1", "count": bad, "of": n, "low": low, "high": high, **more}


GATE, FIXED, REGISTRY = "the gate", "fixed test", "registry"


def escaped(found: Row, who: str, threshold: float = 1.1) -> list[bool]:
    """For each repetition whether it got past."""
    if who == GATE:
        return [passed(run) for run in found["runs"]]
    if who == FIXED:
        return [run["fixed"] for run in found["runs"] if run["fixed"] is not None]
    error = found["error"]
    return [] if error is None else [error is not None and error <= threshold for _ in found["runs"]]


def pooled(found: Sequence[Row], who: str, threshold: float = 1.1) -> list[bool]:
    """Of many kinds."""
    return [got for one in found for got in escaped(one, who, threshold)]


def best_threshold(bad: Sequence[Row], good: Sequence[Row]) -> float:
    """The registry's at which the share of bad that pass and of good that do not is smallest together."""

    def cost(threshold: float) -> float:
        through, held = pooled(bad, REGISTRY, threshold), pooled(good, REGISTRY, threshold)
        return sum(through) / max(1, len(through)) + 1 - sum(held) / max(1, len(held))

    return min(THRESHOLDS, key=cost) if good else 1.1


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def rows_of(found: Sequence[Row]) -> list[Row]:
    """The table."""
    out: list[Row] = []
    for label, groups, goods in (
        ("releases", {"robot", "release", "declared", "process"}, "good"),
        ("world models", {"world"}, "good world"),
    ):
        here = [c for c in found if c["group"] in groups and c["runs"]]
        bad, harmless = [c for c in here if c["bad"]], [c for c in here if c["bad"] is False]
        good = [c for c in found if c["group"] == goods and c["runs"]]
        threshold = best_threshold(bad, good)
        kinds = len({c["kind"] for c in here})
        out.append({"what": f"kinds of bad {label}", "value": kinds, "unit": "kinds", "cells": len(here)})
        for who in (GATE, *((FIXED,) if goods == "good" else ()), REGISTRY):
            got = pooled(bad, who, threshold)
            out.append(share(f"bad {label} that escape: {who}", sum(got), len(got)))
        for group in sorted(groups) if goods == "good" else ():
            own = pooled([c for c in bad if c["group"] == group], GATE)
            out.append(share(f"  of them {GROUPS[group]}: {GATE}", sum(own), len(own)))
        for who in (GATE, *((FIXED,) if goods == "good" else ()), REGISTRY):
            got = pooled(good, who, threshold)
            out.append(share(f"good {label} that are held: {who}", len(got) - sum(got), len(got)))
        got = pooled(harmless, GATE)
        out.append(share(f"harmless weak faults of {label} that pass: {GATE}", sum(got), len(got)))
        if goods == "good":
            spent = [run["spent"] for c in bad for run in c["runs"]]
            fine = [run["spent"] for c in good for run in c["runs"]]
            out.append(
                {"what": "runs until the verdict, bad releases, both sides", "value": _mean(spent), "unit": "runs"}
            )
            out.append(
                {"what": "runs until the verdict, good releases, both sides", "value": _mean(fine), "unit": "runs"}
            )
            out.append({"what": "runs of the fixed test", "value": cell.FIXED_N, "unit": "runs"})
        out.append(
            {"what": f"registry's best threshold, {label}", "value": threshold, "unit": "of the champion's error"}
        )
    return out


GROUPS = {
    "robot": "on the robot, undeclared",
    "release": "in the release, undeclared",
    "declared": "declared in the manifest",
    "process": "in the evidence",
}


def first_caught(found: Sequence[Row]) -> dict[str, int]:
    """Of bad ones that were caught: the check that did it first -> how often."""
    out: dict[str, int] = {}
    for one in found:
        for run in one["runs"] if one["bad"] else ():
            if run["caught"]:
                out[run["caught"]] = out.get(run["caught"], 0) + 1
    return dict(sorted(out.items(), key=lambda item: -item[1]))


def result_of(todo: Sequence[Job], kept: Kept, *, reps: int) -> Row:
    """The whole result."""
    found = cells(todo, kept, reps=reps)
    runs = [len(c["runs"]) for c in found]
    known = all(c["bad"] is not None or c["by_definition"] for c in found)
    return {
        "name": "escape", "population": FIRST, "machine": machine(), "reps_least": min(runs), "reps_most": max(runs),
        "complete": all(len(c["runs"]) == wanted(job, reps) for job, c in zip(todo, found, strict=True)) and known,
        "rows": rows_of(found), "caught": first_caught(found),
        "kinds": found,
    }  # fmt: skip


def machine() -> str:
    """Where it ran."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {load}, commit {told.stdout.strip() or 'unknown'}"


def through(result: Row) -> list[str]:
    """What got through, kind by kind, in words: the figures that embarrass us."""
    out = []
    names = dict.fromkeys((c["group"], c["kind"]) for c in result["kinds"])
    for group, kind in names:
        own = [c for c in result["kinds"] if (c["group"], c["kind"]) == (group, kind) and c["bad"]]
        told = [f"{c['strength']} {sum(got)} of {len(got)}" for c in own if any(got := escaped(c, GATE))]
        if told:
            out.append(f"{kind} ({', '.join(told)})")
    return out


def table(result: Row) -> str:
    """As text."""
    lines = [result["population"]]
    lines += [f"  escaped: {line}" for line in through(result)]
    for row in result["rows"]:
        value = "not measured" if row["value"] is None else f"{row['value']:g}"
        span = (
            f" [{float(row['low']):.3f}, {float(row['high']):.3f}], {row['count']} of {row['of']}"
            if "of" in row
            else ""
        )
        lines.append(f"{row['what']:<72} {value}{span}")
    lines.append("first caught by: " + ", ".join(f"{check} {count}" for check, count in result["caught"].items()))
    lines.append(far(result))
    return "\n".join(lines)


def far(result: Row) -> str:
    """How far the run came, in words."""
    asked = [c for c in result["kinds"] if c["runs"]]
    told = f"{sum(len(c['runs']) for c in asked)} gate runs in {len(asked)} of {len(result['kinds'])} cells"
    whole = f"{told}, {result['reps_least']} to {result['reps_most']} repetitions each"
    if result["complete"]:
        return f"{whole}; {result['machine']}."
    missing = sum(c["bad"] is None for c in asked)
    return f"This run is not complete: {whole}; of {missing} cells the truth is not measured yet. {result['machine']}."


def markdown(result: Row) -> str:
    """The tables of the documentation page."""
    lines = [
        f"{result['population'].capitalize()}.",
        "",
        far(result),
        "",
        "What got through the gate although it was bad:",
        "",
    ]
    lines += [f"- {line}" for line in through(result)] or ["- nothing"]
    lines += ["", "| over all kinds | share | 95 % interval | count |", "|---|---|---|---|"]
    for row in result["rows"]:
        value = "-" if row["value"] is None else f"{row['value']:g}"
        span = f"{float(row['low']):.3f} to {float(row['high']):.3f}" if "of" in row else ""
        count = f"{row['count']} of {row['of']}" if "of" in row else row["unit"]
        lines.append(f"| {row['what'].strip()} | {value} | {span} | {count} |")
    lines += ["", "| first caught by | runs |", "|---|---|"]
    lines += [f"| {check} | {count} |" for check, count in result["caught"].items()]
    lines += ["", "| kind | where | weak | middle | strong |", "|---|---|---|---|---|"]
    for group, kind in dict.fromkeys((c["group"], c["kind"]) for c in result["kinds"]):
        own = {c["strength"]: c for c in result["kinds"] if (c["group"], c["kind"]) == (group, kind)}
        if group not in {"good", "good world"}:
            lines.append(f"| {kind} | {group} | {' | '.join(_cell(own.get(s)) for s in STRENGTHS)} |")
    return "\n".join(lines)


def _cell(found: Row | None) -> str:
    """Escaped of runs for the gate, the fixed test and the registry; in brackets what is harmless."""
    if found is None or not found["runs"]:
        return ""
    got, fixed = escaped(found, GATE), escaped(found, FIXED)
    registry = escaped(found, REGISTRY)
    told = "/".join(f"{sum(g)}" if g else "-" for g in (got, fixed, registry)) + f" of {len(got)}"
    if found["bad"] is None:
        return f"{told} ?"
    return told if found["bad"] else f"({told})"


def main() -> int:
    """Do what there is time for, print the table, keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few kinds at one strength, then the last full table")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-escape")
    parser.add_argument("--reps", type=int, default=REPS)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin nothing new after this; 0: no end")
    asked = parser.parse_args()
    until = time.monotonic() + 60 * (asked.minutes or 1e9)
    asked.cache.mkdir(parents=True, exist_ok=True)
    todo = sorted(jobs(asked.cache), key=lambda job: ("middle", "strong", "", "weak").index(job.strength))
    kept = Kept(asked.cache, until)
    if asked.quick:
        few = [job for job in todo if job.kind in QUICK and job.strength == "strong"]
        for job in few:
            kept.get(job, "gate 0", lambda job=job: job.ask(0))
        for found in cells(few, kept, reps=1):
            print(f"{found['kind']:<40} {found['runs'][0]}", file=sys.stderr)
        result = json.loads(RESULT.read_text()) if RESULT.exists() else result_of(few, kept, reps=1)
        result["population"] += "; figures of the last run that was kept" if RESULT.exists() else "; a quick look"
    else:
        work(todo, kept, reps=asked.reps)
        result = result_of(todo, kept, reps=asked.reps)
        write_atomic(RESULT, (json.dumps(result, indent=1) + "\n").encode(), overwrite=True)
    print(json.dumps(result) if asked.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
