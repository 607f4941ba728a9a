"""Exercises of lesson 03, the encoder."""

from rgru_lab.cells import ResidualGRUCell
from rgru_lab.config import GRID
from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, real


def _padded(n: int) -> int:
    return GRID * -(-n // GRID)


def _layer_sizes():
    def layer_sizes(height, width):
        return [(_padded(height) // 2**k, _padded(width) // 2**k) for k in (1, 2, 3, 4)]

    return layer_sizes


SLIPS_OF_SIZES = (
    (lambda n, k: n // 2**k, "you round down, and the last rows or columns are lost; pad up to a multiple of 16 first"),
    (lambda n, k: -(-n // 2**k), "you round up at each layer; pad the picture first, then each half is exact"),
    (lambda n, k: 32 * -(-n // 32) // 2**k, "you pad to multiples of 32; four halvings need multiples of 16"),
    (
        lambda n, k: 16 * (n // 16 + 1) // 2**k,
        "you pad a side that is a multiple of 16 already; then nothing is needed",
    ),
    (lambda n, k: _padded(n) // 2 ** (k - 1), "you begin with the padded picture; the first layer halves it already"),
    (lambda n, k: _padded(n), "all four sizes are the padded picture's; each layer halves it"),
)


@exercise("03.1", "the size after each layer", _layer_sizes)
def layer_sizes(answer):
    for height, width in [(288, 448), (300, 451), (97, 33), (1, 16), (512, 770)]:
        got = given(answer(height, width))
        try:
            sizes = [tuple(float(n) for n in pair) for pair in got]
        except (TypeError, ValueError):
            raise Wrong(f"it returns {got!r:.60}; give four pairs, [(h, w), (h, w), (h, w), (h, w)]") from None
        if len(sizes) != 4 or any(len(pair) != 2 for pair in sizes):
            raise Wrong(f"for {height} x {width} it returns {got!r:.90}; there are four layers, a pair for each")
        if sizes == _layer_sizes()(height, width):
            continue
        said = f"for {height} x {width} it says {got!r:.90}: "
        if [pair[::-1] for pair in sizes] == _layer_sizes()(height, width):
            raise Wrong(f"{said}height and width are exchanged")
        for slip, words in SLIPS_OF_SIZES:
            if sizes == [(slip(height, k), slip(width, k)) for k in (1, 2, 3, 4)]:
                raise Wrong(said + words)
        if any(n % 1 for pair in sizes for n in pair):
            raise Wrong(f"{said}a layer has whole rows; pad to a multiple of 16 before you halve")
        raise Wrong(f"{said}pad each side up to a multiple of 16, then halve it four times")


def _cell_parameters():
    def cell_parameters(in_channels, channels, kernel, hidden_kernel):
        return _count(in_channels, channels, kernel, hidden_kernel)

    return cell_parameters


def _count(i, c, k, h, *, W=3, U=3, bias=3, W_h=1, W_ox=1):
    """The numbers in a Residual GRU, with how often each convolution is counted left open."""
    return W * i * c * k**2 + bias * c + U * c * c * h**2 + W_h * c * c + W_ox * i * c


SLIPS_OF_COUNTS = (
    (lambda i, c, k, h: _count(i, c, k, h, bias=0), "the biases are missing: W has one for each channel it gives"),
    (lambda i, c, k, h: _count(i, c, k, h, bias=1), "W gives 3 * channels, so it has that many biases"),
    (lambda i, c, k, h: _count(i, c, k, h, bias=6), "U_gates and U have a bias in your count; only W has"),
    (lambda i, c, k, h: _count(i, c, k, h, bias=8), "all five have a bias in your count; only W has"),
    (lambda i, c, k, h: _count(i, c, k, h, W_h=0, W_ox=0), "that is a plain GRU; W_h and W_ox are missing"),
    (lambda i, c, k, h: _count(i, c, k, h, W_h=0), "W_h is missing: 1 x 1, from memory to memory"),
    (lambda i, c, k, h: _count(i, c, k, h, W_ox=0), "W_ox is missing: 1 x 1, from input to output"),
    (lambda i, c, k, h: _count(i, c, k, h, U=2), "U is missing, or U_gates gives channels only; together 3 * channels"),
    (lambda i, c, k, h: _count(i, c, k, h, U=1), "U_gates is missing: it gives 2 * channels"),
    (lambda i, c, k, h: _count(i, c, k, h, U=0, W_h=0, W_ox=0), "that is W alone; four convolutions are missing"),
    (lambda i, c, k, h: _count(i, c, k, h, W=1), "W gives 3 * channels: z, r and the candidate"),
    (
        lambda i, c, k, h: _count(i, c, k, h, U=1) + 2 * i * c * h**2,
        "U_gates reads the memory, channels of it, not the input",
    ),
    (lambda i, c, k, h: _count(i, c, k, 1), "U's kernel has hidden_kernel x hidden_kernel positions, not one"),
    (lambda i, c, k, h: _count(i, c, k, h**0.5), "hidden_kernel comes squared: a kernel of 3 has 9 positions"),
    (lambda i, c, k, h: _count(i, c, k**0.5, h**0.5), "a kernel is square: its positions are kernel**2"),
)


@exercise("03.2", "how many numbers a cell learns", _cell_parameters)
def cell_parameters(answer):
    shapes = [(3, 8, 3, 1), (7, 5, 3, 3), (4, 6, 5, 3), (16, 16, 1, 1)]
    answers = []
    for shape in shapes:
        i, c, k, h = shape
        got = real(answer(*shape), "the number of parameters")
        cell = ResidualGRUCell(i, c, kernel=k, hidden_kernel=h)
        answers.append((got, sum(p.numel() for p in cell.parameters())))
    if all(got == expected for got, expected in answers):
        return
    got, expected = next((g, e) for g, e in answers if g != e)
    for slip, words in SLIPS_OF_COUNTS:
        if all(abs(g - slip(*shape)) < 1e-6 for (g, _), shape in zip(answers, shapes, strict=True)):
            raise Wrong(words)
    shape = shapes[[g != e for g, e in answers].index(True)]
    raise Wrong(f"for {shape} it says {got:,}; PyTorch counts {expected:,}. Go through the table's five rows")


def _field_side():
    def field_side(kernels, strides):
        side, step = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            side += (kernel - 1) * step
            step *= stride
        return side

    return field_side


def _early(kernels, strides):
    side, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        step *= stride
        side += (kernel - 1) * step
    return side


def _product(numbers_):
    product = 1
    for number in numbers_:
        product *= number
    return product


SLIPS_OF_SIDES = (
    (
        _early,
        "a layer's own stride does not widen its own view, only that of the layers behind it; widen the step last",
    ),
    (lambda k, s: _field_side()(k[::-1], s[::-1]), "you go through the layers from the last to the first"),
    (lambda k, s: 1 + sum(n - 1 for n in k), "the strides are not in it; behind a stride of 2 a step is two pixels"),
    (
        lambda k, s: _field_side()(k, [2] * len(k)),
        "you take every stride to be 2; the strides are given, and may be others",
    ),
    (lambda k, s: _product(s), "that is how many pixels a position stands for; it sees more, for the kernels overlap"),
    (lambda k, s: _product(k), "kernels do not multiply; each adds (kernel - 1) steps"),
    (lambda k, s: _field_side()(k, s) - 1, "one pixel too few: with no layer at all an output sees one, itself"),
    (
        lambda k, s: 1 + sum((n - 1) * t for n, t in zip(k, [1, *s], strict=False)),
        "strides multiply: behind two strides of 2 a step is four pixels",
    ),
    (
        lambda k, s: 1 + sum(n * t for n, t in zip(k, [_product(s[:j]) for j in range(len(s))], strict=True)),
        "a kernel of 3 adds two steps, not three: the middle was there already",
    ),
)


@exercise("03.3", "the view, by arithmetic", _field_side)
def field_side(answer):
    chains = [
        ([3], [1]),
        ([3, 3, 3, 3], [2, 2, 2, 2]),
        ([5, 3], [1, 2]),
        ([7, 1, 3, 5], [2, 3, 1, 2]),
        ([4, 9], [3, 2]),
    ]
    answers = [real(answer(list(k), list(s)), "the side") for k, s in chains]
    expected = [_field_side()(k, s) for k, s in chains]
    if answers == expected:
        return
    for slip, words in SLIPS_OF_SIDES:
        if all(got == slip(k, s) for got, (k, s) in zip(answers, chains, strict=True)):
            raise Wrong(words)
    j = [got == side for got, side in zip(answers, expected, strict=True)].index(False)
    kernels, strides = chains[j]
    raise Wrong(f"for kernels {kernels} and strides {strides} it says {answers[j]}; by gradient it is {expected[j]}")
