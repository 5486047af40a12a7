"""``worldgate doctor``: what this machine has and lacks."""

from __future__ import annotations

from pathlib import Path

from worldgate import __version__
from worldgate.cli._output import JsonFlag, Table, answer


def doctor(*, json: JsonFlag = False) -> int:
    """Say what this machine has and lacks.

    For example:

        worldgate doctor
        worldgate doctor --json

    Exit code 1 if something that every command needs is missing.
    """
    from worldgate.core.machine import State, survey

    facts = survey(Path.cwd())
    broken = [fact for fact in facts if fact.state is State.BROKEN]
    rows = [(fact.what, fact.state, f"{fact.detail}; try: {fact.hint}" if fact.hint else fact.detail) for fact in facts]
    answer(
        "doctor",
        {"worldgate": __version__, "facts": facts, "ok": not broken},
        Table(columns=("what", "state", "detail"), rows=[("worldgate", State.OK, __version__), *rows]),
        as_json=json,
    )
    return 1 if broken else 0
