"""What the tests share: random but fixed weights, and pictures that need no network."""

import base64
import os
import shutil

import numpy as np
import pytest
import skimage.data
import torch

from rgru_lab import bitfloats, bitnet, model
from rgru_lab.config import TrainConfig, preset
from rgru_lab.training import Trainer
from tests.teachers import RECIPE, TINY

torch.set_num_threads(1)  # the networks here are tiny; more threads would only wait for each other


@pytest.fixture(autouse=True)
def _keep_random_state():
    """No test sees the random numbers that another one drew."""
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="session")
def browser():
    """Chromium, started once; tests that need it are skipped where it is not installed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("RGRU_LAB_BROWSER") == "required":
            pytest.fail("Chromium is required here and not installed")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pixels():
    """pixels(page, selector): what is drawn on a canvas, (H, W, 4) uint8."""
    script = """(selector) => {
        const c = document.querySelector(selector);
        const bytes = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, parts = [];
        for (let k = 0; k < bytes.length; k += 8192) parts.push(String.fromCharCode(...bytes.subarray(k, k + 8192)));
        return [c.height, c.width, btoa(parts.join(''))];
    }"""

    def read(page, selector: str) -> np.ndarray:
        height, width, data = page.evaluate(script, selector)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    return read


@pytest.fixture(scope="session")
def make_coder():
    """make_coder(config, seed=..., stochastic=...): a codec with random weights that only the seed decides."""

    def make(config=None, *, seed: int = 0, stochastic: bool = False) -> model.ResidualCoder:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return model.ResidualCoder(config or preset("micro"), stochastic).eval()

    return make


@pytest.fixture(scope="session")
def weights_path(tmp_path_factory, make_coder):
    """The file `micro-1.safetensors`."""
    path = tmp_path_factory.mktemp("models") / "micro-1.safetensors"
    model.save(make_coder(), path, record={"steps": 0, "data": ["none"]})
    return path


@pytest.fixture(scope="session")
def weights(weights_path) -> model.Weights:
    """Random weights that went through a file, as every user's have."""
    return model.load(weights_path)


@pytest.fixture(scope="session")
def make_net():
    """make_net(seed=..., bits=..., groups=...): what predicts bits, with random weights that only the seed decides."""

    def make(seed: int = 0, bits: int = 32, groups: int = 8) -> bitfloats.BitNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = bitfloats.BitNet(bits, bitfloats.BitTrainConfig(groups, hidden=24, middle=12))
            for name, value in net.named_parameters():  # some begin at zero; here they shall matter
                value.data += 0.2 * torch.randn_like(value) * name.endswith("bias")
                value.data += 0.05 * torch.randn_like(value) * name.endswith("direct")
                value.data += 0.3 * torch.randn_like(value) * name.endswith("out")
            return net.eval()

    return make


@pytest.fixture(scope="session")
def make_learned(make_net):
    """make_learned(codec=..., ...): the same in whole numbers, as files are coded with it."""

    def make(codec: bytes = bytes(range(8)), **network) -> bitnet.Learned:
        return bitnet.Learned(bitfloats.integers(make_net(**network)), codec, {"data": "none"})

    return make


@pytest.fixture(scope="session")
def sample():
    """sample(name, height, width): the top left corner of a part with detail of one of scikit-image's pictures."""

    def corner(name: str, height: int, width: int) -> np.ndarray:
        return getattr(skimage.data, name)()[60 : 60 + height, 100 : 100 + width].copy()

    return corner


@pytest.fixture(scope="session")
def noise():
    """noise(height, width): a photo of random pixels, the worst case of every codec."""

    def random(height: int, width: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return random


@pytest.fixture(scope="session")
def small_planes():
    """small_planes(count, bits, h, w): planes of random bits."""

    def random(count: int, bits: int, h: int, w: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(seed)
        return tuple(rng.integers(0, 2, (bits, h, w)).astype(np.int8) * 2 - 1 for _ in range(count))

    return random


@pytest.fixture(scope="session")
def smooth():
    """smooth(count, (K, h, w)): planes whose neighbours are alike, as a codec's are."""

    def random(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        bits, h, w = shape
        fields = rng.standard_normal((count, bits, h + 2, w + 2))
        near = sum(fields[:, :, y : y + h, x : x + w] for y in range(3) for x in range(3))
        return np.where(near + 0.3 * rng.standard_normal(near.shape) > 0, 1, -1).astype(np.int8)

    return random


@pytest.fixture(scope="session")
def pictures(sample):
    """Two photographs to train on."""
    return [sample("astronaut", 64, 80), sample("coffee", 48, 64)]


@pytest.fixture
def trainer(pictures):
    """trainer(steps=..., model=..., **changes to the recipe): a fresh one, of a tiny codec."""

    def make(*, steps=20, model=TINY, **changes):
        return Trainer(model, TrainConfig(**{**RECIPE, **changes}), pictures, steps=steps)

    return make
