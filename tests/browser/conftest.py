"""A browser where one is found; with ``WORLDGATE_REQUIRE=all`` its absence is a failure.

``WORLDGATE_BROWSER=none`` is what CI says of a machine on which none could be installed: the tests skip, and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from tests.browser.chromium import NAMES, Browser
from tests.conftest import skip_or_fail


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None and os.environ.get("WORLDGATE_BROWSER") == "none":
        pytest.skip("no Chromium could be installed on this machine: the pages are not tested in a browser")
    if program is None:
        skip_or_fail(f"no Chromium on the path: none of {', '.join(NAMES)}")
    browser = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
