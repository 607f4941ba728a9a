"""Notebook 00 used as a person uses it: JupyterLab in Chromium, the slider moved, the photo changed, one uploaded."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from rgru_lab import images
from rgru_lab.viewer import latency

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "00_start_here.ipynb"
READ = """() => /MS-SSIM/.test(document.querySelector('.rgru-pane-P .rgru-text')?.textContent)
    && /MS-SSIM/.test(document.querySelector('.rgru-pane-X .rgru-text').textContent)
    && document.querySelector('.rgru').dataset.ready === 'true'"""  # all pictures, and their readings
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """Address of a JupyterLab on a copy of notebook 00 (the page saves itself)."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, folder / "notebooks")
    shutil.copytree(NOTEBOOK.parent.parent / "data" / "results", folder / "data" / "results")
    shutil.copytree(NOTEBOOK.parent.parent / "data" / "figures", folder / "data" / "figures")
    with latency.jupyterlab(folder) as address:
        yield address.format(f"notebooks/{NOTEBOOK.name}")


@pytest.fixture(scope="module")
def page(browser, lab):
    """The notebook, run from top to bottom, with all readings there."""
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(f"{error} {error.stack}"))
    page.goto(lab)
    page.wait_for_selector("text=/\\| Idle/", timeout=PATIENCE_MS)
    page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_function(READ, timeout=PATIENCE_MS)
    yield page
    page.close()


def panel(page, role):
    return page.locator(f".rgru-pane-{role} .rgru-text").inner_text()


def pane(role):
    return f".rgru-pane-{role} canvas"


def shot(page, name):
    if folder := os.environ.get("RGRU_LAB_SHOTS"):
        page.locator(".rgru").scroll_into_view_if_needed()
        page.screenshot(path=f"{folder}/{name}.png")


def upload(page, path):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="your own photo").click()
    chooser.value.set_files(path)


def set_iteration(page, i):
    page.locator(".rgru-slider").focus()
    page.keyboard.press("Home")
    for k in range(1, i + 1):
        page.wait_for_selector(f'.rgru[data-iteration="{k}"]')
        if k < i:
            page.keyboard.press("ArrowRight")
    page.wait_for_timeout(60)  # what came within one frame is drawn at the next


def cells(page):
    """Number of cells, their types, and which one is active."""
    return page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            return [content.widgets.map((cell) => cell.model.type), content.activeCellIndex];
        }"""
    )


def test_the_slider_changes_pictures_and_readings_and_the_residual_fades(page, pixels):
    seen = {}
    for i in (1, 4):
        set_iteration(page, i)
        shot(page, f"iteration-{i}")
        fading = float(panel(page, "R").split()[2])
        seen[i] = (panel(page, "P"), panel(page, "X"), fading, pixels(page, pane("P")))
    assert all("…" not in text for text in (*seen[1][:2], *seen[4][:2]))
    assert seen[1][0] != seen[4][0]
    assert seen[4][2] < seen[1][2]
    assert (seen[1][3] != seen[4][3]).any()


def test_the_browsers_residual_is_what_matplotlib_would_draw(page, pixels):
    import matplotlib

    from rgru_lab import plots

    set_iteration(page, 2)
    residual = pixels(page, pane("I"))[..., :3].astype(int) - pixels(page, pane("P"))[..., :3]
    colours = matplotlib.colormaps[plots.RESIDUAL_COLOURS]
    expected = colours((plots.residual_map(residual) + 1) / 2, bytes=True)[..., :3].astype(int)
    assert np.abs(pixels(page, pane("R"))[..., :3] - expected).max() <= 6  # 255 colours there, 256 here


def test_keys_in_the_scrubber_do_nothing_to_the_cells(page):
    set_iteration(page, 2)
    before = cells(page)
    for place in (".rgru-slider", ".rgru-stage", ".rgru-zoom-label"):
        page.locator(place).focus()
        for key in ("ArrowDown", "ArrowUp", "j", "k", "d", "d", "1", "2", "m", "y", "x", "a", "b", "0", "0", "z"):
            page.keyboard.press(key)
    page.get_by_role("button", name="Side by side").click()
    assert cells(page) == before


def test_keys_outside_the_scrubber_are_the_notebooks(page):
    set_iteration(page, 2)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activate()")
    page.wait_for_function("!document.querySelector('.rgru').contains(document.activeElement)")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.activeCellIndex < 2")
    assert page.locator(".rgru").get_attribute("data-iteration") == "2"


def test_another_sample_takes_the_place_of_the_first(page):
    before = panel(page, "I")
    page.get_by_label("photograph").select_option("coffee")
    page.wait_for_function("document.querySelector('.rgru-pane-I .rgru-text').textContent == '600 × 400 px'")
    page.wait_for_function(READ, timeout=PATIENCE_MS)
    shot(page, "coffee")
    assert panel(page, "I") == "600 × 400 px" != before


def test_an_uploaded_photo_of_odd_size_goes_through(page, pixels, tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (9, 11, 3), np.uint8).repeat(23, 0).repeat(19, 1)
    images.save_png(photo, tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    page.wait_for_function("document.querySelector('.rgru-pane-I .rgru-text').textContent == '209 × 207 px'")
    page.wait_for_function(READ, timeout=PATIENCE_MS)
    shot(page, "upload")
    assert (pixels(page, pane("I"))[..., :3] == photo).all()
    assert "MS-SSIM 0." in panel(page, "P")


def test_a_file_that_is_no_picture_is_answered_in_words(page, tmp_path):
    (tmp_path / "letter.png").write_text("Dear network,", encoding="utf-8")
    upload(page, tmp_path / "letter.png")
    page.wait_for_selector("text=not a picture", timeout=PATIENCE_MS)
    shot(page, "no-picture")


def test_the_dark_theme_is_noticed(page):
    assert page.locator(".rgru").get_attribute("data-theme") == "light"
    themes = "(name) => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })"
    page.evaluate(themes, "JupyterLab Dark")
    page.wait_for_selector(".rgru[data-theme=dark]")
    shot(page, "dark")
    page.evaluate(themes, "JupyterLab Light")
    page.wait_for_selector(".rgru[data-theme=light]")


def test_without_a_kernel_the_slider_goes_on(page, pixels):
    set_iteration(page, 1)
    before = pixels(page, pane("P"))
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.wait_for_selector("text=/\\| No Kernel|\\| Unknown|\\| Dead|\\| Terminating/", timeout=PATIENCE_MS)
    set_iteration(page, 3)
    assert (pixels(page, pane("P")) != before).any()
    assert panel(page, "P") != "…"


def ours(errors):
    """Errors of the widget: anywidget loads its code from a blob. JupyterLab's own are not for us to mend."""
    return [error for error in errors if "blob:" in error]


def test_no_script_of_the_widget_failed(page):
    assert ours(page.errors) == []
    page.evaluate(
        """() => import(URL.createObjectURL(
            new Blob(["setTimeout(() => { throw new Error('mine') })"], { type: "text/javascript" })))"""
    )
    page.wait_for_timeout(500)
    assert len(ours(page.errors)) == 1  # it would have been noticed
