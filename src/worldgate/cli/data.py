"""``worldgate data``: what is done to logs and episodes between ingest and training.

Each topic stands in ``_data_<topic>.py`` and is imported when it is called; it is registered here in one line.
"""

from __future__ import annotations

from cyclopts import App

app = App(name="data", help="Label, search, deduplicate, align and export what was ingested.")
