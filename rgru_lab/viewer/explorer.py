"""The bar around the scrubber: choose a photograph, upload one, choose the weights and how far to go."""

import html
import weakref
from pathlib import Path

import ipywidgets
import numpy as np

from rgru_lab import images, model, photos, plots
from rgru_lab.codec import check_iterations
from rgru_lab.config import DEFAULT_MODEL, MAX_ITERATIONS, InputError
from rgru_lab.opponents import Ladder
from rgru_lab.progression import Progression
from rgru_lab.viewer.scrubber import Scrubber

EXPLORER_PIXELS = 400_000
"""Larger photographs are scaled down to this in a notebook, to stay under the 1 GB that Binder gives a kernel: one of
this size, all noise, was measured at 0.74 GB."""

UPLOAD_BYTES = 9_000_000
"""Largest file to upload: Jupyter's connection to the kernel carries 10 MiB at a time."""

_EXPLORERS: weakref.WeakSet = weakref.WeakSet()
"""All there are: one of them computes at a time."""


class Explorer:
    """Choose a photograph, and see it go through the codec.

    One computes at a time, for the memory's sake: whichever begins, as when its cell runs again, stops the others.

    Args:
        photo: (H, W, 3) uint8 or a path to begin with; None: the first sample.
        model_name: weights, see `model.load`.
        iterations: N, 1 to 16.
    """

    def __init__(self, photo=None, model_name: str = DEFAULT_MODEL, iterations: int = 8):
        check_iterations(iterations)
        self.weights = model.load(model_name)
        self.scrubber = Scrubber()
        _EXPLORERS.add(self)
        self._photo = None
        sources = {name: name for name in model.available()} | {self.weights.name: model_name}
        self._sample = _choice("photograph", list(photos.SAMPLES))
        self._model = _choice("weights", list(sources.items()), model_name)
        self._iterations = _choice("iterations", list(range(1, MAX_ITERATIONS + 1)), iterations)
        self._upload = ipywidgets.FileUpload(
            accept="image/*", multiple=False, description="your own photo", layout={"width": "170px"}
        )
        self._stop = ipywidgets.Button(
            description="stop", tooltip="keep what is there, compute no more", layout={"width": "80px"}
        )
        self._note = ipywidgets.HTML()
        self._sample.observe(self._chosen, "value")
        self._model.observe(self._reloaded, "value")
        self._iterations.observe(lambda change: self._begin(), "value")
        self._upload.observe(self._uploaded, "value")
        self._stop.on_click(lambda button: self.stop())
        bar = [self._sample, self._upload, self._model, self._iterations, self._stop]
        self.controls = ipywidgets.VBox([ipywidgets.HBox(bar, layout={"flex_flow": "row wrap"}), self._note])
        if photo is None:
            self._open(photos.sample(self._sample.value))
        else:
            self.open(images.load(photo) if isinstance(photo, (str, Path)) else photo)

    @property
    def progression(self) -> Progression:
        """The photo's way through the codec, as far as it is computed."""
        return self.scrubber.progression

    @property
    def iterations(self) -> int:
        """N, as chosen in the bar."""
        return self._iterations.value

    def show(self):
        """Put the controls and the scrubber into the notebook."""
        from IPython.display import display

        display(self.controls, self.scrubber)

    def open(self, photo: np.ndarray):
        """Send your own photo through the codec, in the background; an earlier one is stopped first."""
        images.check_photo(photo)
        self._sample.value = None  # so that every sample can be chosen again
        self._open(photo)

    def stop(self):
        """Compute no more; what is there stays. Returns when the iteration under way is done."""
        self.scrubber.stop()

    def wait(self, pictures: bool = False):
        """Return when all is computed, or stopped; with `pictures` as soon as all P[i] are there."""
        self.scrubber.wait(pictures)

    def figure(self, iterations: tuple[int, ...] = (1, 2, 8)):
        """The same on paper, for places where no slider can run: waits, then draws I, P[i], R[i] and JPEG."""
        self.wait(pictures=True)
        shown = [i for i in iterations if i <= len(self.progression)]
        return plots.strip(self.progression, shown, width=2.1, rivals=[Ladder(self.progression.original)])

    def _open(self, photo: np.ndarray):
        self._note.value = ""
        self._photo = images.shrink(photo, EXPLORER_PIXELS)
        if self._photo is not photo:
            self._note.value = (
                f"Scaled down from {photo.shape[1]} × {photo.shape[0]} to {self._photo.shape[1]} × "
                f"{self._photo.shape[0]} px to be quick here; <code>python -m rgru_lab compare</code> takes it whole."
            )
        self._begin()

    def _begin(self):
        for other in list(_EXPLORERS):
            if other is not self and other.scrubber.is_computing:
                other.stop()
        self.scrubber.load(Progression(self.weights, self._photo), self.iterations)

    def _chosen(self, change):
        if change["new"] is not None:
            self._open(photos.sample(change["new"]))

    def _reloaded(self, change):
        """Other weights for the same photo."""
        try:
            self.weights = model.load(change["new"])
        except InputError as error:
            self._complain(error)
            return
        self._begin()

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
            self.open(images.load(content, name))
            self._note.value = f"Shown: {html.escape(name)}. {self._note.value}"
        except InputError as error:
            self._complain(error)
        self._upload.set_trait("value", type(self._upload.value)())  # or the same file a second time would be no change

    def _complain(self, error: InputError):
        self._note.value = f"<b>This cannot be shown:</b> {html.escape(str(error))}"


def _choice(description: str, options: list, value=None) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=options,
        value=options[0] if value is None else value,
        description=description,
        layout={"width": "210px"},
        style={"description_width": "80px"},
    )
