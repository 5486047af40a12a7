"""A headless Chromium for tests, spoken to over a pipe in its own protocol: no driver to install."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Browser:
    """One process of Chromium, with one page at a time."""

    def __init__(self, program: str, folder: Path) -> None:
        told, ours = (os.pipe() for _ in range(2))
        out, self._write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in told)
        self._read, into = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in ours)
        for fd in (*told, *ours):
            os.close(fd)

        def wire() -> None:
            os.dup2(out, 3)
            os.dup2(into, 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "--disable-background-networking"]
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-extensions"]
        self._process = subprocess.Popen(
            [program, *options, "about:blank"], preexec_fn=wire, pass_fds=(3, 4), stderr=subprocess.DEVNULL
        )
        os.close(out)
        os.close(into)
        self._held = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []
        self.session = ""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self.session and not method.startswith("Target."):
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        wanted, end = self._count, time.monotonic() + 60
        while time.monotonic() < end:
            tree = self._next(end)
            if tree.get("id") == wanted:
                assert "error" not in tree, tree["error"]
                return dict(tree["result"])
            self.events.append(tree)
        raise TimeoutError(method)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser says nothing")
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._held += data
        line, self._held = self._held.split(b"\0", 1)
        return dict(json.loads(line))

    def open(self, url: str, *, width: int, height: int) -> None:
        """A fresh page of a size."""
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(f"(() => {{ try {{ return {script} }} catch (e) {{ return false }} }})()"):
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{script}: {self.run('document.body.innerText')}")

    def press(self, words: str) -> None:
        """Click the visible button that says this."""
        seen = f"b => b.offsetParent && b.innerText.trim().startsWith({words!r})"
        find = f"[...document.querySelectorAll('button,label')].find({seen})"
        self.until(f"{find} !== undefined")
        self.run(f"{find}.click()")

    def offline(self, off: bool) -> None:
        """Cut the connection, or let it be."""
        self.call(
            "Network.emulateNetworkConditions", offline=off, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    def picture(self, path: Path) -> None:
        """A screenshot."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Errors of scripts and of the content security policy so far."""
        thrown = [str(e["params"]) for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        logged = [e["params"]["entry"] for e in self.events if e.get("method") == "Log.entryAdded"]
        return thrown + [
            e["text"] for e in logged if e["level"] == "error" and e["source"] in ("security", "javascript")
        ]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._read)
        os.close(self._write)
