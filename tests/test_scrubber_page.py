"""The page that `save_html` writes, in Chromium: every pixel and number is what the Progression says, by every hand."""

import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from rgru_lab import plots
from rgru_lab.progression import Progression
from rgru_lab.viewer import Guess, Scrubber
from rgru_lab.viewer import page as page_module

N = 4
READY = ".rgru[data-ready=true]"


@pytest.fixture(scope="module")
def progression(weights, sample):
    progression = Progression(weights, sample("chelsea", 168, 208))
    list(progression.run(N))
    return progression


@pytest.fixture(scope="module")
def scrubber(progression):
    scrubber = Scrubber(progression)
    scrubber.wait()
    return scrubber


@pytest.fixture(scope="module")
def written(tmp_path_factory, scrubber):
    path = tmp_path_factory.mktemp("page") / "page.html"
    scrubber.save_html(path, "My <photo>")
    return path


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory, weights, sample):
    """A page with as many iterations as there can be, of a photo too small for MS-SSIM."""
    path = tmp_path_factory.mktemp("sixteen") / "page.html"
    Scrubber(Progression(weights, sample("coffee", 32, 48)), against=("jpeg",), iterations=16).save_html(path)
    return path


@pytest.fixture
def visit(browser):
    """visit(path, **context): the page, ready; at the end nothing may have gone wrong or to the network."""
    opened = []

    def go(path, wait=READY, **context):
        page = browser.new_context(**({"viewport": {"width": 1000, "height": 1100}} | context)).new_page()
        page.wrong, page.asked = [], []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(wait, timeout=30_000)
        opened.append(page)
        return page

    yield go
    for page in opened:
        wrong, asked = page.wrong, [url for url in page.asked if not url.startswith(("file:", "blob:", "data:"))]
        page.context.close()
        assert wrong == []
        assert asked == []


@pytest.fixture
def page(visit, written):
    return visit(written)


def pane(role):
    return f".rgru-pane-{role} canvas"


def iteration(page, i):
    page.wait_for_selector(f'.rgru[data-iteration="{i}"]')
    page.wait_for_timeout(40)  # a frame, for what is drawn at the next one


def text(page, selector):
    return page.locator(selector).inner_text()


def table(page):
    return [row.split("\t") for row in page.locator(".rgru-table tbody").inner_text().splitlines()]


def expected_residual(progression, i, gain=1):
    """The browser's table of 255 colours, looked up in numpy."""
    colours = np.frombuffer(plots.residual_colours(), np.uint8).reshape(-1, 3)
    levels = np.clip(progression[i].residual.mean(axis=2) * gain / plots.RESIDUAL_SCALE, -1, 1)
    return colours[np.floor(127 * (1 + levels) + 0.5).astype(int)]


def test_it_begins_at_the_fourth_iteration_with_its_title_and_works_from_the_first_key(page):
    assert text(page, "h1") == "My <photo>"
    iteration(page, N)
    page.keyboard.press("Home")
    iteration(page, 1)
    page.keyboard.press("ArrowRight")
    iteration(page, 2)


def test_every_iteration_by_keyboard_shows_exactly_its_frame_and_residual(page, progression, pixels):
    page.locator(".rgru-slider").focus()
    page.keyboard.press("Home")
    for i in range(1, N + 1):
        iteration(page, i)
        assert np.array_equal(pixels(page, pane("I"))[..., :3], progression.original)
        assert np.array_equal(pixels(page, pane("P"))[..., :3], progression[i].photo)
        assert np.array_equal(pixels(page, pane("R"))[..., :3], expected_residual(progression, i))
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    iteration(page, 1)
    page.keyboard.press("End")
    iteration(page, N)
    assert np.array_equal(pixels(page, pane("P"))[..., :3], progression[N].photo)


def test_the_slider_follows_the_mouse(page, progression, pixels):
    box = page.locator(".rgru-slider").bounding_box()
    page.mouse.click(box["x"] + 11 + (box["width"] - 22) / (N - 1), box["y"] + box["height"] / 2)
    iteration(page, 2)
    assert np.array_equal(pixels(page, pane("P"))[..., :3], progression[2].photo)


def test_a_click_on_a_number_goes_to_its_iteration(page):
    for i in (2, 3, 1):
        page.locator(".rgru-ticks b").nth(i - 1).click()
        iteration(page, i)


def test_the_opponent_is_its_own_file_decoded(page, progression, scrubber, pixels):
    for i in (1, N):
        page.keyboard.press("Home" if i == 1 else "End")
        iteration(page, i)
        quality = scrubber.readings["bytes-jpeg"][i - 1]["quality"]
        expected = scrubber._ladders["jpeg"][quality].photo.astype(int)
        assert np.abs(pixels(page, pane("X"))[..., :3] - expected).mean() < 0.5  # two decoders of JPEG


def test_numbers_are_those_of_the_progression(page, progression, scrubber):
    page.keyboard.press("Home")
    for i in range(1, N + 1):
        iteration(page, i)
        ours, rival = progression[i], scrubber.readings["bytes-jpeg"][i - 1]
        saved = f"{100 * (1 - ours.bpp / 24):.1f} %"
        numbers = [f"{ours.size_bytes:,}", f"{ours.bpp:.3f}", f"{ours.psnr_db:.1f}", f"{ours.ms_ssim:.3f}", saved]
        assert table(page)[0] == [f"P[{i}], ours", *numbers]
        assert table(page)[1][:2] == [f"JPEG, quality {rival['quality']}", f"{rival['size_bytes']:,}"]
        assert text(page, ".rgru-pane-R .rgru-text") == f"mean |R| {ours.mean_abs_residual:.1f} levels"
        spoken = page.locator(".rgru-slider").get_attribute("aria-valuetext")
        assert spoken.startswith(f"iteration {i} of {N}: {ours.size_bytes:,} bytes")
        page.keyboard.press("ArrowRight")


def test_the_opponent_and_what_is_equal_can_be_chosen(page, scrubber):
    page.keyboard.press("End")
    for rival, label in (("webp", "WebP"), ("jpeg", "JPEG")):
        page.get_by_role("button", name=label, exact=True).first.click()
        for match, name in (("level", "same MS-SSIM"), ("bytes", "same bytes")):
            page.get_by_role("button", name=name).click()
            row = scrubber.readings[f"{match}-{rival}"][N - 1]
            assert table(page)[1][:2] == [f"{label}, quality {row['quality']}", f"{row['size_bytes']:,}"]
            page.wait_for_selector(f'{pane("X")}[data-picture="{row["file"]}"]')


