"""The slider of the notebooks: P[i], R[i] and JPEG for every iteration, and a bar to choose the photograph with.

`Scrubber` shows; `Explorer` stands around it and computes, in the background, so that what is there already can be
scrubbed. Both work with ipywidgets 7 and 8.
"""

import html
import math
import threading
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

from rgru_lab import images, model, photos, plots
from rgru_lab.codec import check_iterations
from rgru_lab.config import DEFAULT_MODEL, MAX_ITERATIONS
from rgru_lab.opponents import JpegLadder
from rgru_lab.progression import Decoded, Progression

EXPLORER_PIXELS = 400_000
"""Larger photographs are scaled down to this in a notebook, to stay under the 1 GB that Binder gives a kernel: one of
this size, all noise, was measured at 0.74 GB."""

UPLOAD_BYTES = 9_000_000
"""Largest file to upload: Jupyter's connection to the kernel carries 10 MiB at a time."""


class Scrubber(anywidget.AnyWidget):
    """A slider over iterations with four pictures: P[i], the JPEG of the same bytes, I, and R[i].

    Pictures go to the browser once and are kept there, so moving the slider needs no kernel. Fill it with `begin`,
    `add` and `add_jpeg` in any thread.
    """

    _esm = Path(__file__).parent / "scrubber.js"
    _css = Path(__file__).parent / "scrubber.css"

    slots = traitlets.Int(MAX_ITERATIONS).tag(sync=True)
    original = traitlets.Bytes().tag(sync=True)
    for _i in range(1, MAX_ITERATIONS + 1):  # one trait each, so that a new frame does not send the old ones again
        vars()[f"p_{_i}"] = traitlets.Bytes().tag(sync=True)
        vars()[f"jpeg_{_i}"] = traitlets.Bytes().tag(sync=True)
    readings = traitlets.Dict({"ours": [], "jpeg": []}).tag(sync=True)
    progress = traitlets.Dict({"share": 0.0, "text": ""}).tag(sync=True)
    colours = traitlets.Bytes().tag(sync=True)
    scale = traitlets.Int(plots.RESIDUAL_SCALE).tag(sync=True)

    def __init__(self):
        super().__init__(colours=plots.residual_colours())

    def begin(self, photo: np.ndarray):
        """Forget what was there and show the original (H, W, 3) uint8."""
        self.readings = {"ours": [], "jpeg": []}
        self.original = b""
        for i in range(1, MAX_ITERATIONS + 1):
            self.set_trait(f"p_{i}", b"")
            self.set_trait(f"jpeg_{i}", b"")
        self.original = images.encode_png(photo)

    def add(self, i: int, decoded: Decoded):
        """Show P[i]; its PSNR and MS-SSIM come later, with `read`."""
        self.set_trait(f"p_{i}", images.encode_png(decoded.photo))
        self._put("ours", i, _sizes(decoded) | {"mean_abs_residual": decoded.mean_abs_residual})

    def add_jpeg(self, i: int, rival: Decoded, fits: bool):
        """Show the JPEG beside P[i], which is JPEG's smallest file where none fits."""
        self.set_trait(f"jpeg_{i}", rival.data)
        self._put("jpeg", i, _sizes(rival) | {"quality": rival.quality, "fits": fits})

    def read(self, side: str, i: int, decoded: Decoded):
        """Fill in the slow readings of "ours" or "jpeg"."""
        psnr_db = decoded.psnr_db if math.isfinite(decoded.psnr_db) else None
        self._put(side, i, {"psnr_db": psnr_db, "ms_ssim": decoded.ms_ssim})

    def report(self, share: float, text: str):
        """Move the progress bar (0 to 1) and say what is being done."""
        self.progress = {"share": share, "text": text}

    def _put(self, side: str, i: int, new: dict):
        rows = [dict(row) for row in self.readings[side]]
        rows[i - 1 : i] = [(rows[i - 1] if i <= len(rows) else {}) | new]
        self.readings = self.readings | {side: rows}


