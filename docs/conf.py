"""Sphinx configuration. Built with warnings as errors: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import reference  # noqa: E402  # stands in _ext

from worldgate import __version__  # noqa: E402

reference.write(HERE / "reference" / "generated")

project = "Worldgate"
author = "the Worldgate authors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = "Worldgate"
html_show_copyright = False
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "attrs_block"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
napoleon_google_docstring = True
nitpicky = True
# Names of other libraries and our type aliases have no page here.
nitpick_ignore_regex = [(r"py:.*", r"(?!worldgate\.).*"), (r"py:.*", r".*\.(T|Json|Array|\w+Array|Observation)$")]
