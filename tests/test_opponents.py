"""The opponents are honest: JPEG with optimised tables, WebP at its slowest, and the best that the question allows."""

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, features

from rgru_lab import metrics
from rgru_lab.config import InputError
from rgru_lab.images import PictureError
from rgru_lab.opponents import CODECS, Ladder, jpeg_between


@pytest.fixture(scope="module")
def ladder(sample):
    return Ladder(sample("astronaut", 176, 176))


def _opened(rung):
    return Image.open(io.BytesIO(rung.data))


def test_there_is_one_rung_for_each_quality(ladder):
    assert [rung.quality for rung in ladder.rungs] == list(range(1, 101))


def test_every_rung_is_a_baseline_jpeg_with_4_2_0_chroma_and_no_metadata(ladder):
    for rung in ladder.rungs:
        picture = _opened(rung)
        assert picture.format == "JPEG"
        assert JpegImagePlugin.get_sampling(picture) == 2
        assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_every_rung_has_tables_of_its_own_that_make_it_smaller(ladder):
    for rung in ladder.rungs:
        buffer = io.BytesIO()
        Image.fromarray(ladder.original).save(buffer, "JPEG", quality=rung.quality, subsampling="4:2:0")
        assert rung.size_bytes < len(buffer.getvalue())


@pytest.mark.parametrize("codec", CODECS)
def test_a_grey_photo_is_written_without_colour(sample, codec):
    photo = sample("astronaut", 64, 80)
    grey = np.repeat(photo[:, :, :1], 3, axis=2)
    rung = Ladder(grey, codec)[60]
    assert rung.photo.shape == grey.shape
    assert metrics.psnr_db(grey, rung.photo) > 25
    if rung.codec.startswith("jpeg"):
        assert _opened(rung).mode == "L"
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, **CODECS[codec].told(60))
        assert rung.size_bytes < len(buffer.getvalue())
    tinted = grey.copy()
    tinted[3, 5, 2] ^= 1  # one pixel of another colour
    assert _opened(Ladder(tinted, codec)[60]).mode == "RGB"


@pytest.mark.parametrize(
    ("quality", "steps"), [(50, (16, 135, 255)), (25, (32, 255, 255)), (75, (8, 68, 209)), (100, (1, 1, 1))]
)
def test_a_quality_scales_mozjpegs_table_as_libjpeg_scales_the_standards(ladder, quality, steps):
    """By hand, of the places (0, 0), (2, 7) and (7, 7) for 16, 135 and 418; brightness and colour alike."""
    tables = _opened(Ladder(ladder.original, "jpeg-mozjpeg-table")[quality]).quantization
    assert tables[0] == tables[1]
    assert (tables[0][0], tables[0][8 * 2 + 7], tables[0][8 * 7 + 7]) == steps
    assert tables[0][8 * 7 + 2] == tables[0][8 * 2 + 7]  # the same across as down


def test_mozjpegs_table_makes_smaller_files_of_the_same_quality_than_the_standards(ladder):
    theirs, standard = (Ladder(ladder.original, codec) for codec in ("jpeg-mozjpeg-table", "jpeg"))
    for level in (0.90, 0.95):
        assert theirs.reaching(level).size_bytes < standard.reaching(level).size_bytes
    assert standard[60].data == Ladder(ladder.original)[60].data


def test_a_rung_says_what_its_file_on_disk_is_and_decodes_to(ladder, tmp_path):
    for rung in ladder.rungs[::20]:
        path = tmp_path / f"{rung.quality}.jpg"
        path.write_bytes(rung.data)
        assert rung.size_bytes == path.stat().st_size
        assert rung.bpp == 8 * path.stat().st_size / 176**2
        assert np.array_equal(rung.photo, np.asarray(Image.open(path)))


def test_a_rungs_readings_are_those_of_its_photo(ladder):
    rung = ladder.rungs[29]
    assert rung.psnr_db == metrics.psnr_db(ladder.original, rung.photo)
    assert rung.ms_ssim == metrics.ms_ssim(ladder.original, rung.photo)
    assert rung.mean_abs_residual == metrics.mean_abs_residual(ladder.original, rung.photo)


def test_every_rung_of_webp_is_a_lossy_webp_without_metadata(webp):
    for rung in webp.rungs[::20]:
        picture = _opened(rung)
        assert picture.format == "WEBP"
        assert rung.data[12:16] == b"VP8 "  # a simple lossy file: nothing but the picture
        assert rung.size_bytes == len(rung.data)
        assert np.array_equal(rung.photo, np.asarray(picture.convert("RGB")))


def test_webp_takes_its_best_method(webp):
    buffer = io.BytesIO()
    Image.fromarray(webp.original).save(buffer, "WEBP", quality=60)
    assert webp[60].size_bytes < len(buffer.getvalue())


