"""Every kind of picture becomes the same photo, and whatever is none is refused in one sentence that names it."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from rgru_lab import images
from rgru_lab.images import PictureError

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)
WHITE = [255, 255, 255]


def _file(picture, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _palette():
    picture = Image.new("P", (2, 2))
    picture.putpalette(COLOURS.ravel().tolist())
    picture.putdata([0, 1, 2, 3])
    return picture


def _chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _claim(width, height) -> bytes:
    """A PNG of a few bytes that claims any size."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", zlib.compress(bytes(100))) + _chunk(b"IEND", b"")
    )


def _refusal(function, *arguments) -> str:
    """The message of a `PictureError`, which must be one sentence on one line."""
    with pytest.raises(PictureError) as error:
        function(*arguments)
    message = str(error.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


def test_an_rgb_picture_is_read_as_it_is_from_path_or_bytes(tmp_path):
    data = _file(Image.fromarray(COLOURS))
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png", str(tmp_path / "a.png")):
        photo = images.load(source)
        assert photo.dtype == np.uint8
        assert np.array_equal(photo, COLOURS)


def test_a_loaded_photo_may_be_written_to():
    images.load(_file(Image.fromarray(COLOURS)))[0, 0, 0] = 1


def test_a_grey_picture_has_three_equal_channels():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photo = images.load(_file(Image.fromarray(grey)))
    assert np.array_equal(photo, np.repeat(grey[:, :, None], 3, axis=2))


def test_a_palette_becomes_its_colours():
    assert np.array_equal(images.load(_file(_palette())), COLOURS)


def test_a_transparent_palette_entry_becomes_white():
    photo = images.load(_file(_palette(), transparency=1))
    assert photo[0, 1].tolist() == WHITE
    photo[0, 1] = COLOURS[0, 1]
    assert np.array_equal(photo, COLOURS)


@pytest.mark.parametrize("alpha", [0, 1, 100, 128, 254, 255])
def test_transparency_is_laid_on_white(alpha):
    colour = np.array([200, 100, 0])
    rgba = np.full((2, 2, 4), [*colour, alpha], np.uint8)
    expected = colour * alpha / 255 + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(images.load(_file(Image.fromarray(rgba))), np.broadcast_to(expected, (2, 2, 3)), atol=1)


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparent_grey_is_laid_on_white(alpha):
    picture = Image.new("LA", (2, 2), (40, alpha))
    expected = 40 * alpha / 255 + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(images.load(_file(picture)), np.full((2, 2, 3), expected), atol=1)


def test_sixteen_bit_grey_is_divided_by_257_and_rounded():
    deep = np.array([[0, 128, 129, 257], [385, 386, 32_896, 65_535]], np.uint16)
    photo = images.load(_file(Image.fromarray(deep)))
    assert photo[:, :, 0].tolist() == [[0, 0, 1, 1], [1, 2, 128, 255]]
    assert (photo == photo[:, :, :1]).all()


def test_of_sixteen_bit_colour_the_high_byte_is_taken():
    """Pillow reads no more of it; that is at most one level under the rounded value."""
    deep = np.array([[[0, 128, 129], [385, 386, 65_535]]], ">u2")
    row = b"\x00" + deep.tobytes()
    ihdr = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", zlib.compress(row)) + _chunk(b"IEND", b"")
    assert images.load(data).tolist() == [[[0, 0, 0], [1, 1, 255]]]


@pytest.mark.parametrize(
    ("kind", "row", "transparent", "expected"),
    [
        (0, [5 * 257, 200 * 257, 1], [200 * 257], [5, 255, 0]),
        (2, [[770, 0, 65_535], [128, 257, 40_000], [1, 2, 3]], [128, 257, 40_000], [[3, 0, 255], WHITE, [0, 0, 0]]),
        (2, [[128] * 3, [128 * 256] * 3, [999] * 3], [128, 128, 128], [WHITE, [128] * 3, [3] * 3]),
    ],
    ids=["grey", "colour", "dark"],
)
def test_a_transparent_level_of_sixteen_bits_is_laid_on_white(kind, row, transparent, expected):
    line = b"\x00" + np.array(row, ">u2").tobytes()
    key = _chunk(b"tRNS", np.array(transparent, ">u2").tobytes())
    ihdr = _chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, kind, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + ihdr + key + _chunk(b"IDAT", zlib.compress(line)) + _chunk(b"IEND", b"")
    expected = np.broadcast_to(np.array(expected).reshape(3, -1), (3, 3))
    assert images.load(data)[0].tolist() == expected.tolist()


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cameras_rotation_is_applied(kind, orientation, quarters):
    """Orientation 6 is a picture that must be turned clockwise by a quarter, 8 the other way, 3 by half."""
    stored = np.kron(np.array([[0, 255], [120, 60], [200, 30]], np.uint8), np.ones((8, 8), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if kind == "JPEG" else {}
    photo = images.load(_file(Image.fromarray(stored), kind, exif=exif, **options))
    np.testing.assert_allclose(photo[:, :, 0].astype(int), np.rot90(stored, quarters).astype(int), atol=3)


def test_a_cmyk_jpeg_becomes_rgb():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    photo = images.load(_file(red, "JPEG", quality=95))
    np.testing.assert_allclose(photo.astype(int), np.broadcast_to([255, 0, 0], (16, 16, 3)), atol=5)


def test_a_one_bit_picture_is_black_and_white():
    picture = Image.new("1", (2, 1))
    picture.putdata([0, 1])
    assert images.load(_file(picture)).tolist() == [[[0, 0, 0], WHITE]]


def test_of_an_animation_the_first_frame_is_taken():
    first, second = (Image.new("RGB", (4, 4), c) for c in ((255, 0, 0), (0, 0, 255)))
    photo = images.load(_file(first, "GIF", save_all=True, append_images=[second]))
    assert (photo == [255, 0, 0]).all()


def test_a_missing_file_is_named(tmp_path):
    assert "there is no file" in _refusal(images.load, tmp_path / "nowhere.png")
    assert "nowhere.png" in _refusal(images.load, tmp_path / "nowhere.png")


def test_a_folder_is_no_picture(tmp_path):
    assert f"{tmp_path} is a folder" in _refusal(images.load, tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"Dear Sir or Madam,\nthis is text.\n", "is not a picture"),
        (bytes(1000), "is not a picture"),
    ],
    ids=["empty", "text", "zeros"],
)
def test_a_file_that_is_no_picture_is_named(tmp_path, data, message):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    assert f"holiday.png {message}" in _refusal(images.load, path)


def test_bytes_that_are_no_picture_are_refused_without_a_name():
    assert "the picture is not a picture that Pillow can read" in _refusal(images.load, b"text")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_was_cut_short_is_refused(tmp_path, noise, kind, share):
    data = _file(Image.fromarray(noise(64, 64)), kind)
    path = tmp_path / "holiday.img"
    path.write_bytes(data[: int(share * len(data))])
    assert "holiday.img is damaged or cut short" in _refusal(images.load, path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (10_000, 10_000), (5000, 5000), (4000, 4001), (65_536, 1)], ids=str
)
def test_a_few_bytes_that_claim_a_huge_picture_are_refused(tmp_path, width, height):
    """30 000 is over Pillow's own limit, 10 000 where it warns, the others only over the kit's."""
    path = tmp_path / "bomb.png"
    path.write_bytes(_claim(width, height))
    message = _refusal(images.load, path)
    assert "bomb.png" in message
    assert "16 megapixels" in message
    assert "scale it down" in message


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (np.full((4, 4, 3), np.nan), ["uint8", "float64", "NaN"]),
        (np.zeros((4, 4, 3), np.float32), ["uint8", "float32"]),
        (np.zeros((4, 4, 3), np.uint16), ["uint8", "uint16"]),
        (np.zeros((4, 4), np.uint8), ["(H, W, 3)", "(4, 4)"]),
        (np.zeros((4, 4, 4), np.uint8), ["(H, W, 3)", "(4, 4, 4)"]),
        (np.zeros((3, 4, 4), np.uint8), ["(H, W, 3)", "(3, 4, 4)"]),
        (np.zeros((0, 4, 3), np.uint8), ["(H, W, 3)", "(0, 4, 3)"]),
        ([[1, 2, 3]], ["numpy array", "list"]),
        ("photo.jpg", ["numpy array", "str", "load"]),
        (np.broadcast_to(np.zeros(3, np.uint8), (4001, 4000, 3)), ["4000 x 4001 px", "16 megapixels"]),
        (np.broadcast_to(np.zeros(3, np.uint8), (1, 65_536, 3)), ["65536 x 1 px", "65500 px"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else f"{getattr(value, 'dtype', '')}{np.shape(value)}",
)
def test_what_is_no_photo_is_refused_by_what_is_wrong_with_it(photo, words):
    message = _refusal(images.check_photo, photo)
    assert all(word in message for word in words)


def test_a_photo_at_the_limit_is_taken():
    photo = np.broadcast_to(np.zeros(3, np.uint8), (4000, 4000, 3))
    assert images.check_photo(photo) is photo


def test_all_256_levels_survive_the_way_to_a_tensor_and_back():
    photo = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    x = images.to_tensor(photo)
    assert x.shape == (1, 3, 16, 16)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (0, 1)
    assert np.array_equal(images.to_photo(x), photo)


def test_the_networks_see_a_photo_around_zero_and_whole_positions(noise):
    photo = noise(17, 30)
    photo[0, 0], photo[0, 1] = 0, 255
    x = images.centred(photo)
    assert x.shape == (1, 3, 32, 32)
    assert (x[..., 0, 0].tolist(), x[..., 0, 1].tolist()) == ([[-0.5] * 3], [[0.5] * 3])
    assert torch.equal(images.crop(x, 17, 30), images.to_tensor(photo) - 0.5)


def test_channels_and_axes_keep_their_places():
    x = images.to_tensor(COLOURS)
    assert x[0, :, 1, 1].mul(255).round().tolist() == [10, 20, 30]
    assert np.array_equal(images.to_photo(x), COLOURS)


def test_to_photo_rounds_to_the_nearest_level():
    x = torch.tensor([99.6, 100.4, 100.6]).reshape(1, 3, 1, 1) / 255
    assert images.to_photo(x).tolist() == [[[100, 100, 101]]]


@pytest.mark.parametrize(("value", "word"), [(-0.01, "-0.010"), (1.01, "1.010"), (float("nan"), "nan")])
def test_to_photo_refuses_values_outside_0_to_1(value, word):
    x = torch.full((1, 3, 4, 4), 0.5)
    x[0, 1, 2, 3] = value
    assert word in _refusal(images.to_photo, x)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4)], ids=str)
def test_to_photo_refuses_another_shape(shape):
    assert str(shape) in _refusal(images.to_photo, torch.zeros(shape))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 32), (17, 15)])
def test_padding_repeats_the_last_row_and_column_and_cropping_undoes_it(noise, height, width):
    x = images.to_tensor(noise(height, width))
    padded = images.pad_to_grid(x)
    h, w = images.grid_size(height, width)
    assert padded.shape == (1, 3, 16 * h, 16 * w)
    assert torch.equal(images.crop(padded, height, width), x)
    assert torch.equal(padded[:, :, -1, -1], x[:, :, -1, -1])


def test_a_png_gives_back_every_pixel(tmp_path, noise):
    photo = noise(20, 30)
    images.save_png(photo, tmp_path / "a.png")
    assert np.array_equal(images.load(tmp_path / "a.png"), photo)


@pytest.mark.parametrize(("below", "names"), [(True, ["a.png", "b.JPG"]), (False, ["b.JPG"])])
def test_the_pictures_of_a_folder_are_found_by_their_endings(tmp_path, below, names):
    (tmp_path / "a").mkdir()
    for name in ("a/a.png", "b.JPG", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images.paths_in(tmp_path, below=below)] == names
