"""What stands before every page: a token, the same origin for whatever changes something, a cap on sizes, headers.

The token comes once in the address, is compared in constant time and then kept in a cookie that scripts cannot read and
other sites cannot send along; the address is cleaned by a redirect. Nothing is loaded from anywhere else, no script
stands inside a page.

Sources: OWASP cheat sheets on session management, cross-site request forgery and content security policy.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "worldgate_desk"
LARGEST_BODY = 64 << 10
_YEAR_S = 31_536_000
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "worker-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware around an app of pages.

    Args:
        app: what is guarded.
        token: who knows it may come in.
    """

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        assert token
        self.app, self._token = app, token
        self._cookie = hashlib.sha256(f"{COOKIE}/{token}".encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            assert scope["type"] == "lifespan", scope["type"]
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        answer = self._answer(request)
        await (answer or self.app)(scope, receive, guarded)

    def _answer(self, request: Request) -> Response | None:
        """What is said at the door; ``None``: come in."""
        given = request.query_params.get("token")
        if given is not None:
            return self._enter(request, given)
        if not _same(request.cookies.get(COOKIE, ""), self._cookie):
            return PlainTextResponse("open the address that `worldgate trial run` printed\n", status_code=401)
        return None if request.method in ("GET", "HEAD") else _unfit(request)

    def _enter(self, request: Request, given: str) -> Response:
        if request.method != "GET" or not _same(given, self._token):
            return PlainTextResponse("not the token of this desk\n", status_code=401)
        answer = RedirectResponse("/", status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, self._cookie, max_age=_YEAR_S, path="/", secure=secure, httponly=True, samesite="lax")
        return answer


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _unfit(request: Request) -> Response | None:
    """Why a request that changes something is turned away: another origin, another form, or too large."""
    headers: Headers = request.headers
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        return PlainTextResponse("from another origin\n", status_code=403)
    if headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return PlainTextResponse("only application/json\n", status_code=415)
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        return PlainTextResponse("needs a length\n", status_code=411)
    if len(length) > 9 or int(length) > LARGEST_BODY:
        return PlainTextResponse("too large\n", status_code=413)
    return None
