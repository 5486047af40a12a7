"""The page of a plan's trials in a real browser: from scene to ledger, without a connection, and after a crash."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from tests.browser.chromium import Browser
from tests.plans_to_run import CODES, registered

from worldgate.console.desk import Desk
from worldgate.console.serving import Place, listen
from worldgate.console.trials import app
from worldgate.evidence import sheets
from worldgate.record.workspace import Workspace

TOKEN = "a-token-that-nobody-can-guess-0001"
SENT = "document.getElementById('link').textContent === 'connected'"
DONE = "document.getElementById('done-title').textContent"


@contextmanager
def serving(desk: Desk, port: int = 0) -> Iterator[str]:
    """Served by a thread; the address."""
    held = listen(Place(port=port))
    server = uvicorn.Server(uvicorn.Config(app(desk, token=TOKEN), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [held]})
    thread.start()
    try:
        yield Place().url(held.getsockname()[1], TOKEN)
    finally:
        server.should_exit = True
        thread.join(30)
        held.close()


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    picture = np.full((120, 160, 3), 200, np.uint8)
    cv2.rectangle(picture, (60, 50), (90, 80), (40, 40, 200), -1)
    digest = workspace.store.put_bytes(cv2.imencode(".png", picture)[1].tobytes())
    monkeypatch.setattr("tests.plans_to_run.NOW", 1)
    shown = {"criterion": "the cup stands on the saucer", "rubric": ("held", "set down"), "photo": digest}
    return registered(workspace, baseline=True, **shown)


@pytest.fixture
def desk(workspace: Workspace, plan: str) -> Desk:
    return Desk(workspace, plan, actor="tester")


def trials(ws: Workspace) -> list[dict[str, Any]]:
    return [ws.get_json(event.body["trial"]) for event in ws.ledger.events("trial.run")]


def on_screen(browser: Browser, name: str) -> None:
    browser.until(f"!document.getElementById('screen-{name}').hidden")


def one_run(browser: Browser, success: str = "Yes") -> None:
    on_screen(browser, "scene")
    browser.press("Start the run")
    browser.press("Stop")
    browser.press(success)
    browser.press("Look it over")
    browser.press("Record it")
    on_screen(browser, "done")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1180, 820)], ids=["phone", "tablet"])
def test_a_run_from_its_scene_to_the_ledger(
    browser: Browser, workspace: Workspace, desk: Desk, tmp_path: Path, width: int, height: int
) -> None:
    with serving(desk) as url:
        browser.open(url, width=width, height=height)
        on_screen(browser, "scene")
        assert "token" not in browser.run("location.href")
        browser.until("document.getElementById('picture').naturalWidth === 160")
        browser.press("Lay it over the camera")
        browser.until("document.getElementById('camera').videoWidth > 0")
        assert browser.run("getComputedStyle(document.getElementById('picture')).opacity") == "0.5"
        browser.press("Start the run")
        browser.until("!document.getElementById('timer').textContent.endsWith(':00')")
        assert browser.run("document.getElementById('camera').srcObject") is None  # the camera is let go
        browser.press("I stepped in")
        browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'i'}))")
        browser.press("Stop")
        assert browser.run("document.querySelector('input[value=yes]').disabled")
        browser.press("held")
        browser.press("+")
        browser.run("document.getElementById('excluded').value = 'power cut'")
        browser.run("document.getElementById('excluded').dispatchEvent(new Event('change'))")
        browser.press("Look it over")
        assert "power cut (counts as a failure)" in browser.run("document.body.innerText")
        browser.press("Record it")
        browser.until(f"{DONE} === 'Recorded' && document.querySelectorAll('#left li').length === 1")
        browser.picture(tmp_path / "done.png")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")  # nothing to scroll sideways
        small = "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 44).length"
        assert browser.run(small) == 0
    (trial,) = trials(workspace)
    assert (trial["success"], trial["violations"], trial["excluded"]) == (False, 1, CODES[0])
    assert trial["metrics"]["interventions"] == 2.0
    assert trial["metrics"]["goals_reached"] == 1.0
    assert trial["metrics"]["duration_s"] >= 1.0
    assert not browser.complaints()


def test_without_a_connection_runs_go_on_and_are_sent_later(browser: Browser, workspace: Workspace, desk: Desk) -> None:
    with serving(desk) as url:
        browser.open(url, width=390, height=844)
        on_screen(browser, "scene")
        browser.until("navigator.serviceWorker.controller !== null")
        browser.until("caches.match('/photograph/1?plan=' + about.plan.slice(0, 12)).then(Boolean)")
        port = int(browser.run("location.port"))
    for success in ("Yes", "No"):  # the server is gone
        one_run(browser, success)
        assert browser.run(DONE) == "Kept on this device"
        browser.press("Next run")
    on_screen(browser, "scene")
    browser.call("Page.reload")  # the page opens from the worker, with what was kept
    on_screen(browser, "scene")
    browser.until("document.getElementById('link').textContent === 'no connection, 2 to send'")
    assert not trials(workspace)
    with serving(desk, port):
        browser.run("sync()")
        browser.until(SENT)
        assert [(t["row"], t["success"]) for t in trials(workspace)] == [(1, True), (2, False)]
        one_run(browser)
        browser.until(f"{DONE} === 'Recorded'")
    assert [t["row"] for t in trials(workspace)] == [1, 2, 3]


def test_what_is_kept_may_be_changed_until_it_is_sent(browser: Browser, workspace: Workspace, desk: Desk) -> None:
    with serving(desk) as url:
        browser.open(url, width=390, height=844)
        on_screen(browser, "scene")
        port = int(browser.run("location.port"))
    one_run(browser, "Yes")
    browser.press("Change it before it is sent")
    browser.press("No")
    browser.press("Look it over")
    browser.press("Record it")
    on_screen(browser, "done")
    with serving(desk, port):
        browser.run("sync()")
        browser.until(f"{DONE} === 'Recorded'")
        assert browser.run("document.getElementById('undo').hidden")
    assert [(t["row"], t["success"]) for t in trials(workspace)] == [(1, False)]


def test_a_run_survives_a_page_that_dies_in_the_middle(browser: Browser, workspace: Workspace, desk: Desk) -> None:
    with serving(desk) as url:
        browser.open(url, width=390, height=844)
        on_screen(browser, "scene")
        browser.press("Start the run")
        browser.press("I stepped in")
        began = browser.run("box.state.run.began")
        time.sleep(1.1)
        browser.call("Page.reload")
        on_screen(browser, "run")
        assert browser.run("box.state.run.began") == began
        browser.press("Stop")
        browser.press("Look it over")
        browser.press("Record it")
        browser.until(f"{DONE} === 'Recorded'")
    (trial,) = trials(workspace)
    assert trial["metrics"]["duration_s"] >= 1.1
    assert trial["metrics"]["interventions"] == 1.0


def test_what_the_ledger_does_not_take_is_kept_and_said(browser: Browser, workspace: Workspace, desk: Desk) -> None:
    with serving(desk) as url:
        browser.open(url, width=390, height=844)
        on_screen(browser, "scene")
        sheet = browser.run("JSON.stringify({...sheet({...box.state.run, ended: 0, success: false}), duration_s: 1})")
        other = {"entry": "somebody-else", "started_ns": time.time_ns(), "clock_error_ns": 0}
        desk.book.record(sheets.Sheet.from_json({**json.loads(sheet), **other}), now_ns=time.time_ns())
        one_run(browser)
        browser.until(f"{DONE} === 'Not taken'")
        assert "this row has been run" in browser.run("document.getElementById('refused').innerText")
        browser.press("Next run")
        on_screen(browser, "scene")
        assert browser.run("box.state.run.row.row") == 2
    assert len(trials(workspace)) == 1


def test_a_device_without_the_token_is_told_where_to_find_it(browser: Browser, desk: Desk) -> None:
    with serving(desk) as url:
        browser.call("Network.clearBrowserCookies")
        browser.open(url.replace(TOKEN, "wrong"), width=390, height=844)
        browser.until("document.body.innerText.includes('not the token of this desk')")
        browser.open(url.split("?")[0], width=390, height=844)
        browser.until("document.body.innerText.includes('worldgate trial run')")


def test_a_plan_of_two_arms_asks_which_one_is_here(
    browser: Browser, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.plans_to_run.NOW", 1)
    slots = ("bench/ur5/left", "bench/ur5/right")
    desk = Desk(workspace, registered(workspace, slots=slots), actor="tester")
    with serving(desk) as url:
        browser.open(url, width=390, height=844)
        on_screen(browser, "arm")
        browser.press("bench/ur5/right")
        one_run(browser)
        browser.until(f"{DONE} === 'Recorded'")
    assert [t["slot"] for t in trials(workspace)] == ["bench/ur5/right"]
