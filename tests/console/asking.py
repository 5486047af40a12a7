"""Ask an ASGI app as a device would, without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

from worldgate.console.guard import COOKIE

HOST = "desk.test:8420"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Device:
    """One that may have a cookie."""

    app: ASGIApp
    cookie: str = ""
    scheme: str = "http"
    replies: list[Reply] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        bare, _, query = path.partition("?")
        given = {"host": HOST, **{k.replace("_", "-"): v for k, v in headers.items()}}
        given |= {"cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": bare, "raw_path": bare.encode(),
            "query_string": query.encode(), "root_path": "", "scheme": self.scheme, "server": ("desk.test", 8420),
            "client": ("192.0.2.1", 1), "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }  # fmt: skip
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        (start,) = [m for m in sent if m["type"] == "http.response.start"]
        reply = Reply(
            status=start["status"],
            headers={k.decode(): v.decode() for k, v in start["headers"]},
            body=b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body"),
        )
        self.replies.append(reply)
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def post(self, path: str, tree: Any, **headers: str) -> Reply:
        body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
        given = {"content_type": "application/json", "content_length": str(len(body)), **headers}
        return self.ask("POST", path, body, **given)

    def enter(self, token: str) -> Reply:
        reply = self.get(f"/?token={token}")
        if reply.status == 303:
            self.cookie = reply.headers["set-cookie"].split(";")[0].partition("=")[2]
        return reply
