"""``worldgate policy``: how good a release is, before it runs on a robot.

Each command stands in ``_policy_<command>.py``, which imports what it needs when it is called, and is registered here
in one line.
"""

from __future__ import annotations

from cyclopts import App

from worldgate.cli._policy_evaluate import evaluate
from worldgate.cli._policy_import import import_
from worldgate.cli._policy_improve import improve
from worldgate.cli._policy_rank import rank

app = App(name="policy", help="Measure and improve releases in simulators, world models and on recorded episodes.")
app.command(evaluate)
app.command(import_, name="import")
app.command(improve)
app.command(rank)
