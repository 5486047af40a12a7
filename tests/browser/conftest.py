"""A browser where one is found; with ``WORLDGATE_REQUIRE=all`` its absence is a failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.browser.chromium import NAMES, Browser
from tests.conftest import skip_or_fail


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        skip_or_fail(f"no Chromium on the path: none of {', '.join(NAMES)}")
    browser = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
