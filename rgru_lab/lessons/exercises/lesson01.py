"""Exercises of lesson 01, pixels, bits and JPEG."""

import numpy as np

from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, near, number


@exercise("01.1", "bits per pixel", lambda: lambda size_bytes, height, width: 8 * size_bytes / (height * width))
def bits_per_pixel(answer):
    for size, height, width in ((1500, 20, 50), (12_345, 300, 451), (5, 7, 3)):
        got, right = number(answer(size, height, width)), 8 * size / (height * width)
        if near(got, right):
            continue
        if near(got, right / 8):
            raise Wrong(f"{size:,} bytes give {got:.4g}: these are bytes per pixel; a byte has 8 bits")
        if near(got, right / 64):
            raise Wrong("it divides by 8; a byte has 8 bits, so the bytes are multiplied by 8")
        if near(got, right / 3) or near(got, right / 24):
            raise Wrong("it counts each colour as a pixel; a pixel is one place of the picture, with all its colours")
        if right > 0 and near(got, 1 / right):
            raise Wrong("it returns pixels per bit; turn the fraction round")
        if near(got, 8 * size / height * width):
            raise Wrong("/ and * go from left to right; put brackets around height * width")
        if near(got, 8 * size):
            raise Wrong("it returns the bits of the whole file; divide them by the number of pixels")
        if got == right // 1:
            raise Wrong("the fraction is cut off: use / instead of //")
        raise Wrong(f"a file of {size:,} bytes for {height} × {width} pixels gives {got:.4g} instead of {right:.4g}")


