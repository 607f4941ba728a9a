"""The scrubber: a widget that gets every picture once and needs no kernel from then on."""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import anywidget
import numpy as np
import traitlets

from rgru_lab import images, metrics, plots
from rgru_lab.codec import check_iterations
from rgru_lab.config import MAX_ITERATIONS, InputError
from rgru_lab.files import write_atomically
from rgru_lab.opponents import CODECS, Ladder, Rung
from rgru_lab.progression import Progression
from rgru_lab.viewer import page

STATIC_VARIABLE = "RGRU_LAB_STATIC"
"""If this environment variable is set, a cell that shows a scrubber waits until all P[i] are there, so that the picture
which stands in for the widget on GitHub and in nbconvert's pages is complete, with the opponents' pictures, too."""

MOST_OPPONENTS = 3
"""As many as the style sheet has colours for."""

STRIP = (1, 2, 8)
"""Iterations in the picture that stands in for the widget; the last one comes on top."""

DELTA = 128
"""Grey in a picture of what changed from one iteration to the next."""


class Guess(NamedTuple):
    """What the learner has to say before an iteration is shown.

    Attributes:
        what: "ms_ssim", "psnr_db" or "size_bytes" of P[iteration], or "jpeg_bytes" or "webp_bytes": what that codec
            needs for the same quality.
        iteration: this one and those after it are locked until then.
    """

    what: str
    iteration: int


