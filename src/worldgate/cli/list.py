"""``worldgate list``: what can be named at a seam, read from the cards without importing anything."""

from __future__ import annotations

import dataclasses

from worldgate.cli._output import JsonFlag, Table, answer


def list_(seam: str | None = None, /, *, json: JsonFlag = False) -> None:
    """List what can be named at a seam.

    For example:

        worldgate list
        worldgate list models

    Args:
        seam: A seam, for example logs, checks, models; without one, the seams themselves.
    """
    from worldgate.core.machine import missing
    from worldgate.core.seams import SEAMS, cards

    if seam is None:
        counts = {name: sorted(cards(name)) for name in SEAMS}
        rows = [(name, len(entries), ", ".join(entries)) for name, entries in counts.items()]
        answer("seams", {"seams": counts}, Table(columns=("seam", "entries", "names"), rows=rows), as_json=json)
        return
    entries = []
    for card in cards(seam).values():
        lacking = missing(card.needs) if card.needs else ()
        entries.append(dataclasses.asdict(card) | {"missing": lacking})
    columns = (seam, "what", "state", "source")
    shown = [(e["name"], e["line"], f"needs [{e['needs']}]" if e["missing"] else "ready", e["source"]) for e in entries]
    answer("list", {"seam": seam, "entries": entries}, Table(columns=columns, rows=shown), as_json=json)
