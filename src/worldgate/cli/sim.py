"""``worldgate sim``: simulated runs of the embedded cell, a task or any Gymnasium environment, recorded as logs."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption

app = App(name="sim", help="Record simulated runs of the embedded cell, of a task, or of any Gymnasium environment.")


@app.command
def record(
    path: Path,
    /,
    *,
    site: str = "north",
    arm: str | None = None,
    expert: str = "scripted",
    attribute: str | None = None,
    seed: int = 0,
    runs: int = 1,
    duration: float = 10.0,
    json: JsonFlag = False,
) -> None:
    """Record runs of the embedded cell as MCAP, marked simulated.

    For example:

        worldgate sim record run.mcap
        worldgate sim record recordings --runs 20 --site south --expert noisy

    The same seed writes the same bytes.

    Args:
        path: The MCAP file to make; with more than one run, a folder for them.
        site: Where: a site of the embedded cell.
        arm: On which arm; else the site's first.
        expert: Who acts: scripted, noisy or random.
        attribute: A ready set of scene attributes, for example a spill or a person entering.
        seed: Of the first run; each further run takes the next.
        runs: How many.
        duration: Longest run, in seconds; it ends sooner when the task is done.
    """
    from worldgate.sim.record import find_attributes
    from worldgate.sim.record import record as record_run

    attributes = find_attributes(attribute) if attribute is not None else None
    files = [path] if runs == 1 else [path / f"{site}-{expert}-{seed + i:04d}.mcap" for i in range(runs)]
    with progress("record") as tell:
        for done, file in enumerate(files):
            record_run(
                file, site=site, arm=arm, expert=expert, seed=seed + done, attributes=attributes, duration_s=duration
            )
            tell(done + 1, len(files), file.name)
    rows = [(file, f"{file.stat().st_size / 1e6:.2f}") for file in files]
    body = {"files": files, "site": site, "expert": expert, "seed": seed, "origin": "simulated"}
    table = Table(columns=("log, marked simulated", "size [MB]"), rows=rows)
    answer("sim.record", body, table, f"next: worldgate ingest {path}", as_json=json)


@app.command
def gym(
    environment: str,
    path: Path,
    /,
    *,
    policy: str = "random",
    seed: int = 0,
    runs: int = 1,
    steps: int = 1000,
    rate: float = 0.0,
    json: JsonFlag = False,
) -> None:
    """Record runs of any Gymnasium environment as MCAP, marked simulated.

    For example:

        worldgate sim gym CartPole-v1 run.mcap
        worldgate sim gym gym_pusht:gym_pusht/PushT-v0 recordings --runs 20 --policy mine:act

    Recorded are each part of the observation, the reward, the actions, and what it renders.

    Args:
        environment: Id of the environment; module:ID imports a module first.
        path: The MCAP file to make; with more than one run, a folder for them.
        policy: Who acts: random, or module:name of a policy or of a function from observation to action.
        seed: Of the first run; each further run takes the next.
        runs: How many.
        steps: Longest run, in steps.
        rate: Steps a second; else as the environment says.
    """
    from worldgate.sim.gym import GymConfig, find_policy, open_gym, record_gym

    act = find_policy(policy)
    env = open_gym(environment)
    files = [path] if runs == 1 else [path / f"{seed + i:04d}.mcap" for i in range(runs)]
    with progress("record") as tell:
        for done, file in enumerate(files):
            record_gym(file, env, act, seed=seed + done, config=GymConfig(max_steps=steps, rate_hz=rate))
            tell(done + 1, len(files), file.name)
    env.close()
    rows = [(file, f"{file.stat().st_size / 1e6:.2f}") for file in files]
    body = {"files": files, "environment": environment, "policy": policy, "seed": seed, "origin": "simulated"}
    table = Table(columns=("log, marked simulated", "size [MB]"), rows=rows)
    answer("sim.gym", body, table, f"next: worldgate ingest {path}", as_json=json)


@app.command
def task(
    name: str,
    path: Path,
    /,
    *,
    actor: str = "scripted",
    seed: int = 0,
    runs: int = 1,
    steps: int = 0,
    size: int = 64,
    set_: SetOption = (),
    contract: Path | None = None,
    json: JsonFlag = False,
) -> None:
    """Record runs of a task as MCAP, marked simulated; worldgate list tasks shows which there are.

    For example:

        worldgate sim task two_room run.mcap
        worldgate sim task wall recordings --runs 20 --actor noisy --seed 100 --set walls=2
        worldgate sim task two_room short.mcap --actor random --steps 40 --size 96 --json
        worldgate sim task two_room recordings --runs 40 --actor noisy --contract two_room.toml

    Recorded are pictures, what a policy may see, actions, reward, success, and the whole state of the simulator.

    Args:
        name: Of the task.
        path: The MCAP file to make; with more than one run, a folder for them.
        actor: Who acts: scripted, noisy, random, or another that the task knows.
        seed: Of the first run; each further run takes the next.
        runs: How many.
        steps: Longest run, in steps; 0 for as many as the task lasts.
        size: Pixels a side of the pictures.
        set_: Another option of the task, as KEY=VALUE.
        contract: Also write a contract that these logs keep, for worldgate check and worldgate snapshot.
    """
    from worldgate.cli._label import pairs
    from worldgate.core.atomic import write_atomic
    from worldgate.core.config import value_of
    from worldgate.sim.tasks import open_task
    from worldgate.sim.watch import contract_text, record_task

    options = {"size": size} | {key: value_of(text) for key, text in pairs(set_, "--set").items()}
    if contract is not None:
        write_atomic(contract, contract_text(open_task(name, options).spec).encode())
    files = [path] if runs == 1 else [path / f"{name}-{actor}-{seed + i:04d}.mcap" for i in range(runs)]
    with progress("record") as tell:
        for done, file in enumerate(files):
            record_task(file, name, options=options, actor=actor, seed=seed + done, steps=steps)
            tell(done + 1, len(files), file.name)
    rows = [(file, f"{file.stat().st_size / 1e6:.2f}") for file in files]
    body = {"files": files, "task": name, "actor": actor, "seed": seed, "contract": contract, "origin": "simulated"}
    table = Table(columns=("log, marked simulated", "size [MB]"), rows=rows)
    answer("sim.task", body, table, f"next: worldgate ingest {path}", as_json=json)