def test_what_an_iteration_brought_is_in_the_last_row(page, progression):
    page.keyboard.press("Home")
    iteration(page, 1)
    assert table(page)[2] == ["ours, since P[i-1]", "–", "–", "–", "–", ""]
    page.keyboard.press("ArrowRight")
    iteration(page, 2)
    first, second = progression[1], progression[2]
    gains = [second.psnr_db - first.psnr_db, second.ms_ssim - first.ms_ssim]
    assert table(page)[2] == [
        "ours, since P[1]",
        f"+{second.size_bytes - first.size_bytes:,}",
        f"+{second.bpp - first.bpp:.3f}",
        f"{gains[0]:+.1f}".replace("-", "−"),
        f"{gains[1]:+.4f}".replace("-", "−"),
        "",
    ]


def test_nothing_moves_but_what_is_shown(visit, written):
    page = visit(written, viewport={"width": 780, "height": 900})
    places = "(q) => [...document.querySelectorAll(q)].map((e) => e.getBoundingClientRect()).map((r) => [r.x, r.width])"
    seen = []
    for key, name in (("Home", "Difference"), ("End", "Split"), ("Home", "Side by side")):
        page.get_by_role("button", name=name, exact=True).click()
        page.keyboard.press(key)
        page.wait_for_timeout(40)
        seen.append([page.evaluate(places, ".rgru-toolbar button"), page.evaluate(places, ".rgru-table th")])
    assert seen[0] == seen[1] == seen[2]
    page.evaluate("document.querySelector('.rgru-pane-P .rgru-text').textContent = 'many words '.repeat(12)")
    page.wait_for_timeout(40)  # a frame: what stands beside each other is lined up after it
    assert rectangle(page, "P")["y"] == rectangle(page, "I")["y"]  # pictures are on one line, however long the caption


def test_where_an_opponent_cannot_get_so_small_that_is_said(page, progression, scrubber):
    row = scrubber.readings["bytes-jpeg"][0]
    assert not row["fits"]  # one iteration of so small a photo is less than JPEG's header
    page.keyboard.press("Home")
    times = row["size_bytes"] / progression[1].size_bytes
    sentence = f"JPEG cannot get that small: its smallest file is {times:.1f} times as large as ours."
    assert text(page, ".rgru-verdict") == sentence


@pytest.fixture(scope="module")
def four_cases(tmp_path_factory, scrubber):
    """The page with other readings: MS-SSIM and PSNR agree, or do not, or cannot tell, or PSNR is infinite."""
    pairs = [[(0.9, 30.0), (0.8, 29.0)], [(0.9, 29.0), (0.8, 30.0)], [(0.9, 29.0)] * 2, [(1.0, None), (0.9, 50.0)]]
    state = {name: getattr(scrubber, name) for name in Scrubber.class_own_traits(sync=True)}
    readings = {side: [dict(row) for row in rows] for side, rows in scrubber.readings.items()}
    for k, pair in enumerate(pairs):
        for side, (ms_ssim, psnr_db) in zip(("ours", "bytes-jpeg"), pair, strict=True):
            readings[side][k] |= {"ms_ssim": ms_ssim, "psnr_db": psnr_db, "fits": True}
    path = tmp_path_factory.mktemp("cases") / "page.html"
    path.write_text(page_module.page(state | {"readings": readings}), encoding="utf-8")
    return path


def test_the_verdict_names_whoever_is_nearer_by_each_measure(visit, four_cases):
    page = visit(four_cases)
    for i, who in enumerate(
        (
            "ours by MS-SSIM (0.900 against 0.800), ours by PSNR (30.0 against 29.0 dB)",
            "ours by MS-SSIM (0.900 against 0.800), JPEG by PSNR (30.0 against 29.0 dB)",
            "neither by MS-SSIM (both 0.900), neither by PSNR (both 29.0 dB)",
            "ours by MS-SSIM (1.000 against 0.900), ours by PSNR (∞ against 50.0 dB)",
        ),
        start=1,
    ):
        page.locator(".rgru-ticks b").nth(i - 1).click()
        iteration(page, i)
        assert text(page, ".rgru-verdict") == f"Nearer to the original at the same bytes: {who}."


def test_the_verdict_at_the_same_quality_counts_bytes(page, progression, scrubber):
    page.keyboard.press("End")
    page.get_by_role("button", name="same MS-SSIM").click()
    saved = 100 * (1 - progression[N].size_bytes / scrubber.readings["level-jpeg"][N - 1]["size_bytes"])
    words = f"{abs(saved):.0f} % {'fewer' if saved > 0 else 'more'} bytes than JPEG"
    assert text(page, ".rgru-verdict") == f"For the same MS-SSIM ours takes {words}."


def test_gain_and_grey_are_there_on_demand_only(page, progression, pixels):
    page.keyboard.press("End")
    assert page.get_by_role("button", name="×1", exact=True).get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="×4", exact=True).click()
    assert "+16" in text(page, ".rgru-legend")
    assert np.array_equal(pixels(page, pane("R"))[..., :3], expected_residual(progression, N, gain=4))
    page.get_by_role("button", name="grey").click()
    grey = np.abs(progression[N].residual.astype(int)).sum(axis=2) / 3 * 4 / plots.RESIDUAL_SCALE
    expected = np.floor(255 * np.clip(grey, 0, 1) + 0.5)
    assert np.array_equal(pixels(page, pane("R"))[..., 0], expected)


def test_the_split_clips_and_never_moves_the_pictures(page, progression, pixels):
    page.keyboard.press("2")
    handle = page.get_by_role("slider", name="split")
    left, right = (f".rgru-pane-split canvas:nth-child({k})" for k in (1, 2))
    assert handle.get_attribute("aria-valuenow") == "50"
    assert np.array_equal(pixels(page, left)[..., :3], progression[N].photo)
    before = page.locator(right).bounding_box()
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 100, box["y"] + 90, steps=3)
    page.mouse.up()
    assert 30 < int(handle.get_attribute("aria-valuenow")) < 45
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.locator(right).bounding_box() == before
    handle.hover()
    page.mouse.down()
    expect(page.locator(".rgru-cross:visible")).to_have_count(0)  # with the next frame
    page.mouse.up()
    inset = "el => Number(el.style.clipPath.match(/([\\d.]+)%/)[1])"
    for key, edge in (("1", 0), ("2", 50), ("3", 100)):
        page.keyboard.press(key)
        assert abs(page.locator(right).evaluate(inset) - edge) < 1
    page.get_by_label("left picture").select_option("I")
    assert np.array_equal(pixels(page, left)[..., :3], progression.original)


def test_the_split_says_how_large_both_files_are(page, progression, scrubber):
    page.keyboard.press("2")
    row = scrubber.readings["bytes-jpeg"][N - 1]
    names = page.locator(".rgru-name").all_inner_texts()
    ours, theirs = f"{progression[N].size_bytes:,}", f"{row['size_bytes']:,}"
    assert names == [f"P[{N}] · {ours} bytes", f"JPEG, quality {row['quality']} · {theirs} bytes"]


