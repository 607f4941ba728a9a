"""How fast the scrubber answers in a real browser, beside a slider that redraws matplotlib; and how much it sends.

Timing needs playwright and Chromium, which the kit itself does not. All is drawn in software, as on a laptop without
GPU.
"""

import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from rgru_lab import images, photos
from rgru_lab.bench import short
from rgru_lab.config import InputError
from rgru_lab.model import Weights
from rgru_lab.progression import Progression
from rgru_lab.viewer.scrubber import Scrubber

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PATIENCE_MS = 180_000
SIZE = (768, 512)
"""Width and height of the photograph, those of Kodak's."""

SMALL = (512, 384)
"""Width and height of the photograph for the page whose size is told."""

ITERATIONS = 16
MOVES = 120
"""How often the slider is moved."""

FRAME_MS = 1000 / 60

WATCH = """
(selector) => {
  const el = document.querySelector(selector);
  window.drawn = [];
  window.shown = [];
  el.addEventListener("rgru-drawn", (event) => window.drawn.push(event.detail.ms));
  el.addEventListener("input", (event) => {
    const begun = event.timeStamp;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.shown.push(performance.now() - begun);
      channel.port2.postMessage(0);
    });
  }, true);
}
"""
"""Notes for each move how long the handler drew, and how long after the input the frame was presented."""

WATCH_OUTPUT = """
() => {
  const area = document.querySelector(".jp-OutputArea");
  const picture = () => [...area.querySelectorAll("img")].pop()?.src;
  window.shown = [];
  let begun = null, before = null;
  area.addEventListener("keydown", (event) => { begun = event.timeStamp; before = picture(); }, true);
  new MutationObserver(() => {
    const image = [...area.querySelectorAll("img")].pop();
    if (begun === null || !image || image.src === before) return;
    const from = begun;
    begun = null;
    image.decode().then(() => window.shown.push(performance.now() - from));
  }).observe(area, { childList: true, subtree: true, attributes: true });
}
"""
"""The same for a slider whose picture the kernel makes: until another picture than before is there."""

MATPLOTLIB = """\
import matplotlib.pyplot as plt, numpy as np, ipywidgets
from PIL import Image
frames = [np.asarray(Image.open(f"frame-{i}.png")) for i in range(COUNT)]
def show(i):
    figure, axes = plt.subplots(1, 3, figsize=(12, 3))
    for panel, picture in zip(axes, (frames[0], frames[i], frames[0] // 2 - frames[i] // 2 + 128)):
        panel.imshow(picture)
    plt.show()
ipywidgets.interact(show, i=ipywidgets.IntSlider(min=0, max=COUNT - 1))"""

SCRUBBER = """\
from rgru_lab import images, model
from rgru_lab.progression import Progression
from rgru_lab.viewer import Scrubber
weights, photo = model.load("MODEL"), images.load("photo.png")
---
Scrubber(Progression(weights, photo), iterations=COUNT)"""
"""The cells of the notebook with a scrubber; the second one is timed."""


SHOWN = {
    "the original": ".rgru-pane-I canvas[data-picture=I]",
    "first visible frame": ".rgru[data-iteration]:not([data-iteration='0'])",
}
"""What appears after a cell was run, in this order, and how it is known."""


def chromium() -> str:
    """Path of a Chromium or Chrome.

    Raises:
        InputError: none is installed.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise InputError("Chromium is not installed; on Debian and Ubuntu: apt-get install chromium")
    return found


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab on a folder; yields its address with `{}` in the place of a notebook's path."""
    settings = folder / "settings"
    settings.mkdir()
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings / "overrides.json").write_text(json.dumps(quiet))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.expose_app_in_browser=True", f"--LabApp.app_settings_dir={settings}"]
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder)}
        server = subprocess.Popen([*command, f"--ServerApp.root_dir={folder}"], stdout=log, stderr=log, env=environment)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/api/status?token={token}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_up(url: str, server: subprocess.Popen):
    for _ in range(240):
        try:
            return urllib.request.urlopen(url, timeout=2)
        except OSError:
            if server.poll() is not None:
                raise InputError("JupyterLab ended at once; does `jupyter lab` start in a terminal?") from None
            time.sleep(0.25)
    raise InputError("JupyterLab did not start within a minute; try again while the machine is idle")