class Explorer:
    """Choose a photograph, and see it go through the codec.

    Args:
        photo: (H, W, 3) uint8 or a path to begin with; None: the first sample.
        model_name: weights, see `model.load`.
        iterations: N, 1 to 16.
    """

    def __init__(self, photo=None, model_name: str = DEFAULT_MODEL, iterations: int = 8):
        check_iterations(iterations)
        self.weights = model.load(model_name)
        self.iterations = iterations
        self.scrubber = Scrubber()
        self.progression = self.ladder = None
        self._run = 0
        self._thread = None
        self._sample = ipywidgets.Dropdown(options=list(photos.SAMPLES), description="photograph")
        self._upload = ipywidgets.FileUpload(
            accept="image/*", multiple=False, description="your own photo", layout={"width": "170px"}
        )
        self._stop = ipywidgets.Button(
            description="stop", tooltip="keep what is there, compute no more", layout={"width": "80px"}
        )
        self._note = ipywidgets.HTML()
        self._sample.observe(self._chosen, "value")
        self._upload.observe(self._uploaded, "value")
        self._stop.on_click(lambda button: self._supersede())
        bar = ipywidgets.HBox([self._sample, self._upload, self._stop])
        self.controls = ipywidgets.VBox([bar, self._note])
        if photo is None:
            self._open(photos.sample(self._sample.value))
        else:
            self.open(images.load(photo) if isinstance(photo, (str, Path)) else photo)

    def show(self):
        """Put the controls and the scrubber into the notebook."""
        from IPython.display import display

        display(self.controls, self.scrubber)

    def open(self, photo: np.ndarray):
        """Send your own photo through the codec, in the background; an earlier one is stopped first."""
        self._sample.value = None  # so that every sample can be chosen again
        self._open(photo)

    def _open(self, photo: np.ndarray):
        self.stop()
        self._note.value = ""
        small = images.shrink(photo, EXPLORER_PIXELS)
        if small is not photo:
            self._note.value = (
                f"Scaled down from {photo.shape[1]} × {photo.shape[0]} to {small.shape[1]} × {small.shape[0]} px to be "
                "quick here; <code>python -m rgru_lab compare</code> takes it whole."
            )
        self._thread = threading.Thread(target=self._compute, args=(small, self._run), daemon=True)
        self._thread.start()

    def stop(self):
        """Compute no more; what is there stays. Returns when the iteration under way is done."""
        self._supersede()
        self.wait()

    def _supersede(self):
        self._run += 1

    def wait(self):
        """Return when all is computed, or stopped."""
        if self._thread is not None:
            self._thread.join()

    def figure(self, iterations: tuple[int, ...] = (1, 2, 8)):
        """The same on paper, for places where no slider can run: waits, then draws I, P[i] and R[i]."""
        self.wait()
        return plots.strip(self.progression, [i for i in iterations if i <= len(self.progression)])

    def _chosen(self, change):
        if change["new"] is not None:
            self._open(photos.sample(change["new"]))

    def _uploaded(self, change):
        value = change["new"]
        if not value:
            return
        if isinstance(value, dict):  # ipywidgets 7
            name, file = next(iter(value.items()))
        else:
            name, file = value[0]["name"], value[0]
        content = bytes(file["content"])
        try:
            if len(content) > UPLOAD_BYTES:
                raise images.PictureError(f"{name} has {len(content):,} bytes; the limit here is {UPLOAD_BYTES:,}")
            photo = images.load(content, name)
        except images.PictureError as error:
            self._note.value = f"<b>This cannot be shown:</b> {html.escape(str(error))}"
            return
        self.open(photo)

    def _compute(self, photo: np.ndarray, run: int):
        try:
            for done, text in enumerate(self._steps(photo), start=1):
                if run != self._run:
                    self.scrubber.report(1.0, "Stopped.")
                    return
                self.scrubber.report(min(0.99, done / (3 * self.iterations + 2)), text)
            self.scrubber.report(1.0, "All computed: the slider needs no kernel from here.")
        except Exception as error:  # a thread must not die in silence
            self.scrubber.report(1.0, f"This went wrong: {error}")
            raise

    def _steps(self, photo: np.ndarray):
        """All the work, in steps between which it may be stopped: pictures first, then the slow readings."""
        self.scrubber.begin(photo)
        self.progression, self.ladder = Progression(self.weights, photo), JpegLadder(photo)
        yield f"computing iteration 1 of {self.iterations}"
        for i, decoded in self.progression.run(self.iterations):
            self.scrubber.add(i, decoded)
            yield f"iteration {i} of {self.iterations}"
        rivals = {}
        for i in range(1, len(self.progression) + 1):
            fitting = self.ladder.fitting(self.progression[i].size_bytes)
            rivals[i] = fitting or self.ladder.smallest
            self.scrubber.add_jpeg(i, rivals[i], fits=fitting is not None)
        for i, rival in rivals.items():
            yield f"measuring iteration {i}"
            self.scrubber.read("ours", i, self.progression[i])
            yield f"measuring iteration {i}"
            self.scrubber.read("jpeg", i, rival)


def _sizes(decoded: Decoded) -> dict:
    return {"size_bytes": decoded.size_bytes, "bpp": decoded.bpp}