def test_the_difference_of_any_two(page, progression, pixels):
    page.keyboard.press("d")
    canvas = ".rgru-pane-difference canvas"
    assert np.array_equal(pixels(page, canvas)[..., :3], expected_residual(progression, N))
    page.get_by_label("minus picture").select_option("Q")
    page.get_by_label("picture", exact=True).select_option("P")
    page.wait_for_selector(f'{canvas}[data-picture="P{N}|P{N - 1}|signed|1"]')
    mean = np.abs(progression[N].photo.astype(int) - progression[N - 1].photo).mean()
    assert text(page, ".rgru-pane-difference .rgru-text") == f"mean |difference| {mean:.1f} levels"
    page.keyboard.press("d")
    assert page.locator(".rgru").get_attribute("data-view") == "panes"


def rectangle(page, role):
    return page.locator(f".rgru-pane-{role} .rgru-sheet").bounding_box()


@pytest.mark.parametrize("ratio", [1, 1.25, 2])
def test_zoom_is_in_whole_device_pixels_in_all_panes_at_once(visit, written, ratio):
    page = visit(written, device_scale_factor=ratio, viewport={"width": 1000, "height": 900})
    page.locator(".rgru-stage").focus()
    page.keyboard.press("0")
    seen = []
    for _ in range(4):
        page.keyboard.press("+")
        boxes = [rectangle(page, role) for role in "IPRX"]
        scales = [box["width"] * ratio / 208 for box in boxes]
        assert all(abs(scale - round(scale)) < 0.01 for scale in scales)
        assert len({round(scale, 3) for scale in scales}) == 1
        for box in boxes:
            assert abs(box["x"] * ratio - round(box["x"] * ratio)) < 0.02
        seen.append(round(scales[0]))
        assert page.evaluate(f"getComputedStyle(document.querySelector('{pane('P')}')).imageRendering") == "pixelated"
    assert seen == sorted(set(seen))
    assert seen[-1] >= 4
    page.locator(".rgru-pane-P .rgru-port").dblclick()
    assert text(page, ".rgru-zoom-label").startswith("Fit")
    page.locator(".rgru-pane-P .rgru-port").dblclick()
    assert not text(page, ".rgru-zoom-label").startswith("Fit")


@pytest.mark.parametrize(("width", "ratio", "percent"), [(480, 1, 200), (400, 1, 100), (300, 1, 100), (320, 1.5, 200)])
def test_fit_is_a_whole_number_wherever_the_picture_has_room(visit, written, width, ratio, percent):
    page = visit(written, device_scale_factor=ratio, viewport={"width": width, "height": 1400})
    page.keyboard.press("2")
    assert text(page, ".rgru-zoom-label") == f"Fit {percent} %"
    assert abs(rectangle(page, "split")["width"] * ratio - 208 * percent / 100) < 0.01
    canvas = ".rgru-pane-split canvas"
    assert page.evaluate(f"getComputedStyle(document.querySelector('{canvas}')).imageRendering") == "pixelated"


def test_what_is_too_large_is_scaled_down_and_that_is_said(visit, written):
    page = visit(written, viewport={"width": 700, "height": 900})
    page.evaluate("document.querySelector('.rgru').style.width = '360px'")
    page.wait_for_function("!document.querySelector('.rgru-zoom-label').textContent.endsWith(' 100 %')")
    scale = rectangle(page, "P")["width"] / 208
    assert scale < 1
    assert text(page, ".rgru-zoom-label") == f"Fit {100 * scale:.0f} %"


def test_fit_shows_all_of_the_picture_wherever_one_was(page):
    page.keyboard.press("2")
    page.locator(".rgru-zoom-label").focus()
    for key in ("+", "+", "+", *["Shift+ArrowDown", "Shift+ArrowRight"] * 6, "0"):
        page.keyboard.press(key)
    for name, role in (("Side by side", "P"), ("Split", "split")):
        page.get_by_role("button", name=name, exact=True).click()
        port, sheet = page.locator(f".rgru-pane-{role} .rgru-port").bounding_box(), rectangle(page, role)
        for at, side in (("x", "width"), ("y", "height")):
            assert abs(port[at] + port[side] / 2 - sheet[at] - sheet[side] / 2) <= 1


def test_zoom_goes_to_what_was_clicked_last(page):
    sheet = rectangle(page, "P")
    x, y = 150, 60
    page.mouse.click(sheet["x"] + (x + 0.5) * sheet["width"] / 208, sheet["y"] + (y + 0.5) * sheet["height"] / 168)
    page.mouse.move(sheet["x"] + 20, sheet["y"] + 20)  # on the way to the button
    for _ in range(3):
        page.get_by_role("button", name="zoom in").click()
    port, sheet = page.locator(".rgru-pane-P .rgru-port").bounding_box(), rectangle(page, "P")
    middle = port["x"] + port["width"] / 2, port["y"] + port["height"] / 2
    assert abs(middle[0] - sheet["x"] - (x + 0.5) * sheet["width"] / 208) <= 1
    assert abs(middle[1] - sheet["y"] - (y + 0.5) * sheet["height"] / 168) <= 1


def test_dragging_moves_all_panes_alike_and_the_wheel_zooms_around_the_pointer(page):
    box = page.locator(".rgru-pane-I .rgru-port").bounding_box()
    x, y = box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"]

    def place():  # of the picture, under the pointer
        sheet = rectangle(page, "I")
        return (x - sheet["x"]) / sheet["width"], (y - sheet["y"]) / sheet["height"]

    page.mouse.move(x, y)
    scrolled = page.evaluate("scrollY")
    page.keyboard.down("Control")
    before = place()
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert page.evaluate("scrollY") == scrolled
    assert np.allclose(place(), before, atol=0.01)
    offsets = [rectangle(page, role)["x"] for role in "IPRX"]
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=2)
    page.mouse.up()
    moved = [rectangle(page, role)["x"] - old for role, old in zip("IPRX", offsets, strict=True)]
    assert np.allclose(moved, 30, atol=1)
    page.locator(".rgru-zoom-label").focus()
    page.keyboard.press("Shift+ArrowRight")
    assert rectangle(page, "P")["x"] < offsets[1] + moved[1] - 40


def test_the_wheel_belongs_to_the_page_until_a_picture_is_taken_in_hand(visit, written):
    page = visit(written, viewport={"width": 1000, "height": 500})
    box = page.locator(".rgru-pane-I .rgru-port").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, 60)
    page.wait_for_function("scrollY > 0")
    assert text(page, ".rgru-zoom-label").startswith("Fit")


