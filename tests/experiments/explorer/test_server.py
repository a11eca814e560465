"""The server behind a page: what it answers, to whom, and what it says of anything else."""

import base64
import http.client
import io
import json
import socket
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from experiments.explorer import Setting
from experiments.explorer.animation import gif
from experiments.explorer.pictures import pixels_of
from experiments.explorer.server import LOOPBACK, Server
from ppvae import UserError
from tests.experiments.explorer.serving import serving


@pytest.fixture(scope="module")
def server(explore):
    """Of a hierarchy, as long as this file's tests run."""
    with serving(explore("hierarchy")) as served:
        yield served


@pytest.fixture
def ask(server):
    """A request: status, headers and body."""

    def request(path: str, method: str = "GET", **headers: str):
        connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=30)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    return request


def setting(**changes) -> str:
    return quote(json.dumps(changes))


def tiles(sheet: dict, count: int) -> np.ndarray:
    """The images of a sheet, (image, H, W, 3)."""
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["url"].partition(",")[2]))))
    rows = whole.reshape(-1, sheet["height"], sheet["columns"], sheet["width"], 3).swapaxes(1, 2)
    return rows.reshape(-1, sheet["height"], sheet["width"], 3)[:count]


def test_what_is_decoded_is_the_explorer_s(server, ask):
    moved = {"z_1": {"0": 0.7}}
    status, headers, body = ask(f"/decode?setting={setting(image=3, moved=moved)}")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    found = json.loads(body)
    expected = server.explorer.decode(Setting(3, moved={"z_1": {0: 0.7}})).images
    np.testing.assert_array_equal(tiles(found["sheet"], 1), pixels_of(expected))
    assert found["follows"] == ["z_2"]


def test_a_traversal_is_asked_for_as_frames_and_as_a_file(server, ask):
    words = f"setting={setting(image=3)}&site=z_2&axis=1&steps=5"
    expected, path = server.explorer.traverse(Setting(3), "z_2", 1, 5)
    found = json.loads(ask(f"/traverse?{words}")[2])
    np.testing.assert_array_equal(tiles(found["sheet"], 5), pixels_of(expected.images))
    np.testing.assert_allclose(found["path"], path)
    status, headers, body = ask(f"/traversal.gif?{words}")
    assert (status, headers["Content-Type"]) == (200, "image/gif")
    assert body == gif(pixels_of(expected.images))


def test_the_page_is_served_and_runs_nothing_of_others(server, ask):
    status, headers, body = ask("/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Frame-Options"] == "DENY"
    assert body.decode() == server.page.decode()
    status, headers, none = ask("/", "HEAD")
    assert (status, none, headers["Content-Length"]) == (200, b"", str(len(body)))


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex((own_address(), server.port)) != 0


