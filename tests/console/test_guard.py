"""The door: who has no token, comes from elsewhere, or brings too much stays out."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.console.asking import HOST, Device

from worldgate.console.guard import COOKIE, HEADERS, LARGEST_BODY, Guard

TOKEN = "a-token-that-nobody-can-guess-0001"


async def inside(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"inside {len(await request.body())}")


@pytest.fixture
def device() -> Device:
    return Device(Guard(Starlette(routes=[Route("/", inside, methods=["GET", "POST"])]), token=TOKEN))


def test_without_a_token_nothing_is_shown(device: Device) -> None:
    for path in ("/", "/static/trial.js", "/api/plan", "/nowhere"):
        reply = device.get(path)
        assert reply.status == 401
        assert b"inside" not in reply.body


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%ff", "é"])
def test_a_wrong_token_stays_out(device: Device, wrong: str) -> None:
    reply = device.enter(wrong)
    assert reply.status == 401
    assert "set-cookie" not in reply.headers


def test_the_token_is_no_cookie_and_the_cookie_no_token(device: Device) -> None:
    device.enter(TOKEN)
    cookie = device.cookie
    assert device.get("/").body == b"inside 0"
    assert Device(device.app).enter(cookie).status == 401
    assert Device(device.app, cookie=TOKEN).get("/").status == 401


def test_the_right_token_leaves_the_address_and_stays_in_a_cookie_that_scripts_cannot_read(device: Device) -> None:
    reply = device.enter(TOKEN)
    assert (reply.status, reply.headers["location"]) == (303, "/")
    given = reply.headers["set-cookie"].lower()
    assert given.startswith(COOKIE)
    assert all(word in given for word in ("httponly", "samesite=lax", "path=/"))
    assert "secure" not in given
    assert TOKEN.lower() not in given
    safe = Device(device.app, scheme="https")
    assert "secure" in safe.enter(TOKEN).headers["set-cookie"].lower()


def test_a_token_is_taken_by_get_alone(device: Device) -> None:
    assert device.post(f"/?token={TOKEN}", {}).status == 401


def test_another_origin_cannot_change_anything(device: Device) -> None:
    device.enter(TOKEN)
    for origin in ("https://evil.test", "null", f"http://{HOST}.evil.test", "http://desk.test"):
        assert device.post("/", {}, origin=origin).status == 403
    assert device.post("/", {}, origin=f"http://{HOST}").status == 200
    assert device.post("/", {}).status == 200


def test_only_json_of_a_known_and_small_size_is_read(device: Device) -> None:
    device.enter(TOKEN)
    assert device.post("/", {}, content_type="text/plain").status == 415
    assert device.post("/", {}, content_type="application/x-www-form-urlencoded").status == 415
    for length in ("", "-1", "1e3", "²"):
        assert device.ask("POST", "/", b"{}", content_type="application/json", content_length=length).status == 411
    for length in (str(LARGEST_BODY + 1), "9" * 5000):
        assert device.ask("POST", "/", b"{}", content_type="application/json", content_length=length).status == 413
    assert device.post("/", b" " * LARGEST_BODY).body == f"inside {LARGEST_BODY}".encode()


def test_every_answer_carries_the_headers(device: Device) -> None:
    device.get("/")
    device.enter(TOKEN)
    device.get("/")
    device.get("/nowhere")
    device.post("/", {}, origin="https://evil.test")
    assert [reply.status for reply in device.replies] == [401, 303, 200, 404, 403]
    for reply in device.replies:
        assert all(reply.headers[name] == value for name, value in HEADERS.items())
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
