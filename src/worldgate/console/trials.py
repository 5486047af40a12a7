"""The pages of a plan's trials, for phones and tablets at the cell, as an ASGI app.

::

    GET  /                   the page; everything else it fetches itself
    GET  /sw.js /static/...  its script, style and worker, from this package
    GET  /api/plan           what never changes
    POST /api/lease          {client, slot} -> rows to run
    POST /api/give-back      {client}
    POST /api/record         a sheet -> recorded (200), refused (409), or not of this plan (422)
    GET  /api/left           how far the plan is from a decision
    GET  /photograph/{row}   the initial state of a row
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from worldgate import __version__
from worldgate.console.desk import Desk
from worldgate.console.guard import Guard
from worldgate.core.digest import read_json
from worldgate.core.errors import DataRefused, UsageError, WorldgateError
from worldgate.evidence.sheets import Sheet

_HERE = Path(__file__).parent
_STATIC = {
    "trial.js": "text/javascript",
    "outbox.js": "text/javascript",
    "trial.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_LOG = logging.getLogger(__name__)


def app(desk: Desk, *, token: str) -> ASGIApp:
    """The app of one desk.

    Args:
        desk: of a plan.
        token: who knows it may use the pages.
    """
    page = _page(desk)

    async def index(request: Request) -> Response:
        return HTMLResponse(page)

    async def plan(request: Request) -> Response:
        return JSONResponse(desk.about())

    async def lease(request: Request) -> Response:
        return await _told(request, lambda tree: desk.lease(_text(tree, "client"), _text(tree, "slot")))

    async def give_back(request: Request) -> Response:
        return await _told(request, lambda tree: desk.give_back(_text(tree, "client")))

    async def record(request: Request) -> Response:
        return await _told(request, lambda tree: desk.record(Sheet.from_json(tree)))

    async def left(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(desk.left))
        except WorldgateError as error:
            _LOG.warning("the gate could not be asked: %s", error)
            return JSONResponse({"unknown": True}, status_code=503)

    async def photograph(request: Request) -> Response:
        found = await run_in_threadpool(desk.photograph, request.path_params["row"])
        return Response(*found[:1], media_type=found[1]) if found else Response(status_code=404)

    routes = [
        Route("/", index),
        Route("/sw.js", functools.partial(_file, "sw.js", "text/javascript")),
        *(Route(f"/static/{name}", functools.partial(_file, name, kind)) for name, kind in _STATIC.items()),
        Route("/api/plan", plan),
        Route("/api/lease", lease, methods=["POST"]),
        Route("/api/give-back", give_back, methods=["POST"]),
        Route("/api/record", record, methods=["POST"]),
        Route("/api/left", left),
        Route("/photograph/{row:int}", photograph),
    ]
    return Guard(Starlette(routes=routes), token=token)


def _page(desk: Desk) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("trial.html.j2").render(desk=desk.about(), version=__version__)


async def _file(name: str, kind: str, request: Request) -> Response:
    return Response((_HERE / "static" / name).read_bytes(), media_type=kind)


async def _told(request: Request, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
    """Read a JSON object, act on it, and tell what came of it."""
    try:
        tree = read_json(await request.body())
    except ValueError:
        return JSONResponse({"error": "not JSON"}, status_code=400)
    if not isinstance(tree, dict):
        return JSONResponse({"error": "not a JSON object"}, status_code=400)
    try:
        answer = await run_in_threadpool(act, tree)
    except (DataRefused, UsageError) as error:
        told = {"error": error.what, "got": str(error.got or "")[:200], "hint": error.hint or ""}
        return JSONResponse(told, status_code=422)
    return JSONResponse(answer, status_code=409 if answer.get("state") == "refused" else 200)


def _text(tree: dict[str, Any], key: str) -> str:
    """A short text.

    Raises:
        UsageError: none of this name.
    """
    value = tree.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise UsageError("a text is missing", got=json.dumps(key))
    return value
