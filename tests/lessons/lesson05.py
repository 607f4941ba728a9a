"""Right answers in other words, and mistakes, for the exercises of lesson 05."""

import torch
from torch.nn import functional as F

from rgru_lab.model import DecoderState


def _by_strides(x):
    out = torch.zeros(x.shape[0], x.shape[1] // 4, 2 * x.shape[2], 2 * x.shape[3])
    for k in range(4):
        out[:, :, k // 2 :: 2, k % 2 :: 2] = x[:, k::4]
    return out


def _axes(*order, split=(0, 1)):
    def answer(x):
        B, C, h, w = x.shape
        x = x.view(B, C // 4, 2, 2, h, w) if split == (0, 1) else x.view(B, 2, 2, C // 4, h, w)
        return x.permute(*order).reshape(B, C // 4, 2 * h, 2 * w)

    return answer


def _generator(decoder, planes):
    state = None
    for bits in planes:
        picture, state = decoder(bits, state)
        yield picture


def _receive(collect, *, memory=True):
    def receive(decoder, planes):
        state, pictures = None, []
        for bits in planes:
            picture, new = decoder(bits, state)
            state = new if memory else None
            pictures.append(picture)
        return collect(pictures)

    return receive


def _old_memory(decoder, planes):
    first, state = decoder(planes[0])
    return [first, *(decoder(bits, state)[0] for bits in planes[1:])]


def _swapped(decoder, planes):
    state, pictures = None, []
    for bits in planes:
        state, picture = decoder(bits, state)
        pictures.append(picture)
    return pictures


def _beginning_with(memory):
    def receive(decoder, planes):
        state, pictures = memory(decoder, planes), []
        for bits in planes:
            picture, state = decoder(bits, state)
            pictures.append(picture)
        return pictures

    return receive


def _zeros(decoder, planes):
    return DecoderState(*(torch.zeros_like(h) for h in decoder(planes[0])[1]))


def _pooled(x):
    return F.avg_pool1d(x.flatten(2).transpose(1, 2), 4).repeat_interleave(4, 2).transpose(1, 2).view_as(x)


VARIANTS = {
    "05.1": [_by_strides, _axes(0, 1, 4, 2, 5, 3)],
    "05.2": [_receive(torch.stack), _receive(tuple), _beginning_with(_zeros)],
    "05.3": [
        _pooled,
        lambda x: sum(x[:, k::4] for k in range(4)).div(4).repeat_interleave(4, dim=1),
    ],
}

MISTAKES = {
    "05.1": [
        (lambda x: F.pixel_shuffle(x, 2), "PyTorch's own"),
        (torch.nn.PixelShuffle(2), "PyTorch's own"),
        (lambda x: x, "shape it got"),
        (lambda x: x.reshape(x.shape[0], -1, 2 * x.shape[2], 2 * x.shape[3]), "tears"),
        (_axes(0, 1, 4, 3, 5, 2), "exchanged"),
        (_axes(0, 3, 4, 1, 5, 2, split=(1, 0)), "C/4 apart"),
        (_axes(0, 1, 2, 4, 3, 5), "four times"),
        (lambda x: x[:, ::4].repeat_interleave(2, 2).repeat_interleave(2, 3), "alike"),
        (lambda x: x.view(2, 3, 2, 2, 3, 5).permute(0, 1, 4, 2, 5, 3), "reshape"),
        (lambda x: x.view(2, 3, 2, 2, 3, 5).permute(0, 1, 4, 2, 3, 5).reshape(2, 3, 6, 10), "columns need the same"),
        (lambda x: _by_strides(x).flip(1), "not at their places"),
        (lambda x: x.permute(0, 2, 3, 1), "shape"),
        (lambda x: x.numpy(), "ndarray"),
    ],
    "05.2": [
        (lambda decoder, planes: planes, "holds bits"),
        (lambda decoder, planes: decoder, "decoder itself"),
        (_receive(list, memory=False), "empty memory"),
        (_receive(lambda p: p[-1]), "one picture"),
        (_receive(lambda p: p[:2]), "2 things"),
        (_receive(lambda p: p[::-1]), "last one first"),
        (_receive(lambda p: list(torch.stack(p).cumsum(0))), "added up"),
        (lambda decoder, planes: [decoder(b) for b in planes], "pairs"),
        (_generator, "return a list"),
        (_receive(lambda p: []), "append each picture"),
        (_swapped, "picture first"),
        (_beginning_with(lambda decoder, planes: torch.zeros(1, 8, 2, 3)), "begin with `state = None`"),
        (lambda decoder, planes: [decoder(b)[1] for b in planes], "picture first"),
        (_old_memory, "not the right ones"),
        (lambda decoder, planes: [p.numpy() for p in _generator(decoder, planes)], "ndarray"),
    ],
    "05.3": [
        (lambda x: x, "unchanged"),
        (lambda x: _pooled(x)[:, ::4], "one channel for each group"),
        (lambda x: x.mean(1, keepdim=True).expand_as(x), "all channels"),
        (lambda x: 4 * _pooled(x), "sum"),
        (lambda x: _pooled(x)[:, ::4].repeat(1, 4, 1, 1), "a b c"),
        (lambda x: x.view(2, 4, 3, 4, 6).mean(1).repeat(1, 4, 1, 1), "C/4 apart"),
        (lambda x: x.mean((2, 3), keepdim=True).expand_as(x), "places of a channel"),
        (lambda x: x[:, ::4].repeat_interleave(4, 1), "numbers are not"),
        (lambda x: x.mean(), "shape"),
    ],
}
