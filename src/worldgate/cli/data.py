"""``worldgate data``: what is done to logs and episodes between ingest and training.

Each topic stands in ``_data_<topic>.py``, which imports what it needs when it is called, and is registered here in one
line.
"""

from __future__ import annotations

from cyclopts import App

from worldgate.cli._data_align import align
from worldgate.cli._data_datasets import card, diff, merge, subset
from worldgate.cli._data_dedup import dedup
from worldgate.cli._data_export import export
from worldgate.cli._data_label import app as label_app
from worldgate.cli._data_prove import prove
from worldgate.cli._data_recover import recover
from worldgate.cli._data_retention import erase, hold_app, retention, unseal
from worldgate.cli._data_search import search

app = App(name="data", help="Label, search, deduplicate, align and export what was ingested.")
app.command(label_app, name="label")
app.command(align)
app.command(card)
app.command(diff)
app.command(export)
app.command(merge)
app.command(prove)
app.command(recover)
app.command(subset)
app.command(retention)
app.command(hold_app, name="hold")
app.command(erase)
app.command(unseal)
app.command(dedup)
app.command(search)
