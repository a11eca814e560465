"""Chromium without a window, told what to do over its debugging pipe: nothing to install, no port."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["CHROMIUM", "Browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-device-scale-factor=1",
    ),
)
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}

AS_3_AND_4 = """
import fcntl, os, sys
given, written = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(given, 3)
os.dup2(written, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""  # where the browser reads what it is told, and writes what it answers


class Browser:
    """One page of a browser of its own, whose profile is in ``folder``."""

    def __init__(self, folder: Path) -> None:
        given, self._told = os.pipe()
        self._answers, written = os.pipe()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        command = [sys.executable, "-ISc", AS_3_AND_4, str(given), str(written), *command]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, pass_fds=(given, written))
        os.close(given)
        os.close(written)
        self._rest, self._number, self.said = b"", 0, []
        (target,) = [t for t in self._browser("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = {"targetId": target["targetId"], "flatten": True}
        self._session = self._browser("Target.attachToTarget", **attached)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.do(f"{domain}.enable")

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

    def do(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command of the protocol, of the page."""
        return self._ask({"method": method, "params": arguments, "sessionId": self._session})

    def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Go to an address, in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)
        self.do("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression on the page, of a promise what it comes to."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.do("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until an expression is true."""
        waited = f"""new Promise((done) => {{ const end = Date.now() + {1000 * seconds}; (function look() {{
            if ({script}) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 20); }})() }})"""
        assert self.run(waited), f"never {script}"

    def press(self, key: str) -> None:
        """A key down and up."""
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40, "End": 35}[
            key
        ]
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self) -> bytes:
        """A PNG of all of the page."""
        return base64.b64decode(self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def _browser(self, method: str, **arguments: Any) -> dict[str, Any]:
        return self._ask({"method": method, "params": arguments})

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        os.write(self._told, json.dumps({"id": self._number, **message}).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._hear(answer)

    def _hear(self, event: dict[str, Any]) -> None:
        """Keep what the page's console calls an error."""
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown" or told.get("entry", {}).get("level") == "error":
            self.said.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)
