"""Patches are parts of the pictures, every place as likely as any other, or the hard ones only; folders are read."""

import numpy as np
import pytest
import torch

from rgru_lab import images, patches
from rgru_lab.images import PictureError
from rgru_lab.patches import Patches, PatchesError


def _photos(batch):
    """A batch (B, 3, H, W) in [-0.5, 0.5] as a list of photos."""
    return [images.to_photo(patch[None] + 0.5) for patch in batch]


def _places(size):
    """A picture 7 x 6 whose pixels say where they are, and how often each place and side was drawn from it."""
    picture = np.zeros((7, 6, 3), np.uint8)
    picture[:, :, 0] = np.arange(7)[:, None]
    picture[:, :, 1] = np.arange(6)
    found = {}
    for photo in _photos(Patches([picture], seed=0).draw(size, 600)):
        mirrored = bool(photo[0, 0, 1] > photo[0, -1, 1])
        photo = photo[:, ::-1] if mirrored else photo
        top, left = (int(v) for v in photo[0, 0, :2])
        assert np.array_equal(photo, picture[top : top + size, left : left + size])
        found[top, left, mirrored] = found.get((top, left, mirrored), 0) + 1
    return found


def test_patches_are_parts_of_the_picture_from_border_to_border_and_their_mirrors():
    found = _places(4)
    assert set(found) == {(top, left, m) for top in range(4) for left in range(3) for m in (False, True)}


def test_every_place_is_drawn_about_as_often():
    """600 draws from 24 places: 25 each with a standard deviation of 5."""
    assert all(5 <= count <= 45 for count in _places(4).values())


def test_a_patch_as_large_as_the_picture_is_the_picture(noise):
    picture = noise(16, 16)
    found = _photos(Patches([noise(8, 8), picture], seed=0).draw(16, 20))
    assert all(np.array_equal(photo, picture) or np.array_equal(photo, picture[:, ::-1]) for photo in found)


def test_patches_come_from_every_picture_that_is_large_enough_about_as_often(noise):
    dark, light, small = np.zeros((16, 16, 3), np.uint8), np.full((20, 90, 3), 255, np.uint8), noise(15, 40)
    drawn = Patches([dark, small, light], seed=0).draw(16, 200)
    assert drawn.unique().tolist() == [-0.5, 0.5]
    assert 70 <= int((drawn[:, 0, 0, 0] > 0).sum()) <= 130


