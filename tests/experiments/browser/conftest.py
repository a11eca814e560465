"""A Chromium without a window, asked over its DevTools protocol; one for all tests of a session."""

import itertools
import json
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

client = pytest.importorskip("websockets.sync.client", reason="a browser is spoken to by websockets, not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("background-networking", "component-update", "sync", "gpu", "dev-shm-usage", "extensions")
SECONDS = 60


class Tab:
    """One page at a time, and what it said on the console."""

    def __init__(self, socket: client.ClientConnection) -> None:
        self.socket, self.numbers, self.said = socket, itertools.count(1), []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = {}
        self.session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to one command; events that come before it are kept if a page complains."""
        number = next(self.numbers)
        session = getattr(self, "session", {})
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))
        while True:
            message = self._heard()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def open(self, path: Path, *, width: int = 1280, dark: bool = False, phone: bool = False) -> None:
        """A file in a window of this width, once all of it is there."""
        self.said.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while self._heard().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, selector: str = "html") -> bytes:
        """What an element looks like, as PNG."""
        box = self.run(
            f"(box => ({{x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}}))"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        clip = box | {"scale": 1}
        return b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def _heard(self) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout=SECONDS))
        if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.said.append(message["params"])
        return message


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a browser that knows nothing."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is on the path: Debian's package chromium")
    with started(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@contextmanager
def started(profile: Path) -> Iterator[Tab]:
    """A browser with an empty profile, ended after it."""
    options = [f"--disable-{name}" for name in QUIET]
    options += [
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with client.connect(_address(profile), max_size=None, proxy=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def _address(profile: Path) -> str:
    """Where it listens, which it writes down once it does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        lines = (
            (profile / "DevToolsActivePort").read_text().split() if (profile / "DevToolsActivePort").exists() else []
        )
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise TimeoutError(f"{CHROMIUM} does not listen after {SECONDS} s")