class Scrubber(anywidget.AnyWidget):
    """A slider over the iterations of one photograph, beside JPEG and WebP at the same bytes or the same quality.

    Whatever is computed can be scrubbed while the rest is still being computed in the background. Pictures go to the
    browser once; residuals, differences, zoom and curves are made there.

    Args:
        progression: run already, or not yet: then `iterations` are computed. None: empty until `load` is called.
        against: one to three opponents, keys of `opponents.CODECS`; the first is shown first.
        iterations: N, 1 to 16, for a progression that has not run.
        guess: what the learner has to predict first; the answer comes back in `answer`.

    Attributes:
        answer: {"value": number}, {"skipped": True}, or {} as long as nothing was said.

    Raises:
        InputError: an argument is out of range, or the guess asks for what will not be there.

    Example:
        Scrubber(Progression(model.load("small"), images.load("photo.jpg")))
    """

    _esm = page.code()
    _css = page.style()
    _ipython_display_ = None  # that of ipywidgets 7 would leave out the picture for places that run no widget

    setup = traitlets.Dict({}).tag(sync=True)
    original = traitlets.Bytes().tag(sync=True)
    for _i in range(1, MAX_ITERATIONS + 1):  # one trait each, so that what is new does not send the old again
        vars()[f"frame_{_i}"] = traitlets.Bytes().tag(sync=True)  # P[i], or what changed since P[i-1]
        vars()[f"bytes_{_i}"] = traitlets.Dict({}).tag(sync=True)  # opponents' files that match in size: name to bytes
        vars()[f"level_{_i}"] = traitlets.Dict({}).tag(sync=True)  # those that match in quality, if not sent before
    file = traitlets.Bytes().tag(sync=True)  # the .rgru file; its first `size_bytes` are the file of an iteration
    readings = traitlets.Dict({}).tag(sync=True)
    progress = traitlets.Dict({"share": 0.0, "text": "", "failed": False}).tag(sync=True)
    colours = traitlets.Bytes().tag(sync=True)
    guess = traitlets.Dict({}).tag(sync=True)
    answer = traitlets.Dict({}).tag(sync=True)

    def __init__(
        self,
        progression: Progression | None = None,
        against: Sequence[str] = ("jpeg", "webp"),
        iterations: int = 8,
        guess: Guess | None = None,
    ):
        self._stopped = self._drawn = threading.Event()
        super().__init__(colours=plots.residual_colours())
        if not against or set(against) - set(CODECS):
            raise InputError(f"against is {against!r}; choose one or more of {', '.join(CODECS)}")
        if len(against) > MOST_OPPONENTS:
            raise InputError(f"against names {len(against)} opponents; choose up to {MOST_OPPONENTS}")
        self.against = tuple(against)
        self.progression = None
        self._run = 0
        self._thread = None
        if progression is not None:
            self._take(progression, iterations, guess)

    # What a caller does with it

    def load(self, progression: Progression, iterations: int = 8, guess: Guess | None = None):
        """Show another progression in the same place, and begin to compute; an earlier one is stopped first."""
        self._take(progression, iterations, guess)
        self.start()

    def start(self):
        """Compute what is missing, in the background, if that has not begun yet; to display does so too."""
        if self._thread is None and self.progression is not None:
            self._thread = threading.Thread(target=self._compute, args=(self._stopped, self._drawn), daemon=True)
            self._thread.start()

    @property
    def is_computing(self) -> bool:
        """Whether it is at work in the background."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, pictures: bool = False):
        """Return when all is computed, or stopped; with `pictures` as soon as all P[i] are there."""
        self.start()
        if self._thread is not None:
            self._drawn.wait()
            if not pictures:
                self._thread.join()

    def stop(self):
        """Compute no more; what is there stays. Returns when the step under way is done."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def close(self):
        """Take it out of the notebook; what is under way stops after its step."""
        self._stopped.set()
        super().close()

    def save_html(self, path: str | os.PathLike, title: str = ""):
        """Write a page that needs neither Python nor a network; waits until all is computed.

        Args:
            path: of the page.
            title: what stands above it.

        Raises:
            InputError: nothing could be computed, or the path cannot be written.
        """
        self.wait()
        if self.progress["failed"] or not self.readings:
            raise InputError(f"there is nothing to save: {self.progress['text'] or 'give the scrubber a progression'}")
        state = {name: getattr(self, name) for name in Scrubber.class_own_traits(sync=True)} | {"answer": {}}
        write_atomically(path, page.page(state, title).encode())

    # What a notebook shows

    def _repr_mimebundle_(self, **kwargs):
        self.start()
        static = os.environ.get(STATIC_VARIABLE)
        if static:
            self.wait(pictures=True)
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        data, metadata = dict(data), dict(metadata)
        data["text/plain"] = self._summary()
        if self.progression:
            shown = [i for i in STRIP if i < len(self.progression)] + [len(self.progression)]
            rivals = list(self._ladders.values()) if static else ()  # not while somebody waits to see the widget
            strip = plots.strip(self.progression, shown, width=2.1, rivals=rivals)
            picture, alt = plots.bundle(strip, data["text/plain"], palette=True)
            data |= picture
            metadata |= alt
        return data, metadata

    def _summary(self) -> str:
        """All in a few words, for those who see neither widget nor picture."""
        if not self.progression:
            return "Scrubber: nothing is computed yet"
        height, width = self.progression.original.shape[:2]
        lines = [f"The photograph ({width} × {height} px), its reconstructions and what is still missing:"]
        for i, ours in enumerate(list(self.progression.decoded), start=1):
            lines.append(f"P[{i}] {ours.size_bytes:,} bytes, mean |R| {ours.mean_abs_residual:.1f} levels")
        return "; ".join(lines).replace(":;", ":")

    # What happens in the background

    def _take(self, progression: Progression, iterations: int, guess: Guess | None):
        """Forget what was there and show the original."""
        check_iterations(iterations)
        iterations = len(progression) or progression.at_most(iterations)
        self._level = "ms_ssim" if metrics.has_ms_ssim(progression.original) else "psnr_db"
        self._check_guess(guess, iterations)
        ladders = {codec: Ladder(progression.original, codec) for codec in self.against}
        if self.is_computing:
            self._report(0.0, "stopping what was under way")
        self.stop()
        self._stopped, self._drawn, self._thread = threading.Event(), threading.Event(), None
        self.progression, self._iterations, self._ladders = progression, iterations, ladders
        self._run += 1
        self._sent: set[str] = set()
        height, width = progression.original.shape[:2]
        with self.hold_sync():
            for i in range(1, MAX_ITERATIONS + 1):
                self.set_trait(f"frame_{i}", b"")
                self.set_trait(f"bytes_{i}", {})
                self.set_trait(f"level_{i}", {})
            self.setup = {
                "run": self._run,
                "iterations": iterations,
                "width": width,
                "height": height,
                "level": self._level,
                "against": [{"key": codec, "label": CODECS[codec].label} for codec in self.against],
                "scale": plots.RESIDUAL_SCALE,
                "weights": progression.weights.name,
            }
            self.file, self.readings = b"", {}
            self.guess, self.answer = guess._asdict() if guess else {}, {}
            self._report(0.0, f"computing iteration 1 of {iterations}")
            self.original = _pack(progression.original)

    def _check_guess(self, guess: Guess | None, iterations: int):
        if guess is None:
            return
        known = ["psnr_db", "size_bytes", *(f"{codec}_bytes" for codec in self.against)]
        if self._level not in known:
            known.insert(0, self._level)
        if guess.what not in known:
            raise InputError(f"a guess at {guess.what!r} is not possible here; ask for one of {', '.join(known)}")
        if not 1 <= guess.iteration <= iterations:
            raise InputError(f"the guess is about iteration {guess.iteration}; choose 1 to {iterations}")

    def _compute(self, stopped: threading.Event, drawn: threading.Event):
        total = self._iterations * (2 + 3 * len(self.against))
        try:
            for done, text in enumerate(self._steps(), start=1):
                if stopped.is_set():
                    if self.progression:
                        self.file = self.progression.file(len(self.progression))
                    self.setup = self.setup | {"iterations": max(1, len(self.progression))}
                    self._report(1.0, "Stopped; what is here can be scrubbed.")
                    return
                self._report(min(0.99, done / total), text)
            self._report(1.0, "")
        except Exception as error:  # a thread must not die in silence
            self._report(1.0, f"This went wrong: {error}", failed=True)
            if not isinstance(error, InputError):
                raise
        finally:
            drawn.set()

    def _steps(self) -> Iterator[str]:
        """All the work, in steps between which it may be stopped: pictures first, slow readings and matches last."""
        progression, codecs = self.progression, self.against
        there = progression.decoded[: self._iterations]
        numbered = enumerate(there, start=1) if there else progression.run(self._iterations)
        before = None
        for i, ours in numbered:
            self.set_trait(f"frame_{i}", _pack(ours.photo if before is None else _change(before, ours.photo), i == 1))
            before = ours.photo
            self._put("ours", i, _sizes(ours) | {"mean_abs_residual": ours.mean_abs_residual})
            yield f"iteration {i} of {self._iterations}"
        reached = min(self._iterations, len(progression))
        self.file = progression.file(reached)
        self._drawn.set()
        iterations = range(1, reached + 1)
        matched: dict[tuple[str, int], Rung] = {}
        for i in iterations:
            for codec in codecs:
                found = self._ladders[codec].fitting(progression[i].size_bytes)
                matched[codec, i] = found or self._ladders[codec].smallest
                self._put(f"bytes-{codec}", i, _matched(matched[codec, i], fits=found is not None))
                yield f"{CODECS[codec].label} of the same bytes as P[{i}]"
            self._ship(f"bytes_{i}", [matched[codec, i] for codec in codecs])
        for i in iterations:
            self._put("ours", i, _quality(progression[i]))
            yield f"measuring P[{i}]"
            for codec in codecs:
                self._put(f"bytes-{codec}", i, _quality(matched[codec, i]))
                yield f"measuring {CODECS[codec].label} beside P[{i}]"
        for i in iterations:
            for codec in codecs:
                found = self._ladders[codec].reaching(getattr(progression[i], self._level), self._level)
                matched[codec, i] = found or self._ladders[codec].best
                row = _matched(matched[codec, i], fits=found is not None) | _quality(matched[codec, i])
                self._put(f"level-{codec}", i, row)
                yield f"{CODECS[codec].label} of the same quality as P[{i}]"
            self._ship(f"level_{i}", [matched[codec, i] for codec in codecs])

    def _ship(self, trait: str, rungs: list[Rung]):
        """Put those files into a trait that the browser has not got yet."""
        new = {_name(rung): rung.data for rung in rungs if _name(rung) not in self._sent}
        self._sent |= set(new)
        self.set_trait(trait, new)

    def _put(self, side: str, i: int, new: dict):
        rows = [dict(row) for row in self.readings.get(side, [])]
        rows[i - 1 : i] = [(rows[i - 1] if i <= len(rows) else {}) | new]
        self.readings = self.readings | {side: rows}

    def _report(self, share: float, text: str, failed: bool = False):
        self.progress = {"share": share, "text": text, "failed": failed}