def run_all(page, url: str):
    """Open a notebook and run it from top to bottom."""
    page.goto(url)
    page.wait_for_selector("text=/\\| Idle/", timeout=PATIENCE_MS)
    page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def report(weights: Weights, folder: Path) -> Iterator[tuple[str, object]]:
    """Measure one quantity after the other; yields (what, value) as it goes, names with their units.

    Args:
        weights: from `model.load`.
        folder: an empty one, for the page and the notebooks.
    """
    from PIL import Image
    from playwright.sync_api import sync_playwright

    load = [short(processes) for processes in psutil.getloadavg()]
    yield "load at the start, processes over 1, 5 and 15 minutes", load
    photo = np.asarray(Image.fromarray(photos.sample("coffee")).resize(SIZE, Image.Resampling.LANCZOS))
    scrubber = Scrubber(Progression(weights, photo), iterations=ITERATIONS)
    scrubber.save_html(folder / "page.html")
    yield "size of the photograph, px", f"{photo.shape[1]} x {photo.shape[0]}"
    yield "iterations", ITERATIONS
    yield "payload, MB", short(payload_bytes(scrubber) / 1e6)
    yield "page, MB", short((folder / "page.html").stat().st_size / 1e6)
    images.save_png(photo, folder / "photo.png")
    frames = [photo, *(ours.photo for ours in scrubber.progression.decoded)]
    for i, frame in enumerate(frames):
        images.save_png(frame, folder / f"frame-{i}.png")
    cell = SCRUBBER.replace("MODEL", weights.path.resolve().as_posix()).replace("COUNT", str(ITERATIONS))
    _notebook(folder / "scrubber.ipynb", cell)
    _notebook(folder / "matplotlib.ipynb", MATPLOTLIB.replace("COUNT", str(len(frames))))

    with sync_playwright() as playwright, jupyterlab(folder) as lab:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.goto((folder / "page.html").as_uri())
        page.wait_for_selector('[data-ready="true"]', timeout=PATIENCE_MS)
        yield "panes", page.locator(".rgru-port:visible").count()
        drawn, shown = _move(page, page.locator("input[type=range]").first)
        yield from _timings("page: input handler to last draw call, ms", drawn)
        yield from _timings("page: input to next presented frame, ms", shown)
        yield "page: input to next presented frame, p95 in frames of 1/60 s", short(_p95(shown) / FRAME_MS)

        page.goto(lab.format("scrubber.ipynb"))
        page.wait_for_selector("text=/\\| Idle/", timeout=PATIENCE_MS)
        _run_cell(page)
        page.wait_for_selector(".jp-InputPrompt >> text=[1]:", timeout=PATIENCE_MS)
        begun = time.perf_counter()
        _run_cell(page)
        for what, selector in SHOWN.items():
            page.wait_for_selector(selector, timeout=PATIENCE_MS)
            yield f"JupyterLab: cell start to {what}, s", short(time.perf_counter() - begun)
        page.wait_for_selector('.rgru[data-ready="true"]', timeout=PATIENCE_MS)
        drawn, shown = _move(page, page.locator(".rgru input[type=range]").first)
        yield from _timings("JupyterLab: input handler to last draw call, ms", drawn)
        yield from _timings("JupyterLab: input to next presented frame, ms", shown)

        run_all(page, lab.format("matplotlib.ipynb"))
        page.wait_for_selector(".jp-OutputArea img", timeout=PATIENCE_MS)
        yield from _timings("JupyterLab: ipywidgets slider with matplotlib, key to new picture, ms", _matplotlib(page))
        browser.close()


def sizes(weights: Weights, paths: Sequence[Path], folder: Path) -> Iterator[tuple[str, object]]:
    """What the scrubber sends for photographs, all iterations and opponents of it, and how large a page it makes.

    Args:
        weights: from `model.load`.
        paths: the photographs.
        folder: an empty one, for the page.

    Yields:
        (what, value) as `report` does; one for each photograph, then what follows from all.
    """
    yield "iterations", ITERATIONS
    payloads = []
    for path in paths:
        scrubber = Scrubber(Progression(weights, images.load(path)), iterations=ITERATIONS)
        scrubber.wait()
        payloads.append(payload_bytes(scrubber) / 1e6)
        yield f"payload of {path.name}, MB", short(payloads[-1])
    yield f"payload, MB, median of {len(payloads)}", short(statistics.median(payloads))
    yield "payload, MB, largest", short(max(payloads))
    photo = photos.sample("astronaut")[: SMALL[1], : SMALL[0]]
    Scrubber(Progression(weights, photo), iterations=ITERATIONS).save_html(folder / "page.html")
    yield f"page of {SMALL[0]} x {SMALL[1]} px, MB", short((folder / "page.html").stat().st_size / 1e6)


def _run_cell(page):
    page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-cell-and-select-next') }")


def payload_bytes(scrubber: Scrubber) -> int:
    """What a scrubber that is done has sent to the browser: pictures, opponents' files, readings."""
    total = 0
    for name in scrubber.traits(sync=True):
        value = getattr(scrubber, name)
        if isinstance(value, bytes):
            total += len(value)
        elif isinstance(value, dict):
            files = {key: part for key, part in value.items() if isinstance(part, bytes)}
            rest = {key: part for key, part in value.items() if key not in files}
            total += sum(map(len, files.values())) + len(json.dumps(rest))
    return total


def _move(page, slider) -> tuple[list[float], list[float]]:
    """Move a scrubber's slider to and fro by keyboard; what each move took, twice (see WATCH)."""
    page.evaluate(WATCH, ".rgru")
    slider.focus()
    page.keyboard.press("Home")
    for move in range(MOVES):
        page.keyboard.press("ArrowRight" if move // (ITERATIONS - 1) % 2 == 0 else "ArrowLeft")
        page.wait_for_timeout(30)
    page.wait_for_timeout(200)
    return page.evaluate("window.drawn"), page.evaluate("window.shown")


def _matplotlib(page) -> list[float]:
    page.evaluate(WATCH_OUTPUT)
    page.locator(".jp-OutputArea [role=slider], .jp-OutputArea .noUi-handle").first.focus()
    for move in range(24):
        page.keyboard.press("ArrowRight" if move // ITERATIONS % 2 == 0 else "ArrowLeft")
        page.wait_for_function(f"window.shown.length > {move}", timeout=PATIENCE_MS)
        page.wait_for_timeout(50)
    return page.evaluate("window.shown")[2:]  # the first ones load what the later ones have


def _notebook(path: Path, source: str):
    import nbformat

    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in source.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def _timings(what: str, values: list[float]) -> Iterator[tuple[str, float]]:
    yield f"{what}, median of {len(values)}", short(statistics.median(values))
    yield f"{what}, p95", short(_p95(values))


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * (len(values) - 1)))]
