"""Bits for a model of the bits to learn from: which crops, how deep, and that positions stop where they should."""

import numpy as np
import pytest

from rgru_lab import bitdata, codec, images, losses
from rgru_lab.config import InputError, TrainingError


@pytest.fixture(scope="module")
def paths(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee", "rocket"):
        images.save_png(sample(name, 256, 272), folder / f"{name}.png")
    return sorted(folder.iterdir())


def _collected(weights, paths, **options):
    return list(bitdata.collect(weights.model, paths, seconds=0, **options))


def test_a_crop_of_each_depth_whatever_the_time(weights, paths):
    crops = _collected(weights, paths)
    assert [len(crop) for crop in crops] == list(bitdata.DEPTHS)
    assert all(crop.shape[1:] == (32, 16, 16) and crop.dtype == np.int8 and (crop != 0).all() for crop in crops)
    assert all(np.array_equal(a, b) for a, b in zip(crops, _collected(weights, paths), strict=True))


def test_in_the_share_that_is_asked_for_positions_stop(weights, paths, monkeypatch):
    monkeypatch.setattr(losses, "GOOD_ENOUGH", (0.7, 0.9))  # random weights make no good pictures
    crops = _collected(weights, paths, adaptive=1.0)
    assert any((crop == 0).any() for crop in crops)
    for crop in crops:
        sent = crop.any(axis=1)
        assert np.array_equal(crop != 0, np.repeat(sent[:, None], 32, axis=1))
        assert sent[0].all()
        assert not (sent[1:] & ~sent[:-1]).any()
    some = _collected(weights, paths, adaptive=0.5)
    assert 0 < sum((crop == 0).any() for crop in some) < len(crops)


def test_positions_stop_after_the_iteration_that_was_enough(weights, sample):
    photo = sample("coffee", 128, 128)
    (first, frame), (second, _) = codec.encode(weights.model, photo, 2)
    far = losses.Similarity(images.centred(photo)).local_unlikeness(images.centred(frame))[0]
    enough = far.median()
    planes = bitdata.codes_of(weights.model, photo, 2, enough=enough)
    assert np.array_equal(planes[1].any(axis=0), (far > enough).numpy())
    assert np.array_equal(bitdata.codes_of(weights.model, photo, 2), [first, second])


def test_pictures_that_cannot_be_read_or_are_small_are_passed_over(weights, paths, tmp_path, sample, monkeypatch):
    monkeypatch.setattr(bitdata, "DEPTHS", (1, 1))
    torn, small = tmp_path / "torn.png", tmp_path / "small.png"
    torn.write_bytes(paths[0].read_bytes()[:1000])
    images.save_png(sample("coffee", 255, 272), small)
    assert [crop.shape for crop in _collected(weights, [torn, small, paths[0]])] == [(1, 32, 16, 16)] * 2
    with pytest.raises(TrainingError, match="none of the pictures can be read and has 256 px on both sides"):
        _collected(weights, [torn, small])


@pytest.mark.parametrize("rows", [slice(16, 48), slice(0, 20)], ids=["tall", "low"])
def test_the_middle_of_a_picture_is_validated_on(weights, tmp_path, sample, monkeypatch, rows):
    monkeypatch.setattr(bitdata, "VALIDATION_SIDE", 32)
    photo = sample("coffee", rows.start + rows.stop, 96)
    images.save_png(photo, tmp_path / "photo.png")
    middle = bitdata.codes_of(weights.model, photo[rows, 32:64], 16)
    assert np.array_equal(bitdata.validation_codes(weights.model, tmp_path / "photo.png"), middle)


@pytest.mark.parametrize(("count", "aside"), [(2, 1), (17, 6), (23, 8), (64, 8)])
def test_all_that_is_set_aside_is_validated_on(tmp_path, count, aside):
    for k in range(count):
        (tmp_path / f"{k:02}.png").touch()
    for_training, for_validation = bitdata.split(tmp_path, frozenset())
    assert (len(for_training), len(for_validation)) == (count - aside, aside)


def test_a_folder_that_is_not_there_or_has_only_pictures_to_validate_on_is_named(paths, tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        bitdata.split(tmp_path / "nowhere", frozenset())
    with pytest.raises(TrainingError, match="kept to validate on"):
        bitdata.split(paths[0].parent, frozenset(path.name for path in paths))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(weights, paths, share):
    with pytest.raises(TrainingError, match=f"adaptive is {share}"):
        _collected(weights, paths, adaptive=share)