def _change(before: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """What the browser adds to one picture to get the next, modulo 256; red and blue as what they have over green.

    It packs to two thirds of what the picture itself would take.
    """
    change = photo - before
    change[..., ::2] -= change[..., 1:2]
    return change + np.uint8(DELTA)


def _pack(photo: np.ndarray, quick: bool = True) -> bytes:
    """A photo without loss: WebP, or PNG for sides that WebP cannot hold.

    Quick for what somebody waits to see; else a little smaller in three times the time.
    """
    import io

    from PIL import Image, WebPImagePlugin  # noqa: F401 (or Pillow would load all it has, while somebody waits)

    if max(photo.shape[:2]) > CODECS["webp"].max_side:
        return images.encode_png(photo)
    buffer = io.BytesIO()
    effort = {"method": 1, "quality": 0} if quick else {"method": 3, "quality": 50}
    Image.fromarray(photo).save(buffer, "WEBP", lossless=True, **effort)
    return buffer.getvalue()


def _name(rung: Rung) -> str:
    return f"{rung.codec}-{rung.quality}"


def _matched(rung: Rung, fits: bool) -> dict:
    return {"file": _name(rung), "quality": rung.quality, "fits": fits} | _sizes(rung)


def _sizes(decoded) -> dict:
    return {"size_bytes": decoded.size_bytes, "bpp": decoded.bpp}


def _quality(decoded) -> dict:
    """The slow readings; a PSNR of None is infinite, an MS-SSIM of None does not exist for this size."""
    psnr_db = decoded.psnr_db if math.isfinite(decoded.psnr_db) else None
    return {"psnr_db": psnr_db, "ms_ssim": decoded.ms_ssim}
