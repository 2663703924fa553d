import hashlib

import numpy as np
import torch

from condcli.data import open_data


def everything(split):
    probe_set = open_data("digits", split=split, samples=None, normalize="none")
    inputs, targets = next(probe_set.batches(10_000))
    return probe_set, inputs, targets


def test_the_digits_are_the_known_ones():
    probe_set, inputs, targets = everything("all")
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(targets.numpy()).tolist() == counts
    assert probe_set.classes == 10
    pixels = (inputs.double() * 16).numpy()
    assert (pixels == pixels.astype(np.uint8)).all()
    content = pixels.astype(np.uint8).tobytes() + targets.numpy().astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest() == (
        "65e5b4619795efb40c1082f4c350c049e4ad552200d369b6ae99e21eef5e72c5"
    )


def test_training_and_test_digits_are_the_whole_in_order():
    _, inputs, targets = everything("all")
    parts = [everything(split) for split in ("train", "test")]
    assert [part[0].total for part in parts] == [1500, 297]
    assert torch.equal(torch.cat([part[1] for part in parts]), inputs)
    assert torch.equal(torch.cat([part[2] for part in parts]), targets)


def test_the_usual_normalisation_is_the_training_digits_own():
    _, inputs, _ = everything("train")
    probe_set = open_data("digits", samples=None)
    assert probe_set.split == "train"
    assert probe_set.normalize == f"mean {inputs.mean():.4f}, std {inputs.std():.3f}"
    normalised, _ = next(probe_set.batches(1500))
    assert abs(normalised.mean().item()) < 1e-3
    assert abs(normalised.std().item() - 1) < 1e-3
