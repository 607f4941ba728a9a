"""Exercises of lesson 05, the decoder."""

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from rgru_lab.config import ModelConfig
from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import SWAPPED, given, pictures_of
from rgru_lab.model import Decoder, DecoderState


def _tensor(got, expected, what):
    """The answer itself if it is a tensor of the right shape, else what it is instead."""
    if not isinstance(given(got), torch.Tensor):
        raise Wrong(f"it returns a {type(got).__name__}; {what} is a tensor of shape {tuple(expected.shape)}")
    if got.shape != expected.shape:
        raise Wrong(f"it returns the shape {tuple(got.shape)}; {what} has {tuple(expected.shape)}")
    return got


def _depth_to_space():
    def depth_to_space(x):
        B, C, h, w = x.shape
        return x.reshape(B, C // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(B, C // 4, 2 * h, 2 * w)

    return depth_to_space


class _WithoutShuffle(TorchFunctionMode):
    """Refuses PyTorch's own depth-to-space, by whatever name it is called."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.pixel_shuffle:
            raise Wrong("this is PyTorch's own `pixel_shuffle`; write it with `permute` and `reshape`")
        return func(*args, **(kwargs or {}))


@exercise("05.1", "depth to space", _depth_to_space)
def depth_to_space(answer):
    x = torch.randn(2, 12, 3, 5)
    expected = F.pixel_shuffle(x, 2)
    with _WithoutShuffle():
        got = answer(x.clone())
    if isinstance(got, torch.Tensor) and got.shape == x.shape:
        raise Wrong("it returns the shape it got; four channels at a place should become 2 x 2 places of one channel")
    if isinstance(got, torch.Tensor) and got.shape == (2, 3, 3, 2, 5, 2):
        raise Wrong("the axes are in the right order; one reshape to (B, C // 4, 2 * h, 2 * w) is missing")
    got = _tensor(got, expected, "the result")
    if torch.allclose(got, expected, atol=1e-6):
        return
    axes = x.view(2, 3, 2, 2, 3, 5)
    if torch.allclose(got, axes.reshape(2, 3, 6, 10), atol=1e-6):
        raise Wrong("reshape alone tears the picture apart; first permute, so that place and row in the block meet")
    if torch.allclose(got, axes.permute(0, 1, 4, 3, 5, 2).reshape(2, 3, 6, 10), atol=1e-6):
        raise Wrong("row and column within the block are exchanged: channel 1 goes to the right, channel 2 below")
    if torch.allclose(got, x.view(2, 2, 2, 3, 3, 5).permute(0, 3, 4, 1, 5, 2).reshape(2, 3, 6, 10), atol=1e-6):
        raise Wrong("it takes channels that lie C/4 apart for one block; the block's four channels are neighbours")
    if torch.allclose(got, axes.permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 6, 10), atol=1e-6):
        raise Wrong("the picture is there four times, small; place must count slowly and row in the block quickly")
    if torch.allclose(got, axes.permute(0, 1, 4, 2, 3, 5).reshape(2, 3, 6, 10), atol=1e-6):
        raise Wrong("the rows are right; columns need the same: place across, then column in the block")
    if torch.allclose(got[:, :, ::2, ::2], got[:, :, 1::2, 1::2]):
        raise Wrong("all pixels of a block are alike; each of its four channels should give one of them")
    raise Wrong("the shape is right, the numbers are not at their places; try it on channels 0, 1, 2, 3 of one place")


def _receive():
    def receive(decoder, planes):
        state, pictures = None, []
        for bits in planes:
            picture, state = decoder(bits, state)
            pictures.append(picture)
        return pictures

    return receive


class _Watched(Decoder):
    """A decoder that notices a tensor in the place of its memory: a picture, or at first what stands for nothing."""

    called = False

    def forward(self, bits, state=None):
        if isinstance(state, torch.Tensor):
            raise Wrong(SWAPPED if self.called else "the first memory is a tensor; begin with `state = None`")
        self.called = True
        return super().forward(bits, state)


@exercise("05.2", "the receiver", _receive)
def receive(answer):
    decoder = _Watched(ModelConfig((4, 4, 4, 4), (8, 8, 8, 8, 8), bits=4, alpha_x=1.0))
    planes = [torch.randn(1, 4, 2, 3).sign() for _ in range(3)]
    with torch.no_grad():
        expected = _receive()(decoder, planes)
        decoder.called = False
        got = given(answer(decoder, [bits.clone() for bits in planes]))
        if isinstance(got, torch.Tensor) and got.shape == expected[0].shape:
            raise Wrong("it returns one picture; wanted is a list of all, P[1], P[2] and so on")
        if isinstance(got, torch.nn.Module):
            raise Wrong("it returns the decoder itself; wanted is the list of the pictures that it paints")
        got = pictures_of(got)
        if not got:
            raise Wrong("it returns an empty list; append each picture")
        if len(got) != len(planes):
            raise Wrong(f"for {len(planes)} sets of bits it returns {len(got)} things; wanted is one picture for each")
        if isinstance(got[0], DecoderState):
            raise Wrong(SWAPPED)
        if isinstance(got[0], tuple):
            raise Wrong("the list holds what the decoder returns, pairs; keep the picture and carry the memory on")
        for k, picture in enumerate(got):
            if isinstance(picture, torch.Tensor) and picture.shape == planes[0].shape:
                raise Wrong("the list holds bits; send each through the decoder to get its picture")
            _tensor(picture, expected[k], "each picture")
        if all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, expected, strict=True)):
            return
        if all(torch.allclose(a, decoder(b)[0], atol=1e-5) for a, b in zip(got, planes, strict=True)):
            raise Wrong("each picture is made with an empty memory; give the decoder the state that it returned before")
        if all(torch.allclose(a, sum(expected[: k + 1]), atol=1e-5) for k, a in enumerate(got)):
            raise Wrong("the pictures are added up; P[i] is what the decoder returns, its memory does the rest")
        if all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, expected[::-1], strict=True)):
            raise Wrong("the pictures are there, the last one first; P[1] belongs to the front")
        raise Wrong(
            "there are as many pictures as there should be, but not the right ones; does the state pass each turn?"
        )


def _flatten():
    def flatten(x):
        B, C, h, w = x.shape
        groups = x.reshape(B, C // 4, 4, h, w)
        return groups.mean(dim=2, keepdim=True).expand_as(groups).reshape(B, C, h, w)

    return flatten


@exercise("05.3", "take the detail away", _flatten)
def flatten(answer):
    x = torch.randn(2, 12, 4, 6)
    expected = _flatten()(x)
    got = answer(x.clone())
    if isinstance(got, torch.Tensor) and got.shape == (2, 3, 4, 6):
        raise Wrong("it returns one channel for each group; repeat each mean four times, so that the shape stays")
    got = _tensor(got, expected, "the result")
    if torch.allclose(got, expected, atol=1e-5):
        return
    if torch.allclose(got, x):
        raise Wrong("it returns its input unchanged; each group of four channels should become its mean")
    if torch.allclose(got, x.mean(dim=1, keepdim=True).expand_as(x), atol=1e-5):
        raise Wrong("the mean is over all channels; take it over groups of four, 0 to 3, 4 to 7 and so on")
    if torch.allclose(got, 4 * expected, atol=1e-5):
        raise Wrong("it holds the sum of four channels; the mean is a quarter of that")
    if torch.allclose(got, expected[:, ::4].repeat(1, 4, 1, 1), atol=1e-5):
        raise Wrong("the means are right, but in the order a b c a b c; each should stand four times in a row")
    if torch.allclose(got, x.view(2, 4, 3, 4, 6).mean(1).repeat(1, 4, 1, 1), atol=1e-5):
        raise Wrong("a group is made of channels that lie C/4 apart; its four channels should be neighbours")
    if torch.allclose(got, x.mean(dim=(2, 3), keepdim=True).expand_as(x), atol=1e-5):
        raise Wrong("the mean is over the places of a channel; take it over four channels at each place")
    raise Wrong("the shape is right, the numbers are not: channels 0 to 3 should all hold their mean")