def test_the_probe_reads_the_pixel_in_every_picture(page, progression):
    sheet = rectangle(page, "P")
    x, y = 100, 50
    page.mouse.move(sheet["x"] + (x + 0.5) * sheet["width"] / 208, sheet["y"] + (y + 0.5) * sheet["height"] / 168)
    page.wait_for_function("document.querySelector('.rgru-probe').innerText.includes('x ')")
    said = text(page, ".rgru-probe").replace("−", "-").replace("+", "")
    numbers = {
        "I": progression.original[y, x],
        f"P[{N}]": progression[N].photo[y, x],
        f"R[{N}]": progression[N].residual[y, x],
    }
    assert "x 100, y 50" in said
    for name, levels in numbers.items():
        assert f"{name} {' '.join(str(level) for level in levels)}" in said
    assert page.locator(".rgru-cross:visible").count() == 4
    page.mouse.move(5, 5)
    page.wait_for_function("document.querySelector('.rgru-probe').innerText.startsWith('Point')")


def probe(page, start):
    page.wait_for_function("(start) => document.querySelector('.rgru-probe').innerText.startsWith(start)", arg=start)


def test_arrow_keys_move_the_probe_and_it_is_spoken(page, progression):
    page.locator(".rgru-zoom-label").focus()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.className") != "rgru-stage":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    probe(page, "x 104, y 84;")  # the middle
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowDown", "Shift+ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    probe(page, "x 114, y 75;")
    original, ours = progression.original[75, 114], progression[N].photo[75, 114]
    spoken = (
        f"x 114, y 75; red green blue:, I {' '.join(map(str, original))}, P[{N}] {' '.join(map(str, ours))}, R[{N}]"
    )
    page.wait_for_function("(said) => document.querySelector('.rgru-live').textContent.startsWith(said)", arg=spoken)
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    probe(page, "x 0, y 75;")
    assert page.locator(".rgru").get_attribute("data-iteration") == str(N)  # these arrows are the probe's
    page.keyboard.press(",")
    iteration(page, N - 1)
    page.keyboard.press(".")
    iteration(page, N)


def test_the_probe_takes_the_zoomed_picture_with_it(page):
    page.locator(".rgru-stage").focus()
    for key in ("+", "+", "+", "+", *["Shift+ArrowRight"] * 12, *["Shift+ArrowDown"] * 12):
        page.keyboard.press(key)
    probe(page, "x 207, y 167;")
    port, cross = (page.locator(f".rgru-pane-P .rgru-{name}").bounding_box() for name in ("port", "cross"))
    for at, side in (("x", "width"), ("y", "height")):
        assert port[at] <= cross[at] + cross[side] / 2 <= port[at] + port[side]


def test_the_largest_residual_is_found(page, progression):
    page.keyboard.press("Home")
    iteration(page, 1)
    page.get_by_role("button", name="largest", exact=True).click()
    size = np.abs(progression[1].residual).sum(axis=2)
    y, x = np.unravel_index(size.argmax(), size.shape)
    probe(page, f"x {x}, y {y};")
    page.keyboard.press("End")
    page.keyboard.press("d")
    page.get_by_label("minus picture").select_option("Q")
    page.get_by_label("picture", exact=True).select_option("P")
    page.locator(".rgru-zoom-label").focus()
    page.keyboard.press("m")
    size = np.abs(progression[N].photo.astype(int) - progression[N - 1].photo).sum(axis=2)
    y, x = np.unravel_index(size.argmax(), size.shape)
    probe(page, f"x {x}, y {y};")


def test_the_help_opens_and_closes(page):
    for key, is_open in (("?", True), ("Escape", False), ("?", True), ("?", False)):
        page.keyboard.press(key)
        assert page.locator(".rgru-help").is_visible() == is_open
    page.keyboard.press("?")
    assert "point at a pixel and read it" in text(page, ".rgru-help")


def test_the_page_around_it_does_not_change_the_help(page):
    """JupyterLab floats what a list explains, and its widths are shares of the list's."""
    page.add_style_tag(
        content="dl { display: block; padding: 0 } dl dt { float: left; width: 20%; } dl dd { float: left; width: 80% }"
    )
    page.set_viewport_size({"width": 1250, "height": 900})
    page.keyboard.press("?")
    words, meanings = (
        [row.bounding_box()["y"] for row in page.locator(f".rgru-help {kind}").all()] for kind in ("dt", "dd")
    )
    assert words == meanings == sorted(words)
    assert page.locator(".rgru-help").evaluate("help => getComputedStyle(help).padding") == "12px 16px"


