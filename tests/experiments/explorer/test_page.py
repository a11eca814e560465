"""The page of an explorer: what it holds, that it is all of it, and that it works in a browser."""

import json
import re

import numpy as np
import pytest
import torch

from experiments.explorer import Setting
from experiments.explorer.page import live_page, saved_page
from experiments.explorer.pictures import pixels_of, sheet, thumbnails
from tests.browser import PHONE, WIDE, Browser
from tests.experiments.explorer.serving import serving
from tests.experiments.explorer.test_server import tiles

PAGES = {"live": live_page, "saved": saved_page}


def view_of(page: str) -> dict:
    """What the page knows."""
    return json.loads(re.search(r'<script type="application/json" id="view">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.parametrize("system", ["conditional", "table"])
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_takes_nothing_from_elsewhere(kind, system, explore):
    page = PAGES[kind](explore(system))
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\(", page)
    assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page) == [
        '<link rel="icon" href="data:,">',
        '<script type="application/json" id="view">',
        "<script>",
    ]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"connect-src '{'self' if kind == 'live' else 'none'}'" in policy


def test_the_map_is_of_the_codes_and_coloured_by_factors(explore):
    explorer = explore("conditional")
    view = view_of(live_page(explorer))
    assert view["count"] == 12
    np.testing.assert_allclose(view["sites"][0]["scores"], explorer.values["z"][:12].numpy(), rtol=1e-5)
    colour = {one["name"]: one for one in view["colours"]}["label"]
    factor = explorer.table["label"]
    assert colour["names"] == ["blue", "green", "red"]
    assert colour["values"] == factor.values.tolist()
    np.testing.assert_array_equal(tiles(view["sheet"], 12), pixels_of(explorer.data[0][:12]))
    assert view["choices"][0]["own"] == factor.values.tolist()


@pytest.mark.parametrize("system", ["conditional", "hierarchy"])
def test_a_saved_page_holds_what_the_explorer_decodes(system, explore):
    """Each slider's path and each level, of each image, and each image at its own code."""
    explorer = explore(system)
    saved = view_of(saved_page(explorer))
    frames = saved["saved"]["frames"]
    np.testing.assert_array_equal(tiles(saved["saved"]["own"], 12), pixels_of(explorer.reconstructions()))
    for site in saved["sites"]:
        for axis in site["axes"]:
            expected, path = explorer.traverse(Setting(2), site["name"], axis["number"], len(axis["path"]))
            found = tiles(frames[2], 2000)[axis["saved"] :][: len(path)]
            np.testing.assert_array_equal(found, pixels_of(expected.images))
            np.testing.assert_allclose(axis["path"], path, rtol=1e-5)
    for choice in saved["choices"]:
        found = tiles(frames[2], 2000)[choice["saved"] :]
        for level in range(len(choice["options"])):
            expected = explorer.decode(Setting(2, chosen={choice["name"]: level})).images
            np.testing.assert_array_equal(found[level], pixels_of(expected)[0])


def test_a_saved_page_of_a_table_holds_rows_and_their_units(explore):
    explorer = explore("table")
    view = view_of(saved_page(explorer))
    assert view["sheet"] is None
    assert view["rows"]["columns"] == ["a", "b", "c", "d"]
    own = explorer.reconstructions().flatten(1).numpy()
    np.testing.assert_allclose(view["saved"]["own"], own, rtol=1e-5, atol=1e-6)
    in_units = np.array(view["saved"]["own"]) * view["rows"]["scale"] + view["rows"]["center"]
    few = explorer.run.data.subset(slice(12))
    np.testing.assert_allclose(in_units, explorer.run.reconstruct(few).values, rtol=1e-4, atol=1e-4)
    missing = np.array([[value is None for value in row] for row in view["rows"]["values"]])
    np.testing.assert_array_equal(missing, explorer.data[0][:12].flatten(1).isnan().numpy())


def test_names_of_a_run_are_text_on_the_page(explore):
    explorer = explore("conditional")
    name = explorer.run.configuration.name
    explorer.run.configuration.name = "</script><b>&"
    try:
        page = live_page(explorer)
    finally:
        explorer.run.configuration.name = name
    assert "<title>&lt;/script&gt;&lt;b&gt;&amp;</title>" in page
    assert "</script><b>" not in page
    assert view_of(page)["title"] == "</script><b>&"


@pytest.mark.parametrize(("shape", "found"), [((1, 4, 6), (4, 6)), ((3, 4, 6), (4, 6, 3)), ((2, 4, 6), (4, 12))])
def test_any_number_of_channels_is_a_picture(shape, found):
    images = torch.rand(5, *shape)
    pixels = pixels_of(images)
    assert pixels.shape == (5, *found)
    expected = (images[2].permute(1, 2, 0) if shape[0] == 3 else torch.cat(list(images[2]), -1)) * 255
    np.testing.assert_allclose(pixels[2], expected.numpy(), atol=0.5)
    assert sheet(pixels).width == found[1]
    assert thumbnails(torch.rand(2, 1, 200, 100), 50).shape == (2, 1, 50, 25)


# In a browser


@pytest.fixture(scope="module")
def served(explore):
    """The address of a conditional run's page."""
    with serving(explore("conditional")) as server:
        yield server


SHOWN = """(() => { const copy = new OffscreenCanvas(8, 8).getContext("2d", {willReadFrequently: true});
    copy.drawImage(document.getElementById("current"), 0, 0); return [...copy.getImageData(0, 0, 8, 8).data] })()"""
READY = "document.getElementById('status').textContent.startsWith('Mean of p')"


def shown(browser: Browser) -> np.ndarray:
    """What the page shows of the model, (8, 8, 3)."""
    return np.array(browser.run(SHOWN), np.uint8).reshape(8, 8, 4)[..., :3]


def test_a_slider_by_keys_and_a_label_show_what_the_explorer_decodes(browser, served):
    explorer = served.explorer
    browser.open(served.url)
    browser.wait(READY)
    np.testing.assert_array_equal(shown(browser), pixels_of(explorer.decode().images)[0])
    browser.run("document.querySelector('#axes input').focus()")
    browser.press("End")
    caption = "document.getElementById('current-caption').textContent === 'Its code, as it is set'"
    browser.wait(f"{caption} && !busy")
    axes = explorer.axes("z")
    number = axes.numbers[axes.order[0]]
    value = browser.run("Number(document.querySelector('#axes input').value)")
    assert value == pytest.approx(axes.reach(number)[1], abs=1e-3)
    moved = Setting(moved={"z": {number: value}})
    np.testing.assert_array_equal(shown(browser), pixels_of(explorer.decode(moved).images)[0])
    level = (explorer.choices["given"].own[0] + 1) % 3
    browser.run(
        f"const s = document.querySelector('select[id^=choice]'); s.value = '{level}'; "
        "s.dispatchEvent(new Event('change'))"
    )
    browser.wait("!busy")
    both = Setting(moved=moved.moved, chosen={"given": level})
    np.testing.assert_array_equal(shown(browser), pixels_of(explorer.decode(both).images)[0])
    assert browser.said == []


def test_the_map_is_walked_by_keys_and_starts_another_image(browser, served):
    browser.open(served.url)
    browser.wait(READY)
    browser.run("document.getElementById('map').focus()")
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft"):
        browser.press(key)
    said = browser.run("document.getElementById('map-said').textContent")
    image = int(re.match(r"image (\d+), label (?:red|green|blue)$", said)[1])
    browser.press("Enter")
    browser.wait(f"Number(document.getElementById('image').value) === {image} && !busy")
    expected = served.explorer.decode(Setting(image)).images
    np.testing.assert_array_equal(shown(browser), pixels_of(expected)[0])


def test_it_fits_a_phone_and_everything_has_a_name(browser, served):
    browser.open(served.url, PHONE)
    browser.wait(READY)
    nameless = """Array.from(document.querySelectorAll("input, select, button, canvas")).filter((one) =>
        !(one.labels && one.labels.length) && !one.getAttribute("aria-label") && !one.textContent.trim()
        && one.getAttribute("aria-hidden") !== "true").map((one) => one.id)"""
    assert browser.run(nameless) == []
    for width in (PHONE, WIDE):
        browser.look(width)
        assert browser.fits()


def test_a_saved_page_needs_no_server(browser, explore, tmp_path):
    explorer = explore("conditional")
    path = tmp_path / "page.html"
    path.write_text(saved_page(explorer), encoding="utf-8")
    browser.open(path)
    browser.wait(READY)
    np.testing.assert_array_equal(shown(browser), pixels_of(explorer.decode().images)[0])
    browser.run("document.querySelector('#axes input').focus()")
    browser.press("End")
    axes = explorer.axes("z")
    expected, _ = explorer.traverse(Setting(), "z", axes.numbers[axes.order[0]], 9)
    last = json.dumps(pixels_of(expected.images)[-1].reshape(-1).tolist())
    browser.wait(f"JSON.stringify({SHOWN}.filter((_, place) => place % 4 < 3)) === JSON.stringify({last})")
    assert browser.said == []
