"""One report, one file: HTML with every picture inside, no script, nothing fetched from anywhere.

A report is a list of sections, each with its verdict, words, tables and figures; the origin of the data (real,
simulated, imagined) stands on top of the page and is burned into each picture by whoever drew it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from worldgate import __version__
from worldgate.core.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under headings; units belong in the headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture inside the page."""

    source: str
    """``data:`` URL."""
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a report."""

    title: str
    verdict: str = ""
    """What came out, in a few words: ``refused (exit 3)``."""
    tone: str = "neutral"
    """``good``, ``bad`` or ``neutral``; drawn with a shape and a word, never by colour alone."""
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    commands: tuple[str, ...] = ()
    """Commands that show the same."""


def png(data: bytes, *, alt: str, caption: str = "", wide: bool = False) -> Picture:
    """A PNG as a picture of the page."""
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return Picture(source=source, alt=alt, caption=caption, wide=wide)


def figure(drawing: MatplotlibFigure, *, alt: str, caption: str = "", wide: bool = False) -> Picture:
    """A matplotlib figure as an SVG picture of the page."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(source=source, alt=alt, caption=caption, wide=wide)


def write_report(path: Path, *, title: str, lead: str, notice: str, sections: Sequence[Section]) -> Path:
    """Render and write the page.

    Args:
        path: the HTML file to make; replaced if it exists, because a report is derived data.
        title: the page's heading.
        lead: one paragraph under it.
        notice: what every reader must know of the data's origin; shown in a band on top.
        sections: the parts, in order.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("report.html.j2").render(
        title=title, lead=lead, notice=notice, sections=sections, version=__version__
    )
    write_atomic(path, page.encode(), overwrite=True)
    return path
