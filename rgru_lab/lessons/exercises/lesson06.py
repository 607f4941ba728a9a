"""Exercises of lesson 06, the loop."""

from types import SimpleNamespace

import torch

from rgru_lab.config import ModelConfig
from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import NOTHING, SWAPPED, given, pictures_of, untouched
from rgru_lab.model import DecoderState, ResidualCoder

SHAPE = {"encoder": (4, 4, 4, 4), "decoder": (8, 8, 8, 8, 8), "bits": 4, "alpha_x": 1.0, "gain": 3.0}


def _loop(residual=lambda x, picture, r, g: x - picture, *, gain=True, encoder=True, decoder=True, whole=True):
    """The loop, or with other arguments one that does something wrong."""

    def loop(coder, x, n):
        encoder_state = decoder_state = picture = None
        r, pictures = x, []
        for _ in range(n):
            g = coder.gain(picture) if gain else 1.0
            bits, new = coder.encode(g * r, encoder_state)
            encoder_state = new if encoder else None
            output, new = coder.decode(bits, decoder_state)
            decoder_state = new if decoder else None
            picture = coder.reconstruct(output, picture, g)
            r = residual(x, picture if whole else output, r, g)
            pictures.append(picture)
        return pictures

    return loop


_WRONG_LOOPS = {
    "the residual never changes: after each pass it is the original minus the new picture": (
        _loop(lambda x, p, r, g: r)
    ),
    "the residual has the wrong sign: it is the original minus the picture, I - P": (_loop(lambda x, p, r, g: p - x)),
    "the new residual is taken from the old one; each P[i] is the whole picture, so compare it with the original, x": (
        _loop(lambda x, p, r, g: r - p)
    ),
    "the gain is missing: the encoder should see g * r": _loop(gain=False),
    "the residual is multiplied by g twice; the line of the encoder does it already": (
        _loop(lambda x, p, r, g: g * (x - p))
    ),
    "the residual is multiplied by the next pass's g beforehand; the line of the encoder does it then": (
        _loop(lambda x, p, r, g: 3 * (x - p))  # SHAPE's gain: what coder.gain(picture) says
    ),
    "it subtracts the decoder's output; P[i] is what coder.reconstruct made of it": _loop(whole=False),
    "the encoder begins every pass with an empty memory; give it back the state that it returned": _loop(encoder=False),
    "the decoder begins every pass with an empty memory; give it back the state that it returned": _loop(decoder=False),
}


def _same(got, expected) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, expected, strict=True))


def _variant(coder):
    """The codec as the lesson's variants of it are; it notices a memory in the place of a picture."""

    def reconstruct(output, previous, gain):
        if isinstance(output, DecoderState):
            raise Wrong(SWAPPED)
        return coder.reconstruct(output, previous, gain)

    return SimpleNamespace(gain=coder.gain, reconstruct=reconstruct, encode=coder.encode, decode=coder.decode)


def _pictures(answer, coder, x):
    """Four of the learner's pictures."""
    variant = _variant(coder)
    try:
        got = given(answer(variant, x.clone(), 4))
    except AttributeError as error:
        if error.obj is not variant:
            raise
        raise Wrong(
            f"later cells exchange coder.encode and coder.decode; use these instead of coder.{error.name}"
        ) from None
    except TypeError as error:
        if "ellipsis" in str(error):
            raise NotImplementedError("a gap is still `...`; fill both") from None
        raise
    except ValueError as error:
        if "unpack" in str(error):
            raise Wrong("a half was given the other half's memory; the decoder's is decoder_state") from None
        raise
    if got is variant:
        raise Wrong("it returns the codec itself; wanted is the list of the pictures P[1] to P[n]")
    if isinstance(got, torch.Tensor) and got.shape == x.shape:
        raise Wrong("it returns one picture; wanted is the list of all, P[1] to P[n]")
    got = pictures_of(got)
    if len(got) != 4:
        raise Wrong(f"asked for 4 iterations it returns {len(got)} things; wanted is one picture for each")
    if not all(isinstance(picture, torch.Tensor) and picture.shape == x.shape for picture in got):
        kind = tuple(got[0].shape) if isinstance(got[0], torch.Tensor) else type(got[0]).__name__
        raise Wrong(f"the list holds {kind}; wanted are pictures of x's shape, {tuple(x.shape)}")
    return got


