"""The slider of the notebooks: P[i], R[i], JPEG and WebP for every iteration, with all that people do with two.

`Scrubber` shows a `Progression`, in a notebook or as a page of its own; `Explorer` is the bar around it to choose a
photograph with. Both compute in the background and work with ipywidgets 7 and 8.
"""

from rgru_lab.viewer.explorer import Explorer
from rgru_lab.viewer.scrubber import Guess, Scrubber

__all__ = ["Explorer", "Guess", "Scrubber"]