def test_each_size_has_pictures_of_its_own(noise):
    """One set serves all stages of a curriculum."""
    dark, light = np.zeros((16, 16, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    both = Patches([dark, light], seed=0)
    assert both.draw(16, 40).unique().tolist() == [-0.5, 0.5]
    assert both.draw(32, 40).unique().tolist() == [0.5]


@pytest.mark.parametrize("hard", [1.0, 0.5])
def test_pictures_that_are_all_too_small_are_refused(noise, hard):
    small = Patches([noise(31, 80), noise(80, 31)], seed=0, hard=hard)
    assert len(small) == 2
    with pytest.raises(PatchesError, match="none of the 2 pictures has 32 px"):
        small.draw(32, 1)


def test_every_value_of_a_pixel_has_its_number_between_minus_and_plus_a_half():
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    drawn = Patches([ramp], seed=0).draw(16, 1)
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn.unique(), torch.arange(256) / 255 - 0.5, rtol=0, atol=1e-7)


@pytest.mark.parametrize("hard", [1.0, 0.5])
def test_patches_lie_as_the_networks_want_them(noise, hard):
    drawn = Patches([noise(40, 50)], seed=0, hard=hard).draw(16, 3)
    assert drawn.shape == (3, 3, 16, 16)
    assert drawn.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("hard", [1.0, 0.3])
def test_the_generators_state_brings_the_same_patches_again(noise, hard):
    pictures = [noise(70, 90), noise(40, 40, seed=1)]
    first, second, other = (Patches(pictures, seed=seed, hard=hard) for seed in (0, 0, 1))
    assert torch.equal(first.draw(16, 8), second.draw(16, 8))
    assert not torch.equal(second.draw(16, 8), other.draw(16, 8))
    torch.rand(5)  # nothing that others draw matters
    state = second.generator.get_state()
    expected = [second.draw(32, 4), second.draw(16, 4)]
    other.generator.set_state(state)
    assert all(map(torch.equal, [other.draw(32, 4), other.draw(16, 4)], expected))


@pytest.fixture
def chequered(noise):
    """A photo of 4 x 5 tiles of 16 px and a rest at right and bottom; returns it and its six noisy tiles' corners."""
    hard = [(0, 0), (0, 64), (16, 32), (32, 48), (48, 0), (48, 64)]
    photo = np.zeros((70, 91, 3), np.uint8)
    photo[:, :, 0] = np.arange(91)  # a slope, which PNG holds in a few bytes
    photo[64:], photo[:, 80:] = noise(6, 91), noise(70, 11)  # what belongs to no tile
    for top, left in hard:
        photo[top : top + 16, left : left + 16] = noise(16, 16, seed=100 * top + left)
    return photo, hard


def test_hard_patches_are_exactly_the_tiles_that_png_compresses_worst(chequered):
    photo, hard = chequered
    tiles = {(top, left): photo[top : top + 16, left : left + 16] for top, left in hard}
    found = set()
    for patch in _photos(Patches([photo], seed=0, hard=6 / 20).draw(16, 200)):
        same = [k for k, tile in tiles.items() if any(np.array_equal(patch, t) for t in (tile, tile[:, ::-1]))]
        assert len(same) == 1
        found.add((*same[0], np.array_equal(patch, tiles[same[0]])))
    assert found == {(*corner, straight) for corner in hard for straight in (True, False)}


def test_every_picture_gives_its_own_share_of_hard_tiles_and_one_at_least(chequered):
    photo, _ = chequered
    flat = np.full((16, 48, 3), 200, np.uint8)
    drawn = Patches([photo, flat], seed=0, hard=0.1).draw(16, 300)
    levels = drawn.flatten(1).std(1)
    assert int((levels == 0).sum()) > 50  # the flat picture's one place of three: 3 to 2 against it
    assert int((levels > 0).sum()) > 100


@pytest.fixture
def folder(tmp_path, noise):
    """b.png, then sub/a.PNG, a damaged file, a text and two to leave out."""
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(("b.png", "sub/a.PNG", "kodim01.png", "sub/kodim02.png")):
        (tmp_path / name).write_bytes(images.encode_png(noise(8, 8, seed=i)))
    (tmp_path / "damaged.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    return tmp_path


def test_all_readable_pictures_of_a_folder_are_found_but_those_to_leave_out(folder, noise):
    found = patches.pictures_in(folder, leave_out=frozenset({"kodim01.png", "kodim02.png"}))
    assert len(found.photos) == 2
    assert all(np.array_equal(photo, noise(8, 8, seed=i)) for i, photo in enumerate(found.photos))
    assert (found.unreadable, found.left_out, found.beyond_limit) == (["damaged.png"], 2, 0)
    assert str(found) == "2 pictures, 2 kept for validation, 1 unreadable (damaged.png)"
    many = found._replace(unreadable=["a.png", "b.png", "c.png", "d.png"])
    assert str(many).endswith("4 unreadable (a.png, b.png, c.png, …)")


def test_pictures_beyond_the_limit_are_counted(folder, monkeypatch):
    monkeypatch.setattr(patches, "FOLDER_LIMIT_BYTES", 8 * 8 * 3)
    found = patches.pictures_in(folder)
    assert (len(found.photos), found.unreadable, found.beyond_limit) == (1, ["damaged.png"], 3)


def test_progress_is_shown_over_the_paths(folder):
    seen = []
    patches.pictures_in(folder, progress=lambda paths: seen.extend(paths) or paths)
    assert [p.name for p in seen] == ["b.png", "damaged.png", "kodim01.png", "a.PNG", "kodim02.png"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PictureError, match=r"no folder .*nowhere"):
        patches.pictures_in(tmp_path / "nowhere")


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(PatchesError, match="holds no readable picture"):
        patches.pictures_in(tmp_path)


def test_a_folder_of_validation_photographs_alone_is_called_that(folder):
    names = frozenset(path.name for path in folder.rglob("*"))
    with pytest.raises(PatchesError, match=r"are kept to validate on \(data/validation.txt\); add others"):
        patches.pictures_in(folder, leave_out=names)
