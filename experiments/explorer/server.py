"""The server behind a page: on this machine alone, of pages that it made alone, and nothing is written."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from ppvae.errors import UserError

from ..endings import line_of
from .animation import gif, mp4
from .explorer import Explorer, Setting
from .page import live_page, rows_of
from .pictures import pixels_of, sheet
from .queries import number_of, read_setting

__all__ = ["LOOPBACK", "Server", "animated"]

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MOST_STEPS = 100
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

type Query = Mapping[str, str]
type Answer = tuple[str, bytes]
"""A media type, and what is of it."""


class Server(ThreadingHTTPServer):
    """Answers on 127.0.0.1; ``port`` 0: any that is free. Close it when it has served.

    A request whose Host is another name than this machine's, as after DNS rebinding, or that another site's page sends,
    is refused. Pyro's handlers are of the whole process, so that one request is decoded at a time.
    Errors: :class:`~ppvae.UserError` for a port that is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, explorer: Explorer, port: int = 0) -> None:
        self.explorer, self.decoding = explorer, threading.Lock()
        try:
            super().__init__((LOOPBACK, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"--port {port}: {reason}; give another, or leave it out for any that is free") from None

    @property
    def port(self) -> int:
        """The one it listens at."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What a browser opens."""
        return f"http://{LOOPBACK}:{self.port}/"

    @cached_property
    def page(self) -> bytes:
        """Made once."""
        return live_page(self.explorer).encode()


class Handler(BaseHTTPRequestHandler):
    """One request; everything that is wrong with it is one line of JSON, ``{"error": …}``."""

    server: Server
    server_version, sys_version = "ppvae", ""
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:
        """Answer one of the paths."""
        if self._foreign():
            self.send_error(HTTPStatus.FORBIDDEN, f"this server answers at {self.server.url} alone")
            return
        asked = urlsplit(self.path)
        if asked.path not in PATHS:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is no {asked.path[:80]}: {', '.join(PATHS)}")
            return
        try:
            with self.server.decoding:
                kind, body = PATHS[asked.path](self.server, dict(parse_qsl(asked.query, keep_blank_values=True)))
        except Exception as error:
            self._failed(error)
        else:
            self._answer(HTTPStatus.OK, kind, body)

    do_HEAD = do_GET

    def _foreign(self) -> bool:
        names = {f"{name}:{self.server.port}" for name in (LOOPBACK, "localhost")}
        hosts = self.headers.get_all("Host", [])
        return len(hosts) != 1 or hosts[0].lower() not in names or self._of_another_site(names)

    def _of_another_site(self, names: set[str]) -> bool:
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        return site not in ("none", "same-origin") or origin not in (None, *(f"http://{name}" for name in names))

    def _failed(self, error: Exception) -> None:
        line = line_of(error)
        if line is None:
            logger.exception("%s failed", self.path[:200])
        status = HTTPStatus.BAD_REQUEST if isinstance(error, UserError) else HTTPStatus.INTERNAL_SERVER_ERROR
        self.send_error(status, line or f"{type(error).__name__}, which the terminal tells more of")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As JSON; the base class calls it, too, for requests that it cannot read and methods that there are not."""
        del explain
        self._answer(code, "application/json", json.dumps({"error": message or HTTPStatus(code).phrase}).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except ConnectionError:  # the page has asked for the next already
                self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: a slider asks many times a second."""


def animated(explorer: Explorer, setting: Setting, site: str, number: int, steps: int) -> np.ndarray:
    """Frames (step, H, W) or (step, H, W, 3), uint8, of a traversal; of a table's rows as curves."""
    images = explorer.traverse(setting, site, number, steps)[0].images
    if explorer.of_rows:
        from .curves import curve_frames  # here: matplotlib takes a second to import

        return curve_frames(rows_of(images), explorer.run.intake.columns)
    return pixels_of(images)


def _page(server: Server, _query: Query) -> Answer:
    return "text/html; charset=utf-8", server.page


def _decode(server: Server, query: Query) -> Answer:
    setting = read_setting(query.get("setting", "{}"))
    images = server.explorer.decode(setting).images
    rows = server.explorer.of_rows
    found = {"row": rows_of(images)[0].tolist()} if rows else {"sheet": sheet(pixels_of(images))._asdict()}
    return _json(found | {"follows": server.explorer.follows(setting)})


def _traverse(server: Server, query: Query) -> Answer:
    drawn, path = server.explorer.traverse(*_asked(server, query))
    rows = server.explorer.of_rows
    found = {"rows": rows_of(drawn.images).tolist()} if rows else {"sheet": sheet(pixels_of(drawn.images))._asdict()}
    return _json(found | {"path": path.tolist()})


def _animation(kind: str, encode: Callable[[np.ndarray], bytes]) -> Callable[[Server, Query], Answer]:
    return lambda server, query: (kind, encode(animated(server.explorer, *_asked(server, query))))


def _asked(server: Server, query: Query) -> tuple[Setting, str, int, int]:
    """The setting, site, axis and number of steps of a traversal."""
    sites = server.explorer.codes
    site = query.get("site") or (sites[0] if sites else "")
    axis = number_of("axis", query.get("axis", "0"), 0, 10**8)
    steps = number_of("steps", query.get("steps", "9"), 2, MOST_STEPS)
    return read_setting(query.get("setting", "{}")), site, axis, steps


def _json(found: Mapping[str, Any]) -> Answer:
    return "application/json", json.dumps(found, allow_nan=False).encode()


PATHS: dict[str, Callable[[Server, Query], Answer]] = {
    "/": _page,
    "/decode": _decode,
    "/traverse": _traverse,
    "/traversal.gif": _animation("image/gif", gif),
    "/traversal.mp4": _animation("video/mp4", mp4),
}
"""By what is asked for."""