@pytest.mark.parametrize(
    ("codec", "progressive", "sampling"),
    [
        ("jpeg", False, 2),
        ("jpeg-default", False, 2),
        ("jpeg-progressive", True, 2),
        ("jpeg-444", False, 0),
        ("jpeg-444-default", False, 0),
        ("jpeg-444-progressive", True, 0),
    ],
)
def test_jpegs_kin_is_what_its_name_says(ladder, codec, progressive, sampling):
    for quality in (10, 50, 90):
        rung = Ladder(ladder.original, codec)[quality]
        picture = _opened(rung)
        assert bool(picture.info.get("progressive")) is progressive
        assert JpegImagePlugin.get_sampling(picture) == sampling
        plain = Ladder(ladder.original, "jpeg" if sampling else "jpeg-444")[quality]
        assert np.array_equal(rung.photo, plain.photo)
        assert not codec.endswith("default") or rung.size_bytes > plain.size_bytes


def test_avif_is_an_avif_that_spends_fewer_bytes_than_jpeg(ladder):
    avif = Ladder(ladder.original, "avif")
    assert _opened(avif[30]).format == "AVIF"
    assert avif[30].size_bytes < avif[60].size_bytes < ladder.reaching(avif[60].ms_ssim).size_bytes
    found = avif.fitting(3000)
    assert found.size_bytes <= 3000 < avif[found.quality + 10].size_bytes


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_written_at_speed_4_with_colour_at_half_size(ladder):
    def written(**settings):
        buffer = io.BytesIO()
        Image.fromarray(ladder.original).save(buffer, "AVIF", quality=60, max_threads=1, **settings)
        return buffer.getvalue()

    found = Ladder(ladder.original, "avif")[60].data
    assert found == written(speed=4, subsampling="4:2:0")
    assert found != written(speed=8, subsampling="4:2:0")
    assert found != written(speed=4, subsampling="4:4:4")


