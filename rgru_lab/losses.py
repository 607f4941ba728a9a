"""What training makes smaller: the paper's mean |R|, and two losses that ask for what the eye sees.

The similarity is that of `metrics.ms_ssim`, here differentiable. A Gaussian window over a picture is two
convolutions, one down and one along, because the Gaussian is separable.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from rgru_lab.config import GRID

SIGMA = 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, from the full picture down (Wang et al. 2003)."""
C1, C2 = 0.01**2, 0.03**2
"""What keeps the quotients finite, for values that span 1."""
LARGE, SMALL = 11, 7
"""Sides of the window: `metrics.ms_ssim` has 11; patches of 160 px or less are only large enough for 7."""

GOOD_ENOUGH = (0.008, 0.15)
"""Between these lies the `Similarity.local_unlikeness` at which a position stops sending, where it is drawn."""


def good_enough(drawn: Tensor) -> Tensor:
    """Numbers drawn from 0 to 1 to thresholds in `GOOD_ENOUGH`, in equal proportions."""
    lowest, highest = GOOD_ENOUGH
    return lowest * (highest / lowest) ** drawn


def at_both_places(pictures: Tensor) -> Tensor:
    """The pictures, (B, 3, H, W), and the same from row and column 1 on, the last ones twice: (2B, 3, H, W).

    For an encoder that chooses by what `Similarity` says of both: MS-SSIM halves a picture by means of 2 x 2 pixels,
    and what it gains at one place of that grid alone is nothing to the eye (see `metrics.ms_ssim_moved`).
    """
    moved = F.pad(pictures, (0, 1, 0, 1), mode="replicate")[:, :, 1:, 1:]
    return torch.cat([pictures, moved])


class Similarity:
    """Likeness of pictures to one batch of originals, whose own means and variances are computed once.

    Args:
        x: the originals I, (B, 3, H, W) in [-0.5, 0.5].
    """

    def __init__(self, x: Tensor):
        side = min(x.shape[2:])
        self.window = LARGE if side > 16 * (LARGE - 1) else SMALL
        self.scales = []
        x = x.float().contiguous() + 0.5
        while len(self.scales) < len(SCALE_WEIGHTS) and min(x.shape[2:]) >= self.window:
            mean = self._blur(x)
            self.scales.append((x, mean, self._blur(x * x) - mean * mean))
            x = F.avg_pool2d(x, 2)

    def ms_ssim(self, picture: Tensor) -> Tensor:
        """Mean MS-SSIM of P[i] (B, 3, H, W), values around [-0.5, 0.5], over the batch and R, G and B; at most 1.

        With patches over 160 px, multiples of 16, it is exactly `metrics.ms_ssim` before rounding to 8 bits. Smaller
        ones have a smaller window, and under 112 px fewer scales.
        """
        y = picture.float().contiguous() + 0.5
        product = 1.0
        weights = SCALE_WEIGHTS[: len(self.scales)]
        for scale, weight in enumerate(weights):
            luminance, contrast = self._compare(scale, y)
            last = scale == len(weights) - 1
            value = (luminance * contrast if last else contrast).mean((2, 3))
            product = product * value.clamp_min(1e-6) ** weight
            y = F.avg_pool2d(y, 2)
        return product.mean()

    def ssim_map(self, picture: Tensor) -> Tensor:
        """SSIM around each pixel, (B, 3, H, W); the border repeats its nearest whole window."""
        luminance, contrast = self._compare(0, picture.float().contiguous() + 0.5)
        return F.pad(luminance * contrast, [self.window // 2] * 4, mode="replicate")

    @torch.no_grad()
    def local_unlikeness(self, picture: Tensor) -> Tensor:
        """How far P[i] is from I at each code position, (B, H/16, W/16), 0 and over; what the mean of all counts.

        1 minus the similarities at the scales of MS-SSIM, weighted as there and averaged over the position's 16 x 16
        pixels. MS-SSIM is a product of means, this a mean of sums, so the two are near but not equal. H and W are
        multiples of 16.
        """
        y = picture.float().contiguous() + 0.5
        weights = SCALE_WEIGHTS[: len(self.scales)]
        unlikeness = 0.0
        for scale, weight in enumerate(weights):
            luminance, contrast = self._compare(scale, y)
            value = luminance * contrast if scale == len(weights) - 1 else contrast
            value = F.pad(value, [self.window // 2] * 4, mode="replicate")
            unlikeness = unlikeness + weight * (1 - F.avg_pool2d(value, GRID >> scale)).mean(1)
            y = F.avg_pool2d(y, 2)
        return unlikeness / sum(weights)

    def _compare(self, scale: int, y: Tensor) -> tuple[Tensor, Tensor]:
        x, mean_x, variance_x = self.scales[scale]
        mean_y = self._blur(y)
        variance_y = self._blur(y * y) - mean_y * mean_y
        covariance = self._blur(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
        contrast = (2 * covariance + C2) / (variance_x + variance_y + C2)
        return luminance, contrast

    def _blur(self, x: Tensor) -> Tensor:
        line = _gaussian(self.window, x.device)
        planes = x.flatten(0, 1)[None]  # of all pictures and colours side by side: much quicker than as a batch
        count = planes.shape[1]
        with torch.autocast(x.device.type, enabled=False):  # a variance is a small difference of large numbers
            down = F.conv2d(planes, line.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)
            planes = F.conv2d(down, line.expand(count, 1, 1, -1), groups=count)
        return planes.view(*x.shape[:2], *planes.shape[2:])


@lru_cache  # a CUDA graph of a training reads it again and again
def _gaussian(window: int, device: torch.device) -> Tensor:
    """A normalised Gaussian, (window,)."""
    with torch.inference_mode(False):  # the first to ask may not train, the next may
        distance = torch.arange(window) - window // 2
        weights = torch.exp(-(distance**2) / (2 * SIGMA**2))
        return (weights / weights.sum()).to(device)


class Loss:
    """The loss of one iteration, for a batch of originals.

    Args:
        name: "l1", the paper's mean |R|; "ssim-l1", |R| weighted by 1 - SSIM around the pixel over its mean (Johnston
            et al. 2018); "ms-ssim", (1 - share) mean |R| + share (1 - MS-SSIM).
        share: weight of 1 - MS-SSIM.
        colour: weight of |mean R| of each patch and channel, added to the loss.
        x: the originals, (B, 3, H, W) in [-0.5, 0.5].
    """

    def __init__(self, name: str, share: float, colour: float, x: Tensor):
        self.name = name
        self.share = share
        self.colour = colour
        self.similarity = None if name == "l1" else Similarity(x)

    def __call__(self, picture: Tensor, residual: Tensor) -> Tensor:
        """A number for P[i] and R[i], both (B, 3, H, W)."""
        loss = self._unlikeness(picture, residual)
        return loss + self.colour * residual.mean((2, 3)).abs().mean() if self.colour else loss

    def _unlikeness(self, picture: Tensor, residual: Tensor) -> Tensor:
        l1 = residual.abs()
        if self.name == "l1":
            return l1.mean()
        if self.name == "ssim-l1":
            unlike = 1 - self.similarity.ssim_map(picture.detach())
            return (unlike / unlike.mean().clamp_min(1e-6) * l1).mean()
        return (1 - self.share) * l1.mean() + self.share * (1 - self.similarity.ms_ssim(picture))
