"""Chromium without a window, told what to do over its debugging pipe: nothing to install, no port, one a session."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["PHONE", "WIDE", "Browser", "browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WITHOUT = ("background-networking", "component-update", "dev-shm-usage", "extensions", "gpu", "sync")
FLAGS = (
    *("--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe"),
    *(f"--disable-{name}" for name in WITHOUT),
)
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
WIDE, PHONE = 1280, 360  # pixels
SECONDS = 60  # for one answer
SAID = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")

AS_3_AND_4 = """
import fcntl, os, sys
given, written = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(given, 3)
os.dup2(written, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""  # where the browser reads what it is told, and writes what it answers


class Browser:
    """One page, in a browser whose profile is in ``folder``; ``said`` is what the page wrote on its console."""

    def __init__(self, folder: Path) -> None:
        given, self._told = os.pipe()
        self._answers, written = os.pipe()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        command = [sys.executable, "-ISc", AS_3_AND_4, str(given), str(written), *command]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, pass_fds=(given, written))
        os.close(given)
        os.close(written)
        self._rest, self._number, self._loaded, self._width = b"", 0, True, 0
        self.said: list[dict[str, Any]] = []
        self._session: dict[str, str] = {}
        (target,) = [t for t in self._do("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self._do(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._told)
        os.close(self._answers)

    def open(self, page: str | Path, width: int = WIDE, *, dark: bool = False) -> None:
        """Go to an address or a file, and wait for all of it."""
        self.look(width, dark=dark)
        self.said.clear()
        self._loaded = False
        self._do("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not self._loaded:
            self._hear(self._next())

    def look(self, width: int = WIDE, *, dark: bool = False) -> None:
        """In a window of this width; a phone's where it is narrow."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._do("Emulation.setEmulatedMedia", features=scheme)
        self._width = width

    def fits(self) -> bool:
        """Whether nothing is wider than the window; ``innerWidth`` of a phone grows with the page."""
        return self.run("document.documentElement.scrollWidth") <= self._width

    def run(self, script: str) -> Any:
        """The value of an expression on the page, of a promise what it comes to."""
        found = self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until an expression is true."""
        waited = f"""new Promise((done) => {{ const end = Date.now() + {1000 * seconds}; (function look() {{
            if ({script}) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 20); }})() }})"""
        assert self.run(waited), f"never {script}"

    def press(self, key: str) -> None:
        """A key down and up."""
        for kind in ("keyDown", "keyUp"):
            self._do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def picture(self, selector: str) -> bytes:
        """A PNG of an element, also of what the window does not show of it."""
        box = self.run(
            f"(box => ({{x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1}}))"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        return base64.b64decode(self._do("Page.captureScreenshot", captureBeyondViewport=True, clip=box)["data"])

    def _do(self, method: str, **arguments: Any) -> dict[str, Any]:
        """What the browser answers to a command of its protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments, **self._session}
        os.write(self._told, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _hear(self, event: dict[str, Any]) -> None:
        self._loaded |= event["method"] == "Page.loadEventFired"
        self.said += [event["params"]] if event["method"] in SAID else []

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            readable, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            assert readable, f"the browser says nothing for {SECONDS} s"
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests of a session."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is on the path: Debian's package chromium")
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened
