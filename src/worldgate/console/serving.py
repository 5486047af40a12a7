"""Serve pages: on this machine alone unless told otherwise, behind a token that outlives the program."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from worldgate.core.atomic import write_atomic
from worldgate.core.errors import RecordError, UsageError

PORT = 8420
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where pages are served."""

    host: str = LOOPBACK
    """Address to listen at; the default reaches this machine alone."""
    port: int = PORT
    certificate: Path | None = None
    """PEM file of a certificate that the devices trust, its chain included."""
    key: Path | None = None
    """PEM file of its private key."""

    def url(self, port: int, token: str) -> str:
        """The address to open."""
        scheme = "https" if self.certificate else "http"
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{port}/?token={token}"

    @property
    def secure(self) -> bool:
        """Whether browsers allow a camera and a page that opens without a connection."""
        if self.certificate is not None:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def token_in(path: Path, *, fresh: bool = False) -> str:
    """The token kept in a file that only its owner reads, made if there is none: devices outlive a restart.

    Args:
        path: of the file.
        fresh: make another; whoever holds the old one is out.
    """
    if path.is_file() and not fresh:
        held = path.read_text(encoding="ascii").strip()
        if len(held) >= 32:
            return held
    token = secrets.token_urlsafe(24)
    write_atomic(path, token.encode(), overwrite=True, mode=0o600)
    return token


def listen(place: Place) -> socket.socket:
    """A socket at a place; port 0 takes any.

    Raises:
        UsageError: an address that is not this machine's, or a port that is taken.
    """
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((place.host, place.port), family=family)
    except OSError as error:
        raise UsageError("cannot serve here", got=error, where=f"{place.host}:{place.port}", hint="--port") from error


def serve(app: ASGIApp, place: Place, held: socket.socket) -> None:
    """Serve until interrupted.

    Raises:
        UsageError: a certificate that cannot be used.
        RecordError: the server did not start.
    """
    if bool(place.certificate) != bool(place.key):
        raise UsageError("a certificate needs its key", hint="--certificate FILE --certificate-key FILE")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
        proxy_headers=False,
        timeout_keep_alive=30,
        limit_concurrency=200,
        ssl_certfile=str(place.certificate) if place.certificate else None,
        ssl_keyfile=str(place.key) if place.key else None,
    )
    try:
        config.load()
    except OSError as error:
        raise UsageError("a certificate that cannot be used", got=error, where=place.certificate) from error
    server = uvicorn.Server(config)
    server.run(sockets=[held])
    if not server.started:
        raise RecordError("the server did not start", where=f"{place.host}:{place.port}")