def dct_matrix() -> np.ndarray:
    """C of the lesson: (8, 8), row k is the cosine of frequency k."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    C = np.sqrt(2 / 8) * np.cos(np.pi * (2 * n + 1) * k / 16)
    C[0] = np.sqrt(1 / 8)
    return C


def _there_and_back():
    C = dct_matrix()

    def there_and_back(block, Q):
        return C.T @ (np.round(C @ block @ C.T / Q) * Q) @ C

    return there_and_back


@exercise("01.2", "there and back", _there_and_back)
def there_and_back(answer):
    C, rng = dct_matrix(), np.random.default_rng(0)
    for _ in range(3):
        block = rng.uniform(-128, 127, (8, 8))
        Q = rng.integers(20, 90, (8, 8))
        got = given(answer(block.copy(), Q.copy()))
        try:
            got = np.asarray(got, float)
        except (TypeError, ValueError):
            raise Wrong(f"it returns a {type(got).__name__}; an 8 × 8 array of levels is expected") from None
        if got.shape != (8, 8):
            raise Wrong(f"it returns the shape {got.shape}; a block is (8, 8)")
        Y = C @ block @ C.T
        stored = np.round(Y / Q)
        right = C.T @ (stored * Q) @ C
        if (
            min(np.abs(got - fine).max() for fine in (right, right.clip(-128, 127))) <= 1
        ):  # a decoder may round and clip
            continue
        mistakes = (
            (right + 128, "128 was added; the result has 128 taken away, as the block has"),
            (block, "it returns the block unchanged: nothing was rounded, so nothing was lost and nothing saved"),
            (stored, "these are the stored numbers; the decoder multiplies them by Q and turns them back into pixels"),
            (stored * Q, "these are still coefficients; Cᵀ on the left and C on the right turn them into pixels"),
            (
                C.T @ stored * Q @ C,
                "* and @ go from left to right, so Cᵀ came before Q; put brackets: Cᵀ @ (stored * Q) @ C",
            ),
            (C.T @ (stored @ Q) @ C, "@ is a matrix product; * multiplies each number by its step in Q"),
            (C.T @ (np.round(Y) * Q) @ C, "Y is not divided by Q before it is rounded"),
            (C.T @ stored @ C, "the stored numbers were turned into pixels without being multiplied by Q"),
            (C @ (stored * Q) @ C.T, "the way back is the way there again; it needs Cᵀ on the left and C on the right"),
            (np.round(block / Q) * Q, "it rounds the pixels; what JPEG rounds are the coefficients Y"),
            (C.T @ np.round(Y) @ C, "it rounds, but does not divide by Q first: with steps of 1 little is saved"),
            (C.T @ (np.trunc(Y / Q) * Q) @ C, "the fraction is cut off towards 0; round to the nearest instead"),
            (C.T @ (np.floor(Y / Q) * Q) @ C, "everything is rounded down; round to the nearest instead"),
        )
        nearest, words = min((float(np.abs(got - wrong).max()), words) for wrong, words in mistakes)
        if nearest <= 1:
            raise Wrong(words)
        raise Wrong("the shape is right, the levels are not: divide Y by Q, round, multiply by Q, then Cᵀ … C")


def _psnr_db():
    def psnr_db(a, b):
        mse = np.mean((a.astype(float) - b.astype(float)) ** 2)
        return 10 * np.log10(255**2 / mse)

    return psnr_db


@exercise("01.3", "PSNR", _psnr_db)
def psnr_db(answer):
    rng = np.random.default_rng(0)
    a = rng.integers(20, 236, (12, 16, 3)).astype(np.uint8)
    for spread in (5, 150):
        b = (a + rng.normal(0, spread, a.shape)).round().clip(0, 255).astype(np.uint8)
        got = number(answer(a.copy(), b.copy()))
        difference = a.astype(float) - b
        mse = np.mean(difference**2)
        right = 10 * np.log10(255**2 / mse)
        if abs(got - right) < 0.01:
            continue
        wrapped = (a - b).astype(float)
        in_uint8 = [np.mean(wrapped**2), np.mean((a - b) ** 2)]
        for wrong, words in (
            (mse, "this is the mean squared error; PSNR is 10 log₁₀ of 255² over it"),
            (-right, "the fraction is upside down: 255² goes over the error, so that more is better"),
            (right / 10, "this is in bels; multiply by 10 for decibels"),
            (2 * right, "20 log₁₀ belongs to a ratio of levels; 255² / MSE is squared already, so it is 10"),
            (10 * np.log(255**2 / mse), "np.log is the natural logarithm; decibels need np.log10"),
            (
                10 * np.log10(255**2 / np.square(difference).sum()),
                "the errors are summed; MSE is the mean over all pixels and channels",
            ),
            (10 * np.log10(255 / mse), "the peak has to be squared as well: 255²"),
            (
                10 * np.log10(float(a.max()) ** 2 / mse),
                "the peak is the largest level that there can be, 255, and not the largest in the photo",
            ),
            (
                10 * np.log10(255**2 / np.mean((a.astype(np.int16) - b) ** 2)),
                "it squares in int16, which ends at 32,767; make floats of a and b first",
            ),
            (10 * np.log10(1 / mse), "the peak is missing: 255² over the error"),
            (right + 20 * np.log10(255), "where levels go from 0 to 1 the peak is 1, not 255"),
            (20 * np.log10(255 / mse), "255² goes over MSE with 10, or 255 over its root with 20"),
            (10 * np.log10(255**2 / np.mean(difference) ** 2), "the mean is squared; MSE is the mean of the squares"),
            (10 * np.log10(255**2 / np.sqrt(mse)), "the root of the error was taken; MSE is the mean of the squares"),
            (
                10 * np.log10(255**2 / np.abs(difference).mean()),
                "the errors are not squared: MSE is the mean of (a - b)²",
            ),
        ):
            if abs(got - wrong) < 0.01:
                raise Wrong(words)
        if any(abs(got - 10 * np.log10(255**2 / m)) < 0.01 for m in in_uint8):
            raise Wrong("it subtracts in uint8, where 3 - 5 is 254; make floats of a and b first")
        raise Wrong(f"it gives {got:.2f} for two photos whose PSNR is {right:.2f} dB; compare it with the equation")