@exercise("06.1", "close the circle", _loop)
def loop(answer):
    torch.random.default_generator.manual_seed(1)  # of seed 0 the bits are the same for two of the mistakes
    x = torch.rand(2, 3, 48, 32) - 0.5
    for way in ("one-shot", "additive"):
        coder = ResidualCoder(ModelConfig(**SHAPE, reconstruction=way)).eval()
        for parameter in coder.parameters():
            parameter.requires_grad_(False).mul_(2)  # untrained networks hardly say anything
        got, expected = _pictures(answer, coder, x), _loop()(coder, x, 4)
        if _same(got, expected):
            continue
        if _same(got, [x - picture for picture in expected]):
            raise Wrong("it returns the residuals; wanted are the pictures")
        for words, wrong in _WRONG_LOOPS.items():
            if _same(got, wrong(coder, x, 4)):
                raise Wrong(words)
        first = next(
            i for i, (a, b) in enumerate(zip(got, expected, strict=True), 1) if not torch.allclose(a, b, atol=1e-5)
        )
        if way == "additive":
            raise Wrong(f"where pictures are added up P[{first}] is not right; P[i] is what coder.reconstruct returns")
        raise Wrong(f"P[{first}] is the first that is not right; follow its lines with the equations above")


def _reconstruct():
    def reconstruct(output, previous, gain):
        change = output / gain
        return change if previous is None else previous + change

    return reconstruct


@exercise("06.2", "the additive way", _reconstruct)
def reconstruct(answer):
    output, previous = torch.rand(2, 3, 8, 8) - 0.5, torch.rand(2, 3, 8, 8)
    for gain in (4.0, 1 + torch.rand(2, 1, 8, 8)):
        handed = output.clone(), previous.clone()
        got = given(answer(*handed, gain))
        if not isinstance(got, torch.Tensor) or got.shape != output.shape:
            kind = f"shape {tuple(got.shape)}" if isinstance(got, torch.Tensor) else type(got).__name__
            raise Wrong(f"it returns {kind}; P[i] is a tensor of shape {tuple(output.shape)}")
        untouched(torch.stack(handed), torch.stack((output, previous)))
        if torch.allclose(got, previous + output / gain, atol=1e-5):
            continue
        mistakes = {
            "it returns the output unchanged, which is the one-shot way; P[i-1] is to be added": output,
            "P[i-1] is not in it; additive means that the change is added to the last picture": output / gain,
            "the gain is not undone: the residual went in times g, so what comes out belongs divided by g": previous
            + output,
            "it multiplies by the gain once more; divide, to undo what was done before the encoder": previous
            + output * gain,
            "the sign is turned round: the residual is I - P, so it is added to P": previous - output / gain,
            "the whole sum is divided by the gain; only the decoder's output is": (previous + output) / gain,
        }
        for words, wrong in mistakes.items():
            if torch.allclose(got, wrong, atol=1e-5):
                raise Wrong(words)
        raise Wrong("the numbers are not P[i-1] + D(B[i]) / g")
    try:
        got = answer(output.clone(), None, 1.0)
    except (TypeError, AttributeError):
        raise Wrong(
            "it stops in iteration 1, where previous is None; P[0] = 0 means that there is nothing to add to"
        ) from None
    if not isinstance(got, torch.Tensor) or not torch.allclose(got, output, atol=1e-5):
        raise Wrong("later iterations are right; in iteration 1, where previous is None, P[1] is D(B[1]) / g")


def _enough():
    def enough(curve, target):
        return next((n for n, value in enumerate(curve, start=1) if value >= target), None)

    return enough


@exercise("06.3", "stop when it is good enough", _enough)
def enough(answer):
    curve, bumpy = [0.5, 0.75, 0.875, 0.9375], [0.5, 0.75, 0.625, 0.75, 0.875]
    if answer(list(curve), 0.7) is ...:
        raise NotImplementedError
    if answer(list(curve), 0.7) is None and answer(list(curve), 0.1) is None:
        raise NotImplementedError(NOTHING)
    cases = [(curve, 0.1), (curve, 0.8), (curve, 0.9), (curve, 0.75), (bumpy, 0.7), (bumpy, 0.8), (curve, 0.99)]
    for values, target in cases:
        expected = _enough()(values, target)
        try:
            got = answer(list(values), target)
        except (IndexError, StopIteration, ValueError) as error:
            if expected is None:
                raise Wrong(
                    f"where no iteration reaches {target} it stops with {type(error).__name__}; return None"
                ) from None
            raise
        if got is None and expected is None:
            continue
        said = f"for {values} and {target} it says {got!r}"
        if isinstance(got, (list, tuple)) or getattr(got, "ndim", 0):
            raise Wrong(f"it returns a {type(got).__name__}; wanted is one number, N")
        if expected is None:
            raise Wrong(f"{said}; no iteration reaches that, so the answer is None")
        if got is None:
            raise Wrong(f"{said}; P[{expected}] is good enough")
        if got == expected and not isinstance(got, bool):
            continue
        if got in values:
            raise Wrong(f"{said}, which is a quality; wanted is the number of the iteration")
        if target in values and got == expected + 1:
            raise Wrong(f"{said}; a quality of exactly the target is enough, so use >= and not >")
        if got == expected - 1:
            raise Wrong(f"{said}; iterations count from 1, places in a list from 0")
        if values is bumpy:
            raise Wrong(f"{said}; the curve falls and rises again, and the first hit counts")
        raise Wrong(f"{said}; right is {expected}")