def own_address() -> str:
    """By which others reach this machine; one that is nobody's where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            any_socket.connect(("192.0.2.1", 9))  # sends nothing
            return any_socket.getsockname()[0]
        except OSError:
            return "192.0.2.1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
        {"Host": "127.0.0.1:{port}", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:{port}", "Origin": "null"},
        {"Host": "127.0.0.1:{port}", "Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/decode"])
def test_other_sites_are_refused(headers, path, server, ask):
    """After DNS rebinding the Host is theirs."""
    given = {name: value.format(port=server.port) for name, value in headers.items()}
    status, _, body = ask(path, **given)
    assert status == 403
    assert json.loads(body) == {"error": f"this server answers at http://127.0.0.1:{server.port}/ alone"}


def test_this_machine_s_name_is_allowed(server, ask):
    name = f"localhost:{server.port}"
    own = {"Host": name.title(), "Origin": f"http://{name}", "Sec_Fetch_Site": "same-origin"}
    assert ask("/decode", **own)[0] == 200


WRONG = [
    ("setting=%7B", "setting='{': expected a JSON object of image, moved"),
    ("setting=[]", "setting='[]': expected a JSON object"),
    ("setting=" + "[" * 5000, "setting="),
    (f"setting={setting(images=1)}", "setting has 'images': expected image, moved"),
    (f"setting={setting(image=12)}", "image=12: there are 12, numbered from 0"),
    (f"setting={setting(image=-1)}", "image=-1: expected a whole number from 0"),
    (f"setting={setting(image=1.0)}", "image=1.0: expected a whole number from 0"),
    (f"setting={setting(image=True)}", "image=True: expected a whole number"),
    (f"setting={setting(moved=[1])}", "moved=[1]: expected a JSON object"),
    (f"setting={setting(moved={'w': {'0': 1}})}", "site='w': expected one of z_1, z_2"),
    (f"setting={setting(moved={'z_1': {'x': 1}})}", "axis of z_1='x': expected a whole number"),
    (f"setting={setting(moved={'z_1': {'99': 1}})}", "z_1 has no direction 99"),
    (f"setting={setting(moved={'z_1': {'0': 'x'}})}", "z_1[0]='x': expected a number between"),
    (f"setting={setting(moved={'z_1': {'0': float('nan')}})}", "z_1[0]=nan: expected a number between"),
    (f"setting={setting(moved={'z_1': {'0': float('inf')}})}", "z_1[0]=inf: expected a number between"),
    (f"setting={setting(moved={'z_1': {'0': 10**400}})}", "z_1[0]=1000"),
    (f"setting={setting(chosen={'y': 1})}", "choice='y': expected one of"),
    (f"setting={setting(kept=3)}", "kept=3: there are 3 numbers of sites"),
    (f"setting={setting(kept=0, temperature=-1)}", "temperature"),
    (f"setting={setting(seed=2**64)}", "seed=18446744073709551616: expected a whole number"),
]


@pytest.mark.parametrize(("query", "line"), WRONG)
def test_a_wrong_setting_is_one_line(query, line, ask):
    status, headers, body = ask(f"/decode?{query}")
    assert status == 400, body
    assert headers["Content-Type"] == "application/json"
    error = json.loads(body)["error"]
    assert error.startswith(line)
    assert "\n" not in error
    assert len(error) < 400


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("site=w", "site='w': expected one of z_1, z_2"),
        ("axis=-1", "axis='-1': expected a whole number from 0"),
        ("axis=77", "z_1 has no direction 77"),
        ("steps=1", "steps='1': expected a whole number from 2 to 100"),
        ("steps=1e9", "steps='1e9': expected a whole number"),
        ("steps=99999999999999", "steps='99999999999999': expected"),
    ],
)
@pytest.mark.parametrize("path", ["/traverse", "/traversal.gif", "/traversal.mp4"])
def test_a_wrong_traversal_is_one_line(path, query, line, ask):
    status, _, body = ask(f"{path}?{query}")
    assert status == 400
    assert json.loads(body)["error"].startswith(line)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/etc/passwd", "GET", 404), ("/../config.yaml", "GET", 404), ("/", "POST", 501), ("/decode", "DELETE", 501)],
)
def test_there_is_nothing_else_and_nothing_is_written(path, method, status, ask):
    found, headers, body = ask(path, method)
    assert found == status
    assert headers["Content-Type"] == "application/json"
    assert list(json.loads(body)) == ["error"]


def test_an_error_of_the_program_s_own_is_told_in_the_terminal(server, ask, monkeypatch, caplog):
    monkeypatch.setattr(server.explorer, "decode", lambda _: 1 / 0)
    status, _, body = ask("/decode")
    assert status == 500
    assert json.loads(body) == {"error": "ZeroDivisionError, which the terminal tells more of"}
    assert "division by zero" in caplog.text


def test_a_port_that_is_taken_is_one_line(server):
    with pytest.raises(UserError, match=rf"--port {server.port}: Address already in use; give another"):
        Server(server.explorer, server.port)