def test_the_lens_magnifies_the_same_place_in_all_panes(page, progression, pixels):
    page.keyboard.press("l")
    sheet = rectangle(page, "I")
    x, y = 60, 90
    page.mouse.move(sheet["x"] + (x + 0.5) * sheet["width"] / 208, sheet["y"] + (y + 0.5) * sheet["height"] / 168)
    page.wait_for_selector(".rgru-pane-X .rgru-lens:visible")
    for role, photo in (("I", progression.original), ("P", progression[N].photo)):
        seen = pixels(page, f".rgru-pane-{role} .rgru-lens")
        middle = seen[seen.shape[0] // 2, seen.shape[1] // 2, :3]
        assert np.array_equal(middle, photo[y, x])
    page.keyboard.press("l")
    assert page.locator(".rgru-lens:visible").count() == 0


def test_play_runs_to_the_end_and_stops(page):
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert page.get_by_role("button", name="pause (Space)").count() == 1
    iteration(page, N)
    page.get_by_role("button", name="play (Space)").wait_for()


def test_play_is_slow_for_those_who_want_little_motion(visit, written):
    page = visit(written, reduced_motion="reduce")
    page.keyboard.press("Home")
    page.evaluate(
        "window.steps = 0; document.querySelector('.rgru').addEventListener('rgru-drawn', () => window.steps++)"
    )
    page.keyboard.press(" ")
    page.wait_for_timeout(1000)
    assert page.locator(".rgru").get_attribute("data-iteration") == "1"


def test_files_can_be_saved(page, progression, scrubber):
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    names = ["P[2].png", ".rgru", "JPEG"]
    rung = scrubber._ladders["jpeg"][scrubber.readings["bytes-jpeg"][1]["quality"]]
    from rgru_lab import images

    for name, check in zip(
        names,
        (
            lambda data: np.array_equal(images.load(data), progression[2].photo),
            lambda data: data == progression.file(2),
            lambda data: data == rung.data,
        ),
        strict=True,
    ):
        with page.expect_download() as download:
            page.locator(".rgru-saving").get_by_role("button").filter(
                has_text=re.compile(f"^{re.escape(name)}$")
            ).click()
        assert check(download.value.path().read_bytes())


def test_a_jpeg_of_any_kind_is_saved_as_jpg(visit, progression, tmp_path):
    Scrubber(progression, against=("jpeg-444",)).save_html(tmp_path / "page.html")
    page = visit(tmp_path / "page.html")
    with page.expect_download() as download:
        page.locator(".rgru-saving button").last.click()
    assert re.fullmatch(r"jpeg-444-\d+\.jpg", download.value.suggested_filename)


def test_a_picture_that_cannot_be_read_is_said_and_what_comes_before_it_is_shown(visit, scrubber, tmp_path):
    state = {name: getattr(scrubber, name) for name in Scrubber.class_own_traits(sync=True)} | {"answer": {}}
    state["frame_3"] = state["frame_3"][:40]
    (tmp_path / "page.html").write_text(page_module.page(state), encoding="utf-8")
    page = visit(tmp_path / "page.html")
    iteration(page, 2)
    assert page.locator(".rgru-status").is_visible()
    assert text(page, ".rgru-status").startswith("The browser cannot show a picture: ")
    assert "undefined" not in text(page, ".rgru-status")
    page.locator(".rgru-ticks b").nth(3).click()
    page.wait_for_timeout(60)
    assert page.locator(".rgru-wish").is_hidden()  # it will never come


def test_an_opponents_file_that_cannot_be_read_leaves_its_place_empty_and_ours_alone(visit, scrubber, tmp_path):
    state = {name: getattr(scrubber, name) for name in Scrubber.class_own_traits(sync=True)} | {"answer": {}}
    for i in range(1, N + 1):
        for match in ("bytes", "level"):
            state[f"{match}_{i}"] = dict.fromkeys(state[f"{match}_{i}"], b"no picture")
    (tmp_path / "page.html").write_text(page_module.page(state), encoding="utf-8")
    page = visit(tmp_path / "page.html")
    iteration(page, N)
    assert page.locator(".rgru-status").is_hidden()
    assert not page.locator(pane("X")).first.get_attribute("data-picture")


def test_an_empty_scrubber_takes_keys_and_shows_nothing(visit, tmp_path):
    empty = Scrubber()
    state = {name: getattr(empty, name) for name in Scrubber.class_own_traits(sync=True)}
    state["setup"] = {"weights": "none", "width": 1, "height": 1}
    html = page_module.page(state).replace('{"weights": "none", "width": 1, "height": 1}', "{}")
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = visit(tmp_path / "page.html", wait=".rgru")
    for key in ("d", "2", "End"):
        page.keyboard.press(key)
    assert page.locator(".rgru").get_attribute("data-view") == "split"


def test_a_browser_that_adds_noise_is_found_out_and_shows_no_wrong_picture(browser, written):
    page = browser.new_context().new_page()
    page.add_init_script(
        """const read = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...asked) {
            const image = read.apply(this, asked);
            for (let k = 0; k < image.data.length; k += 101) image.data[k] ^= 1;
            return image;
        };"""
    )
    page.goto(written.as_uri())
    page.wait_for_selector(READY, timeout=30_000)
    assert "changes what a page reads from a canvas" in text(page, ".rgru-status")
    assert page.locator(".rgru").get_attribute("data-iteration") == "0"
    page.context.close()


def test_after_a_click_on_a_number_or_a_chart_the_keys_are_still_ours(page):
    page.locator(".rgru-ticks b").nth(1).click()
    assert page.evaluate("document.activeElement.className") == "rgru-slider"
    page.evaluate("document.activeElement.blur()")
    page.locator(".rgru-chart svg").first.click()
    assert page.evaluate("document.activeElement.className") == "rgru-slider"


def test_the_text_stands_out_from_its_ground_whatever_the_host_calls_its_colours(visit, written):
    page = visit(written, color_scheme="dark")
    page.add_style_tag(content=":root { --jp-ui-font-color1: rgba(0, 0, 0, 0.8); --vscode-editor-foreground: #111; }")
    assert page.evaluate("getComputedStyle(document.querySelector('.rgru')).color") == "rgb(232, 234, 237)"


def test_the_live_region_speaks_once_after_the_slider_rests(page, progression):
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert text(page, ".rgru-live") == ""
    page.wait_for_function("document.querySelector('.rgru-live').textContent.startsWith('Iteration 2: ')")


def test_the_curves_have_a_dot_where_we_are(page, progression):
    places = []
    for key in ("Home", "End"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        dots = page.locator(".rgru-chart").nth(1).locator("circle.rgru-ours")
        places.append(float(dots.last.get_attribute("cx")))
    assert places[0] < places[1]
    label = page.locator(".rgru-chart svg").first.get_attribute("aria-label")
    assert label == f"mean |R[{N}]| = {progression[N].mean_abs_residual:.1f} levels"


def test_every_drawing_says_how_long_it_took(page):
    page.evaluate("document.querySelector('.rgru').addEventListener('rgru-drawn', (e) => { window.drawn = e.detail; })")
    page.keyboard.press("Home")
    page.wait_for_function("window.drawn?.iteration === 1 && window.drawn.ms >= 0")


# Predict first


@pytest.fixture(scope="module")
def guessing(tmp_path_factory, progression):
    def write(guess):
        path = tmp_path_factory.mktemp("guess") / "page.html"
        Scrubber(progression, against=("jpeg",), guess=guess).save_html(path)
        return path

    return write


def test_an_iteration_stays_locked_until_a_number_is_said(visit, guessing, progression):
    page = visit(guessing(Guess("ms_ssim", 3)))
    page.keyboard.press("End")
    iteration(page, 2)
    page.locator(".rgru-slider").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(60)
    assert page.locator(".rgru-slider").input_value() == "2"
    assert f"{progression[3].ms_ssim:.3f}" not in text(page, ".rgru")
    field = page.get_by_label("Predict first: which MS-SSIM will P[3] have?")
    field.focus()
    page.keyboard.type("0.5")
    page.keyboard.press("Enter")
    iteration(page, 3)
    off = abs(0.5 - progression[3].ms_ssim)
    direction = "too high" if progression[3].ms_ssim < 0.5 else "too low"
    verdict = f"You said 0.500. It is {progression[3].ms_ssim:.3f}: {off:.3f} {direction}."
    assert text(page, ".rgru-guess-result") == verdict
    assert page.locator(".rgru-dot.rgru-guessed").count() == 1
    page.keyboard.press("End")
    iteration(page, N)


@pytest.mark.parametrize(("guess", "number"), [(Guess("jpeg_bytes", N), "900000"), (Guess("ms_ssim", N), "0.9999")])
def test_a_guess_far_off_is_marked_at_the_edge_of_its_chart(visit, guessing, guess, number):
    page = visit(guessing(guess))
    page.get_by_role("spinbutton").fill(number)
    page.get_by_role("button", name="Lock it in").click()
    iteration(page, N)
    dot = page.locator(".rgru-dot.rgru-guessed").bounding_box()
    chart = page.locator(".rgru-chart svg").nth(1).bounding_box()
    assert chart["x"] <= dot["x"] <= dot["x"] + dot["width"] <= chart["x"] + chart["width"]
    assert chart["y"] <= dot["y"] <= dot["y"] + dot["height"] <= chart["y"] + chart["height"]
    assert "your guess: beyond this edge" in page.locator(".rgru-chart").nth(1).inner_text()


def test_an_ms_ssim_over_one_is_not_taken(visit, guessing):
    page = visit(guessing(Guess("ms_ssim", N)))
    page.get_by_role("spinbutton").fill("95")
    page.get_by_role("button", name="Lock it in").click()
    page.wait_for_timeout(60)
    assert page.locator(".rgru-guess-form").is_visible()


def test_a_question_can_be_skipped(visit, guessing):
    page = visit(guessing(Guess("jpeg_bytes", 1)))
    assert page.locator(".rgru").get_attribute("data-iteration") == "0"
    assert page.locator(".rgru-slider").is_disabled()
    page.get_by_role("button", name="Skip").click()
    iteration(page, 1)
    assert page.locator(".rgru-guess").is_hidden()


def test_bytes_that_jpeg_needs_are_compared_with_the_truth(visit, guessing, scrubber):
    page = visit(guessing(Guess("jpeg_bytes", N)))
    page.get_by_label(f"how many bytes does JPEG need for the quality of P[{N}]?").fill("1000")
    page.get_by_role("button", name="Lock it in").click()
    truth = scrubber.readings["level-jpeg"][N - 1]["size_bytes"]
    assert f"You said 1,000 bytes. It is {truth:,} bytes: " in text(page, ".rgru-guess-result")


# Everywhere


def test_a_photo_too_small_for_ms_ssim_is_matched_by_psnr_and_that_is_said(visit, weights, sample, tmp_path):
    progression = Progression(weights, sample("coffee", 40, 60))
    list(progression.run(2))
    Scrubber(progression).save_html(tmp_path / "small.html")
    page = visit(tmp_path / "small.html")
    page.get_by_role("button", name="same PSNR").click()
    assert "MS-SSIM needs sides of 161 px" in text(page, ".rgru-verdict")
    assert "PSNR over size" in text(page, ".rgru-chart:last-child .rgru-curve-title")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_no_serious_finding_of_axe_in_any_view(visit, guessing, written, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    for path, keys in ((written, ["?", "2", "d"]), (guessing(Guess("size_bytes", 3)), [])):
        page = visit(path, color_scheme=scheme, viewport={"width": width, "height": 900})
        assert page.locator(".rgru").get_attribute("data-theme") == scheme
        for key in ["", *keys]:
            if key:
                page.keyboard.press(key)
            found = Axe().run(page).response["violations"]
            serious = [f"{each['id']}: {each['nodes'][0]['html'][:90]}" for each in found if each["impact"] in GRAVE]
            assert serious == []


GRAVE = ("serious", "critical")


def test_a_narrow_screen_needs_no_sideways_scrolling(visit, written):
    page = visit(written, viewport={"width": 360, "height": 700})
    for key in ("0", "2", "d"):
        page.keyboard.press(key)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_fingers_pinch_and_split(visit, written):
    page = visit(written, has_touch=True, is_mobile=True, viewport={"width": 400, "height": 800})
    touch = page.context.new_cdp_session(page)
    box = page.locator(".rgru-pane-P .rgru-port").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind, *apart):
        points = [{"x": x + d, "y": y, "id": k} for k, d in enumerate(apart)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", -15, 15)
    for d in (25, 40, 60, 75):
        fingers("touchMove", -d, d)
    fingers("touchEnd")
    assert not text(page, ".rgru-zoom-label").startswith("Fit")
    scale = rectangle(page, "P")["width"] * page.evaluate("devicePixelRatio") / 208
    assert abs(scale - round(scale)) < 0.02


def test_a_tap_reads_a_pixel_that_stays(visit, written):
    page = visit(written, has_touch=True, is_mobile=True, viewport={"width": 400, "height": 800})
    assert text(page, ".rgru-probe").startswith("Tap a pixel")
    sheet = rectangle(page, "P")
    page.touchscreen.tap(sheet["x"] + 100.5 * sheet["width"] / 208, sheet["y"] + 50.5 * sheet["height"] / 168)
    probe(page, "x 100, y 50;")
    page.wait_for_timeout(100)
    probe(page, "x 100, y 50;")
    page.keyboard.press("l")
    assert page.locator(".rgru-lens:visible").count() == 4
    box = page.locator(".rgru-play").bounding_box()
    assert box["width"] == box["height"] >= 44


PHONE = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2, "viewport": {"width": 390, "height": 844}}


def test_on_a_phone_full_screen_scrolls_and_nothing_lies_over_anything(visit, written):
    page = visit(written, **PHONE)
    for key in ("2", "f"):
        page.keyboard.press(key)
    page.wait_for_selector(".rgru:fullscreen")
    page.wait_for_timeout(100)
    parts = page.evaluate(
        """() => [...document.querySelector('.rgru').children].filter((e) => e.offsetHeight > 1)
            .map((e) => [e.offsetTop, e.offsetTop + e.scrollHeight])"""
    )
    ends = [end for _, end in sorted(parts)]
    assert all(end <= start for end, (start, _) in zip(ends, sorted(parts)[1:], strict=False))
    assert page.evaluate("(([e]) => e.scrollHeight > e.clientHeight)(document.getElementsByClassName('rgru'))")


def test_on_a_phone_numbers_keep_apart_and_both_ends_of_the_slider_have_a_button(visit, sixteen):
    page = visit(sixteen, **PHONE)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.rgru-ticks b')].filter((e) => e.offsetWidth)
            .map((e) => [e.textContent, e.getBoundingClientRect().left, e.getBoundingClientRect().right])"""
    )
    assert [number for number, *_ in boxes][:: len(boxes) - 1] == ["1", "16"]
    assert len(boxes) >= 5
    assert all(right + 3 <= left for (_, _, right), (_, left, _) in pairwise(boxes))
    page.keyboard.press("Home")
    for name, i in (("on", 2), ("on", 3), ("back", 2)):
        page.get_by_role("button", name=f"one iteration {name}").tap()
        iteration(page, i)
    assert text(page, ".rgru-counter") == "iteration 2 of 16"
    assert page.locator(".rgru-slider").bounding_box()["width"] > 0.6 * 390


def test_of_many_iterations_it_rests_at_the_fourth(visit, sixteen):
    page = visit(sixteen)
    iteration(page, 4)
    assert page.locator(".rgru-slider").input_value() == "4"


@pytest.fixture
def filling(visit, sixteen):
    """The page as it looks to a notebook whose kernel is still at work: fill(page, i) brings P[1] to P[i]."""
    page = visit(sixteen)
    page.evaluate(
        """async () => {
            const state = JSON.parse(document.getElementById('state').textContent), heard = {};
            const bytes = (base64) => new DataView(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
            const frames = Object.keys(state).filter((name) => name.startsWith('frame_'));
            const files = Object.fromEntries(frames.map((name) => [name, bytes(state[name].base64)]));
            const there = {
                ...state, ...Object.fromEntries(frames.map((name) => [name, new DataView(new ArrayBuffer(0))])),
                original: bytes(state.original.base64), colours: bytes(state.colours.base64), file: null,
                progress: { share: 0.1, text: '', failed: false }, readings: {},
            };
            for (let i = 1; i <= 16; i++) there[`bytes_${i}`] = there[`level_${i}`] = {};
            const model = {
                get: (name) => there[name], set() {}, save_changes() {}, off() {},
                on: (name, act) => { heard[name] = act; },
            };
            window.renew = (iterations) => { // the same photo, other weights; frame_1 is the photo itself then
                for (const name of frames) there[name] = new DataView(new ArrayBuffer(0));
                there.setup = { ...there.setup, run: 2, iterations };
                files.frame_1 = there.original;
                heard['change:setup']();
            };
            window.finish = () => {
                there.progress = { share: 1, text: '', failed: false };
                heard['change:progress']();
            };
            window.arrive = (i) => {
                there[`frame_${i}`] = files[`frame_${i}`];
                heard[`change:frame_${i}`]();
            };
            const text = document.getElementById('code').textContent;
            const code = await import(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })));
            const el = document.createElement('div');
            document.getElementById('scrubber').replaceWith(el);
            code.default.render({ model, el });
        }"""
    )
    page.come = 0

    def fill(i):
        while page.come < i:
            page.come += 1
            page.evaluate("window.arrive", page.come)
        come = "(i) => document.querySelectorAll('.rgru-ticks :not(.rgru-not-yet) > b').length === i"
        page.wait_for_function(come, arg=i)

    page.fill_to = fill
    return page


def test_while_it_fills_the_slider_goes_along_to_the_fourth_and_stays(filling):
    for come, shown in ((2, 2), (4, 4), (7, 4)):
        filling.fill_to(come)
        iteration(filling, shown)


def test_a_click_on_an_iteration_still_to_come_waits_for_it(filling):
    filling.fill_to(2)
    filling.locator(".rgru-ticks b").nth(5).click()
    filling.wait_for_selector(".rgru-wish:visible")
    middle = "(q) => ((r) => r.x + r.width / 2)(document.querySelector(q).getBoundingClientRect())"
    assert abs(filling.evaluate(middle, ".rgru-wish") - filling.evaluate(middle, ".rgru-ticks :nth-child(6) b")) <= 1
    assert filling.locator(".rgru").get_attribute("data-iteration") == "2"
    filling.fill_to(5)
    assert filling.locator(".rgru-wish").is_visible()
    filling.fill_to(8)
    iteration(filling, 6)
    assert filling.locator(".rgru-wish").is_hidden()
    filling.locator(".rgru-ticks b").nth(11).click()
    filling.wait_for_selector(".rgru-wish:visible")
    filling.locator(".rgru-ticks b").nth(0).click()  # changed their mind
    filling.fill_to(12)
    iteration(filling, 1)


def test_other_weights_for_the_same_photo_leave_nothing_of_the_first(filling, pixels):
    filling.fill_to(4)
    iteration(filling, 4)
    filling.evaluate("window.renew", 3)
    filling.come = 0
    iteration(filling, 0)
    assert text(filling, ".rgru-counter").startswith("iteration –")
    filling.fill_to(1)
    iteration(filling, 1)
    assert text(filling, ".rgru-counter").startswith("iteration 1 of 3")
    filling.wait_for_selector(f'{pane("R")}[data-picture="I|P1|signed|1"]')
    assert np.ptp(pixels(filling, pane("R"))[..., :3].reshape(-1, 3), axis=0).max() == 0  # nothing is missing


def test_the_end_of_the_work_is_spoken_once_and_the_steps_before_are_not(filling):
    filling.evaluate(
        """() => {
            window.spoken = [];
            for (const node of document.querySelectorAll('.rgru [aria-live], .rgru [role=status]')) {
                const heard = () => window.spoken.push(node.textContent);
                new MutationObserver(heard).observe(node, { childList: true, characterData: true, subtree: true });
            }
        }"""
    )
    filling.fill_to(2)
    filling.evaluate("window.finish()")
    filling.evaluate("window.finish()")
    filling.wait_for_timeout(900)  # a rest is announced after 700 ms
    assert filling.evaluate("window.spoken") == ["All pictures and readings are here."]


def test_the_slider_is_filled_to_the_thumb_and_paler_to_what_is_there(filling):
    filling.fill_to(11)
    iteration(filling, 4)
    filling.mouse.move(5, 5)
    box = filling.locator(".rgru-slider").bounding_box()
    picture = Image.open(io.BytesIO(filling.screenshot(clip=box))).convert("RGB")

    def colour(i):
        return picture.getpixel((int(11 + (box["width"] - 22) * (i - 1) / 15), int(box["height"] / 2)))

    done, loaded, rest = (sum(colour(i)) for i in (2.5, 8, 13))
    assert done + 60 < loaded < rest - 60
    assert abs(sum(colour(10.7)) - loaded) < 10
    assert abs(sum(colour(11.3)) - rest) < 10


def test_another_view_keeps_the_place_that_was_zoomed_into(page):
    sheet = rectangle(page, "P")
    x, y = 202, 6  # near a corner, where a wide view cannot put it in its middle
    place = sheet["x"] + (x + 0.5) * sheet["width"] / 208, sheet["y"] + (y + 0.5) * sheet["height"] / 168
    page.mouse.move(*place)
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    for name, role in (("Split", "split"), ("Side by side", "P"), ("Difference", "difference"), ("Side by side", "P")):
        page.get_by_role("button", name=name, exact=True).click()
        port, sheet = page.locator(f".rgru-pane-{role} .rgru-port").bounding_box(), rectangle(page, role)
        assert port["x"] <= sheet["x"] + (x + 0.5) * sheet["width"] / 208 <= port["x"] + port["width"]
        assert port["y"] <= sheet["y"] + (y + 0.5) * sheet["height"] / 168 <= port["y"] + port["height"]


def test_a_drag_keeps_its_place_in_a_view_that_cannot_show_as_much_beyond_it(page):
    page.locator(".rgru-stage").focus()
    for _ in range(4):
        page.keyboard.press("+")
    box = page.locator(".rgru-pane-I .rgru-port").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 900, box["y"] + 100, steps=4)  # far beyond the left edge, which stops
    page.mouse.up()
    before = rectangle(page, "P")
    assert abs(before["x"] - page.locator(".rgru-pane-P .rgru-port").bounding_box()["x"]) <= 1
    for name in ("Split", "Side by side"):
        page.get_by_role("button", name=name, exact=True).click()
    assert rectangle(page, "P") == before


def test_a_clicked_pixel_stays_and_its_values_follow_the_slider(page, progression):
    sheet = rectangle(page, "P")

    def pixel(x, y):
        return sheet["x"] + (x + 0.5) * sheet["width"] / 208, sheet["y"] + (y + 0.5) * sheet["height"] / 168

    page.mouse.click(*pixel(100, 50))
    page.mouse.move(*pixel(20, 30))
    box = page.locator(".rgru-ticks b").first.bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + 5)
    iteration(page, 1)
    probe(page, "x 100, y 50;")
    assert f"P[1] {' '.join(map(str, progression[1].photo[50, 100]))}" in text(page, ".rgru-probe")
    assert "pinned: Esc" in text(page, ".rgru-probe")
    page.keyboard.press("Escape")
    probe(page, "Point at")
    for _ in range(2):
        page.mouse.click(*pixel(100, 50))
    page.mouse.move(*pixel(20, 30))
    probe(page, "x 20, y 30;")


def test_a_drag_pins_nothing_and_a_click_moves_no_handle(page):
    page.keyboard.press("2")
    box = page.locator(".rgru-pane-split .rgru-port").bounding_box()
    x, y = box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"]
    handle = page.get_by_role("slider", name="split")
    page.mouse.click(x, y)
    assert handle.get_attribute("aria-valuenow") == "50"
    page.keyboard.press("Escape")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=3)
    page.mouse.up()
    assert int(handle.get_attribute("aria-valuenow")) < 40
    page.mouse.move(5, 5)
    probe(page, "Point at")


def test_how_to_zoom_with_the_wheel_is_said_while_one_points_at_a_pixel(page):
    box = page.locator(".rgru-pane-P .rgru-port").bounding_box()
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*place)
    probe(page, "x ")
    assert text(page, ".rgru-probe").endswith("Ctrl + wheel zooms")
    page.mouse.click(*place)
    page.wait_for_function("document.querySelector('.rgru-probe').innerText.endsWith('the wheel zooms')")
    page.mouse.wheel(0, -100)
    page.wait_for_function("!document.querySelector('.rgru-zoom-label').textContent.startsWith('Fit')")
    page.locator(".rgru-slider").focus()
    before = text(page, ".rgru-zoom-label")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert text(page, ".rgru-zoom-label") != before


def test_fit_uses_the_height_that_is_free_below_the_controls(visit, written):
    page = visit(written, viewport={"width": 1400, "height": 740})
    for key in ("2", "f"):
        page.keyboard.press(key)
        page.wait_for_timeout(150)
        assert text(page, ".rgru-zoom-label") == "Fit 300 %"  # 3 * 168 px and 180 px of controls
        sheet, controls = rectangle(page, "split"), page.locator(".rgru-toolbar").bounding_box()
        assert sheet["y"] + sheet["height"] - controls["y"] <= 740


@pytest.mark.parametrize("zooms", [0, 3])
def test_names_stand_in_the_corners_of_the_picture(page, zooms):
    page.set_viewport_size({"width": 1400, "height": 700})
    for key in ("2", *["+"] * zooms):
        page.keyboard.press(key)
    page.wait_for_timeout(150)
    port, sheet = page.locator(".rgru-pane-split .rgru-port").bounding_box(), rectangle(page, "split")
    first, second = (name.bounding_box() for name in page.locator(".rgru-name").all())
    left, top = max(port["x"], sheet["x"]), max(port["y"], sheet["y"])
    right = min(port["x"] + port["width"], sheet["x"] + sheet["width"])
    assert [first["x"] - left, right - second["x"] - second["width"]] == pytest.approx([8, 8], abs=1)
    assert [first["y"] - top, second["y"] - top] == pytest.approx([8, 8], abs=1)
    assert first["x"] + first["width"] <= second["x"]


def test_a_click_into_a_chart_goes_to_the_nearest_point(page):
    for chart in page.locator(".rgru-chart").all():
        chart.scroll_into_view_if_needed()
        points = chart.locator("polyline.rgru-ours").get_attribute("points").split()
        box = chart.locator("svg").bounding_box()
        for i in (1, 3):
            x, y = map(float, points[i - 1].split(",")[:2])
            page.mouse.click(box["x"] + x + 2, box["y"] + y - 2)
            iteration(page, i)


def test_the_axis_of_ms_ssim_parts_what_is_good_and_its_labels_are_true(page, progression, scrubber):
    chart = page.locator(".rgru-chart").nth(1)
    labels = chart.locator("text[text-anchor=end]").evaluate_all(
        "(all) => all.map((e) => [Number(e.textContent), Number(e.getAttribute('y')) - 3.5])"
    )
    marks, heights = zip(*labels, strict=True)
    page.keyboard.press("End")
    iteration(page, N)
    theirs = scrubber.readings["bytes-jpeg"][N - 1]["ms_ssim"]
    for side, colour in ((progression[N].ms_ssim, "ours"), (theirs, "rival-0")):
        dot = float(chart.locator(f"g:last-child circle.rgru-{colour}").get_attribute("cy"))
        told = np.interp(-dot, [-height for height in heights], [-np.log(1 - mark) for mark in marks])
        assert 1 - np.exp(-told) == pytest.approx(side, abs=1e-3)
    assert marks == tuple(sorted(marks))
    radii = [float(dot.get_attribute("r")) for dot in chart.locator("g:last-child circle").all()]
    assert radii == sorted(radii, reverse=True)  # the later ones lie on top, and hide nothing
    assert radii[0] > radii[1]
    assert chart.locator("polyline").first.get_attribute("class").endswith("rgru-ours")


def test_help_begins_with_fingers_where_there_are_some_and_explains_the_words(visit, written):
    page = visit(written, **PHONE)
    page.get_by_role("button", name="keys and hints").tap()
    rows = page.locator(".rgru-help dt").all_inner_texts()
    assert rows[0] == "Fingers"
    assert {"I, P[i], R[i]", "saved vs raw", "largest", ".rgru"} <= set(rows)
    assert rows.index("Home, End") > rows.index(".rgru")


def test_a_second_finger_does_not_move_the_handle(visit, written):
    page = visit(written, **PHONE)
    page.keyboard.press("2")
    touch, handle = page.context.new_cdp_session(page), page.get_by_role("slider", name="split")
    box = handle.bounding_box()
    first = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 30, "id": 0}
    seconds = [{"x": first["x"] + d, "y": first["y"] + 30, "id": 1} for d in (70, 90, 110)]
    for kind, points in [("touchStart", [first]), ("touchStart", [first, seconds[0]])] + [
        ("touchMove", [first, second]) for second in seconds
    ]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert abs(int(handle.get_attribute("aria-valuenow")) - 50) <= 1


def test_largest_and_the_slider_keep_their_places(page):
    places = "(q) => [...document.querySelectorAll(q)].map((e) => [e.offsetLeft, e.offsetWidth])"
    seen = []
    for colours, key in (("± colours", "Home"), ("grey", "End")):
        page.get_by_role("button", name=colours).click()
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        seen.append(page.evaluate(places, ".rgru-options button, .rgru-slider"))
    assert seen[0] == seen[1]
