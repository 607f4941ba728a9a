"""How the golden streams were made, once. To run this again is to have a new format version: see test_golden.py.

    python tests/golden/make.py

A codec `micro` with random weights codes a photograph; a very small model learns its bits; the planes are written
raw, with counts and with that model, and kept beside the files.
"""

from pathlib import Path

import numpy as np
import torch

from rgru_lab import bitdata, bitfloats, bitmodel, bitnet, bitstream, bittraining, codec, model, photos
from rgru_lab.bitmodel import Counts
from rgru_lab.config import preset

HERE = Path(__file__).parent
HEIGHT, WIDTH, ITERATIONS = 90, 131, 4


def main():
    torch.manual_seed(1)
    coder = model.ResidualCoder(preset("micro")).eval()
    photo = photos.sample("chelsea")[60 : 60 + HEIGHT, 100 : 100 + WIDTH]
    planes = tuple(plane for plane, _ in codec.encode(coder, photo, ITERATIONS))
    codes = [bitdata.codes_of(coder, photos.sample("chelsea")[:256, :256], ITERATIONS)]
    trainer = bittraining.BitTrainer(codes, bitfloats.BitTrainConfig(hidden=8, middle=8, batch=1), steps=60)
    while not trainer.finished:
        trainer.step()
    fingerprint = bytes(range(8))
    learned = bitnet.Learned(bitfloats.integers(trainer.averaged_net()), fingerprint, {"data": "chelsea"})
    bitnet.save(learned, HERE / "micro.bits")
    np.save(HERE / "planes.npy", np.packbits(np.array(planes) > 0))
    for bit_model in (None, Counts(), learned):
        header = bitstream.Header("micro-0", fingerprint, HEIGHT, WIDTH, preset("micro").bits)
        if bit_model:
            header = header._replace(coding=bit_model.coding, bit_model=bit_model.fingerprint)
        (HERE / f"{header.coding}.rgru").write_bytes(file(header, planes, bit_model))


def file(header, planes, bit_model) -> bytes:
    """With every iteration coded by this model, whether that is the shortest or not."""
    if bit_model is None:
        return bitstream.write(header, codec.Codes(HEIGHT, WIDTH, planes))
    packed, kind = header.pack(), {"counts": bitstream.COUNTED, "learned": bitstream.LEARNED}[bit_model.coding]
    payloads = (bitmodel.encode(bit_model, plane, planes[:i]) for i, plane in enumerate(planes))
    return packed + b"".join(bitstream.seal(packed, i, kind, payload) for i, payload in enumerate(payloads, start=1))


if __name__ == "__main__":
    main()
