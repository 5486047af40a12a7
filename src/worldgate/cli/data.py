"""``worldgate data``: what is done to logs and episodes between ingest and training.

Each topic stands in ``_data_<topic>.py`` and is imported when it is called; it is registered here in one line.
"""

from __future__ import annotations

from cyclopts import App

app = App(name="data", help="Label, search, deduplicate, align and export what was ingested.")
app.command("worldgate.cli._data_label:app", name="label")
app.command("worldgate.cli._data_datasets:card", name="card")
app.command("worldgate.cli._data_datasets:diff", name="diff")
app.command("worldgate.cli._data_datasets:merge", name="merge")
app.command("worldgate.cli._data_datasets:subset", name="subset")
app.command("worldgate.cli._data_retention:retention", name="retention")
app.command("worldgate.cli._data_retention:hold_app", name="hold")
app.command("worldgate.cli._data_retention:erase", name="erase")
app.command("worldgate.cli._data_align:align", name="align")
app.command("worldgate.cli._data_retention:unseal", name="unseal")
