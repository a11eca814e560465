"""``ppvae explore``: what it writes, what it serves, and what it says of words that are wrong."""

import threading
import urllib.request

import numpy as np
import pytest

import ppvae
from experiments.explorer import Setting, command
from experiments.explorer.animation import gif
from experiments.explorer.command import explorer_of, main
from experiments.explorer.curves import curve_frames
from experiments.explorer.page import saved_page
from experiments.explorer.pictures import pixels_of
from experiments.explorer.server import Server
from ppvae import UserError


def test_a_traversal_is_written_as_the_run_has_it(trained, tmp_path, capsys):
    """Of the largest latent, or of the one that is asked for."""
    folder, out = trained("vamp"), tmp_path / "z.gif"
    explorer = explorer_of(ppvae.load(folder))
    expected = ppvae.load(folder).traverse(image=3, steps=4)
    for latent in expected["latent"].values:
        main([str(folder), "--gif", str(out), "--image", "3", "--latent", str(latent), "--steps", "4"])
        drawn, _ = explorer.traverse(Setting(3), "z", int(latent), 4)
        np.testing.assert_allclose(drawn.images, expected.sel(latent=latent), atol=1e-5)
        assert out.read_bytes() == gif(pixels_of(drawn.images))
    assert capsys.readouterr().out.splitlines()[0] == f"{out}: 0.0 MB"
    main([str(folder), "--gif", str(out), "--steps", "4"])
    drawn, _ = explorer.traverse(Setting(0), "z", explorer.axes("z").numbers[explorer.axes("z").order[0]], 4)
    assert out.read_bytes() == gif(pixels_of(drawn.images))


def test_a_row_is_drawn_as_a_curve(trained, tmp_path):
    out = tmp_path / "row.gif"
    main([str(trained("table")), "--gif", str(out), "--steps", "3"])
    explorer = explorer_of(ppvae.load(trained("table")))
    number = explorer.axes("z").numbers[explorer.axes("z").order[0]]
    rows = explorer.traverse(Setting(), "z", number, 3)[0].images.flatten(1).numpy()
    assert out.read_bytes() == gif(curve_frames(rows, ["a", "b", "c", "d"]))
    high, low = curve_frames(np.array([[2.0] * 4, [-2.0] * 4]), ["a", "b", "c", "d"])
    of_line = [np.flatnonzero((frame == (31, 111, 139)).all(-1).sum(1) > 100).mean() for frame in (high, low)]
    assert of_line[0] < len(high) / 2 < of_line[1]  # rows of pixels are counted from above


def test_a_page_is_saved(trained, tmp_path):
    out = tmp_path / "page.html"
    main([str(trained("vamp")), "--save", str(out), "--images", "5"])
    assert out.read_text(encoding="utf-8") == saved_page(explorer_of(ppvae.load(trained("vamp")), 5))


def test_other_images_are_explored_over_the_range_of_the_run_s_own(trained, tmp_path):
    """They are shown alone; an export without its posterior has none of its own."""
    run = ppvae.load(trained("vamp"))
    few = run.data.subset(slice(4, 7))
    np.savez(tmp_path / "few.npz", images=few.stored().numpy(), labels=np.array(["red", "green", "blue"]))
    explorer = explorer_of(run, 2, str(tmp_path / "few.npz"))
    assert explorer.count == 2
    assert len(explorer.values["z"]) == 2 + 24
    expected = run.traverse(few.subset(slice(2)), image=1, steps=3)
    drawn, _ = explorer.traverse(Setting(1), "z", 0, 3)
    np.testing.assert_allclose(drawn.images, expected.sel(latent=0), atol=1e-5)

    away = ppvae.load(run.export(tmp_path / "away"))
    with pytest.raises(UserError, match=r"an export has no images: give some as --folder, or export the posterior$"):
        explorer_of(away, 6)
    shown = explorer_of(away, 6, str(tmp_path / "few.npz"))
    assert shown.count == 3
    assert "label" in shown.table


def test_a_level_is_given_with_other_images(trained, sources):
    run = ppvae.load(trained("conditional"))
    images = str(sources / "images.npz")
    assert set(explorer_of(run, 3, images, given="green").choices["given"].own[:3]) == {1}
    assert set(explorer_of(run, 3, images, given="2").choices["given"].own[:3]) == {2}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--port", "70000"], "--port 70000: expected a number below 65536, or 0 for any that is free"),
        (["--port", "x"], "ppvae explore: argument --port: invalid int value: 'x'; ppvae explore --help lists"),
        (["--images", "0"], "--images=0: expected a whole number of at least 1"),
        (["--save", "page.txt"], "--save page.txt: expected a file that ends in .html"),
        (["--gif", "z.png"], "--gif z.png: expected a file that ends in .gif"),
        (["--steps", "1"], "--steps 1: expected a number from 2 to 100"),
        (["--fit", "crop"], "--fit and --given are of images in --folder"),
        (["--gif", "z.gif", "--site", "w"], "site='w': expected one of z"),
        (["--gif", "z.gif", "--latent", "9"], "z has no latent 9: give one of its 3, 0 to 2"),
        (["--gif", "z.gif", "--image", "99"], "image=99: there are 24, numbered from 0"),
        (["--folder", "nothing"], "nothing"),
        (["--nothing"], "ppvae explore: unrecognized arguments: --nothing"),
    ],
)
def test_a_mistake_is_one_line(words, line, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        main([str(trained("vamp")), *words])
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_several_codes_are_asked_for_by_name(trained, tmp_path):
    with pytest.raises(UserError, match="the run has the codes z_1, z_2; give --site, one of them"):
        main([str(trained("hierarchy")), "--gif", str(tmp_path / "z.gif")])


def test_it_serves_until_it_is_interrupted(trained, monkeypatch, capsys):
    pages, opened = [], []

    def one_request(server: Server) -> None:
        reader = threading.Thread(target=lambda: pages.append(urllib.request.urlopen(server.url, timeout=60).read()))
        reader.start()
        server.handle_request()
        reader.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", one_request)
    monkeypatch.setattr(command, "ignore_signals", lambda: None)
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    main([str(trained("vamp")), "--images", "3"])
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{opened[0]} shows 3 images of {trained('vamp')}; Ctrl-C ends it"
    assert last == "ended"
    assert b"<title>vamp</title>" in pages[0]
    main([str(trained("vamp")), "--images", "3", "--no-browser"])
    assert len(pages) == 2
    assert len(opened) == 1
