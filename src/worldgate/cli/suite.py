"""``worldgate suite``: what releases are tried on, where it comes from and what it does not cover."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._suite_episode import from_episode
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.evidence.scenarios import Suite
    from worldgate.evidence.suite_files import Added
    from worldgate.record.workspace import Workspace

app = App(name="suite", help="Say what releases are tried on, and what that does not cover.")
app.command(from_episode, name="from-episode")


@app.command
def add(file: Path, /, *, key: str | None = None, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Record a suite from a TOML file: its scenarios, their draws and its bins.

    For example:

        worldgate suite add push-north.toml
        worldgate suite add push-north.toml --key ada --json

    Nothing is recorded unless every scenario fits. A scenario with variations is kept as what others are drawn from.

    Args:
        file: The suite, as the how-to page describes it.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.evidence import suite_files

    with open_workspace(workspace) as ws:
        made = suite_files.add(ws, file, actor=key)
    _tell("suite.add", made, as_json=json)


def _tell(schema: str, made: Added, *, as_json: bool) -> None:
    from worldgate.core.digest import short

    said = f"suite {made.suite.name} {short(made.suite.digest)}: {len(made.scenarios)} scenarios"
    hint = f"next: worldgate suite coverage {made.suite.name}"
    answer(schema, {"suite": made.suite, "scenarios": made.scenarios}, said, hint, as_json=as_json)


@app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """List suites with their roles and what they may still serve.

    For example:

        worldgate suite list
        worldgate suite list --json
    """
    from worldgate.core.digest import short
    from worldgate.evidence.scenarios import load_suite

    with open_workspace(workspace) as ws:
        suites = [(ref, load_suite(ws, ref.digest)) for ref in ws.artifacts("suite")]
    rows = [(s.name, short(r.digest), s.role, len(s.scenarios), s.attempts) for r, s in suites]
    body = [{"suite": r, "role": s.role, "scenarios": len(s.scenarios), "attempts": s.attempts} for r, s in suites]
    table = Table(columns=("suite", "id", "role", "scenarios", "attempts"), rows=rows)
    answer("suite.list", {"suites": body}, table, as_json=json)


@app.command
def show(suite: str, /, *, workspace: WorkspaceOption = None, json: JsonFlag = False) -> None:
    """Show the scenarios of a suite: where each comes from, its strata, weight, and what judges it.

    For example:

        worldgate suite show push-north
        worldgate suite show 4c7a9a17 --json

    Args:
        suite: Id or name of a suite.
    """
    from worldgate.core.digest import short
    from worldgate.evidence import judging, scenarios

    with open_workspace(workspace) as ws:
        ref = ws.resolve(suite, "suite")
        held = scenarios.load_suite(ws, ref.digest)
        listed = [scenarios.load(ws, digest) for digest in held.scenarios]
    rows = []
    for place, one in enumerate(listed):
        strata = ", ".join(f"{name}={value}" for name, value in one.strata.items()) or "-"
        weight = f"{held.weights[place]:g}" if held.weights else "1"
        oracles = ", ".join(spec.oracle for spec in judging.oracles_of(one))
        source = f"{one.source} of {short(one.parent)}" if one.parent else one.source
        rows.append((one.name, short(held.scenarios[place]), one.site, source, strata, weight, oracles))
    columns = ("scenario", "id", "site", "source", "strata", "weight", "judged by")
    said = f"{held.name}: {held.role}, serves {held.attempts} plans before it is worn out"
    body = {"suite": ref, "held": held, "scenarios": listed}
    answer("suite.show", body, Table(columns=columns, rows=rows), said, as_json=json)


@app.command
def coverage(
    suite: str,
    /,
    *,
    release: str | None = None,
    population: Literal["real", "simulated", "imagined"] = "real",
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Count scenarios and trials in the bins that a suite declares, and name the empty ones.

    For example:

        worldgate suite coverage push-north
        worldgate suite coverage push-north --release careful-r3 --population simulated

    An empty bin is a limit of every claim that rests on the suite.

    Args:
        suite: Id or name of a suite.
        release: Id or name of the release whose trials are counted; without one, scenarios alone.
        population: Origin of the trials that the claim counts.
    """
    from worldgate.core.streams import Origin
    from worldgate.evidence import scenarios
    from worldgate.evidence.coverage import of_release

    with open_workspace(workspace) as ws:
        ref = ws.resolve(suite, "suite")
        held = scenarios.load_suite(ws, ref.digest)
        of = ws.resolve(release, "release").digest if release is not None else ""
        found = of_release(ws, held, of, upto_seq=ws.ledger.head().seq)
    limits = found.limits(population=frozenset({Origin(population)}) if of else None)
    rows = [(b.site, b.parameter, b.bin, b.scenarios, b.real, b.simulated, b.imagined) for b in found.bins]
    columns = ("site", "parameter", "bin", "scenarios", "real trials", "simulated", "imagined")
    body = {"suite": ref, "release": of, "population": population, "coverage": found, "limits": limits}
    none = [] if held.coverage else ["no bins are declared: nothing says what this suite covers"]
    said = [*(f"limit: {limit}" for limit in limits), *none]
    answer("suite.coverage", body, Table(columns=columns, rows=rows), *said, as_json=json)


@app.command
def sample(
    suite: str,
    /,
    *,
    name: str,
    count: int,
    seed: int,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Draw a fresh suite from the variations of another, each as often as its weight says.

    For example:

        worldgate suite sample push-north --name push-north-2 --count 40 --seed 100
        worldgate suite sample push-north --name more --count 10 --seed 500 --key ada

    The same suite and seed give the same scenarios; a draw that was made before is refused.

    Args:
        suite: Id or name of a suite whose scenarios were drawn.
        name: Of the new suite.
        count: How many scenarios.
        seed: Of the first draw; each further one takes the next.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.evidence import suite_files

    with open_workspace(workspace) as ws:
        made = suite_files.sample(ws, _suite(ws, suite), name=name, count=count, seed=seed, actor=key)
    _tell("suite.sample", made, as_json=json)


def _suite(ws: Workspace, text: str) -> Suite:
    from worldgate.evidence.scenarios import load_suite

    return load_suite(ws, ws.resolve(text, "suite").digest)