def test_a_pillow_without_avif_is_told_how_to_get_it(ladder, monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(InputError, match="this Pillow was built without AVIF; pip install --upgrade pillow"):
        Ladder(ladder.original, "avif")
    assert Ladder(ladder.original, "webp").label == "WebP"


@pytest.mark.parametrize("codec", CODECS)
def test_points_are_qualities_that_there_are_in_rising_order(codec):
    points = CODECS[codec].points
    assert set(points) <= set(CODECS[codec].qualities)
    assert list(points) == sorted(set(points))


def test_versions_name_the_library_that_did_the_work():
    assert CODECS["webp"].version == f"webp {features.version('webp')}"
    assert CODECS["jpeg"].version == CODECS["jpeg-444"].version


@pytest.mark.parametrize("picture", ["astronaut", "noise"])
@pytest.mark.parametrize("codec", ["jpeg", "jpeg-progressive", "jpeg-444-default", "webp"])
def test_fitting_is_the_largest_quality_whose_file_fits(sample, noise, codec, picture):
    """At the exact size of every rung, and one byte to either side."""
    ladder = Ladder(noise(40, 40) if picture == "noise" else sample(picture, 96, 80), codec)
    for size in {rung.size_bytes + by for rung in ladder.rungs for by in (-1, 0, 1)}:
        expected = max((rung.quality for rung in ladder.rungs if rung.size_bytes <= size), default=None)
        found = ladder.fitting(size)
        assert (found and found.quality) == expected


def test_a_match_encodes_few_of_the_hundred(sample, monkeypatch):
    save, written = Image.Image.save, []
    monkeypatch.setattr(Image.Image, "save", lambda *to, **settings: written.append(settings) or save(*to, **settings))
    Ladder(sample("astronaut", 176, 176), "webp").fitting(3000)
    assert 1 < len(written) <= 15


def test_nothing_fits_below_the_smallest_file(ladder):
    smallest = min(rung.size_bytes for rung in ladder.rungs)
    assert ladder.smallest.size_bytes == smallest
    assert ladder.fitting(smallest) is not None
    assert ladder.fitting(smallest - 1) is None
    assert ladder.fitting(0) is None


@pytest.fixture(scope="module")
def webp(sample):
    return Ladder(sample("astronaut", 176, 176), "webp")


@pytest.fixture(scope="module", params=[("astronaut", "jpeg"), ("rocket", "jpeg"), ("astronaut", "webp")])
def measured(request, sample):
    """A ladder, and the MS-SSIM of all its rungs as the metric itself says."""
    ladder = Ladder(sample(request.param[0], 176, 176), request.param[1])
    return ladder, {rung.quality: metrics.ms_ssim(ladder.original, rung.photo) for rung in ladder.rungs}


def _targets(quality_of):
    return [0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, *(quality_of[q] for q in (1, 2, 10, 17, 43, 77, 90))]


def test_reaching_gets_there_and_one_quality_less_does_not(measured):
    ladder, quality_of = measured
    for target in _targets(quality_of):
        found = ladder.reaching(target).quality
        assert quality_of[found] >= target
        assert found == min(quality_of) or quality_of[found - 1] < target


def test_reaching_is_the_least_of_all_hundred_qualities_wherever_all_above_it_get_there_too(measured):
    """MS-SSIM ripples; at most of the targets the qualities that reach them are still all those from one on."""
    ladder, quality_of = measured
    clear = 0
    for target in _targets(quality_of):
        reach = [q for q in quality_of if quality_of[q] >= target]
        if reach == list(range(reach[0], 101)):
            assert ladder.reaching(target).quality == reach[0]
            clear += 1
    assert clear >= 5


def test_no_quality_reaches_more_than_there_is(ladder):
    assert ladder.reaching(1.1) is None


def test_any_quality_reaches_nothing(ladder, webp):
    assert ladder.reaching(0.0).quality == 1
    assert webp.reaching(0.0).quality == 0


def test_a_photo_too_small_for_ms_ssim_is_matched_by_psnr(sample):
    ladder = Ladder(sample("astronaut", 40, 40))
    found = ladder.reaching(30.0, by="psnr_db")
    assert found.psnr_db >= 30.0
    assert found.size_bytes == min(rung.size_bytes for rung in ladder.rungs if rung.psnr_db >= 30.0)


def test_reaching_measures_few_of_the_hundred(sample):
    ladder = Ladder(sample("astronaut", 176, 176))
    ladder.reaching(0.97)
    assert sum("ms_ssim" in vars(rung) for rung in ladder.rungs) <= 12


def test_an_unknown_codec_and_a_photo_too_long_for_one_are_refused_in_words():
    with pytest.raises(InputError, match=r"no codec 'gif' to compare with; choose from jpeg, .*webp, avif"):
        Ladder(np.zeros((4, 4, 3), np.uint8), "gif")
    with pytest.raises(PictureError, match="WebP holds sides up to 16383"):
        Ladder(np.zeros((1, 16384, 3), np.uint8), "webp")
    with pytest.raises(IndexError, match="JPEG has no quality 0; 1 to 100 are"):
        Ladder(np.zeros((4, 4, 3), np.uint8))[0]


def test_what_is_no_photo_has_no_ladder():
    with pytest.raises(PictureError, match="float64"):
        Ladder(np.zeros((4, 4, 3)))


def _drawing(name):
    """A picture that is no photograph: (96, 128, 3) uint8."""
    across, down = np.arange(128)[None, :, None], np.arange(96)[:, None, None]
    values = {
        "flat": 200 + 0 * (across + down),
        "two colours": np.where(across // 32 % 2, [250, 20, 20], [20, 20, 250]) + 0 * down,
        "gradient": 2 * across + 0 * down,
        "squares": (across // 16 + down // 16) % 2 * 255,
    }[name]
    return np.broadcast_to(values, (96, 128, 3)).astype(np.uint8)


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
@pytest.mark.parametrize("name", ["flat", "two colours", "gradient", "squares"])
def test_of_a_drawing_too_the_opponent_gets_its_best_file(name, codec):
    """Of drawings the size does not rise with the quality, and the best file may be among the smallest."""
    ladder = Ladder(_drawing(name), codec)
    sizes = {rung.quality: rung.size_bytes for rung in ladder.rungs}
    assert ladder.smallest.size_bytes == min(sizes.values())
    for limit in {min(sizes.values()), max(sizes.values()), *list(sizes.values())[::9]}:
        assert ladder.fitting(limit).quality == max(q for q, size in sizes.items() if size <= limit)
    assert ladder.fitting(min(sizes.values()) - 1) is None
    for level in (25.0, 35.0, 45.0):
        enough = [rung.size_bytes for rung in ladder.rungs if rung.psnr_db >= level]
        found = ladder.reaching(level, by="psnr_db")
        assert (found.size_bytes if found else None) == min(enough, default=None)


def test_between_two_qualities_there_is_a_jpeg_of_nearly_any_ms_ssim(sample):
    """Its tables are the standard's times a factor, so any size in between can be had."""
    photo = sample("astronaut", 176, 176)
    low, high = (Ladder(photo)[quality] for quality in (9, 10))
    middle = (low.ms_ssim + high.ms_ssim) / 2
    found = jpeg_between(photo, middle)
    assert found.ms_ssim == pytest.approx(middle, abs=0.002)
    assert low.ms_ssim < found.ms_ssim < high.ms_ssim
    assert low.size_bytes < found.size_bytes < high.size_bytes
    whole = jpeg_between(photo, high.ms_ssim)
    assert whole.ms_ssim == pytest.approx(high.ms_ssim, abs=0.001)
    assert whole.size_bytes == pytest.approx(high.size_bytes, rel=0.02)
