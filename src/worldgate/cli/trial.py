"""``worldgate trial``: run trials, or take in those that somebody else ran.

Each command stands in ``_trial_<command>.py``, which imports what it needs when it is called.
"""

from __future__ import annotations

from cyclopts import App

from worldgate.cli._trial_import import import_
from worldgate.cli._trial_run import order, run

app = App(name="trial", help="Run trials of releases, or take in those that somebody else ran.")
app.command(run)
app.command(order)
app.command(import_, name="import")
