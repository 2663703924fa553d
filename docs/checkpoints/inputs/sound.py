"""Sounds made here, each with what the network that hears it should say: notes, voices, beats."""

import math

import torch
from torch import Tensor

RATE = 16000  # samples a second
Batches = list[tuple[Tensor, Tensor]]


def notes() -> Batches:
    """256 plucked notes of 64 ms, (64, 1024) a batch, and the bin of 20 cents of their pitch."""
    draw = torch.Generator().manual_seed(0)
    pitch = 55 * 2 ** (4 * torch.rand(256, generator=draw))
    sound = harmonics(pitch, 1024, draw)
    sound = (sound - sound.mean(1, keepdim=True)) / sound.std(1, keepdim=True)
    cents = 1200 * torch.log2(pitch / 10) - 1997.3794084376191
    return batches(sound, (cents / 20).round().long(), 64)


def transforms() -> Batches:
    """128 frames of a constant-Q transform of notes, (64, 1, 251) a batch: log energies, pitches.

    Three bins a semitone from 27.5 Hz on. The network answers on a scale of its own, which is as
    fine and begins 82 bins lower.
    """
    draw = torch.Generator().manual_seed(1)
    pitch = 60 + (120 * torch.rand(128, 1, 1, generator=draw)).round()
    partial = torch.arange(1, 9)[:, None]
    centre = pitch + 36 * torch.log2(partial)
    peaks = torch.exp(-((torch.arange(251) - centre) ** 2) / 4) / partial**2
    floor = 1e-4 * torch.rand(128, 251, generator=draw) + 1e-5
    return batches((peaks.sum(1) + floor).log()[:, None], pitch.flatten().long() + 82, 64)


def speech_and_noise() -> Batches:
    """256 stretches of 36 ms, (64, 576) a batch, and 1.0 for a voice, 0.0 for noise."""
    draw = torch.Generator().manual_seed(2)
    voiced = torch.arange(256) % 2
    noise = 0.02 * torch.randn(256, 576, generator=draw)
    voices = 0.3 * vowels(100 + 120 * torch.rand(256, generator=draw), 576, draw)
    sound = noise + voiced[:, None] * voices
    return batches(sound, voiced.float()[:, None], 64)


def speech_at_both_rates() -> Batches:
    """The same with the label twice, (64, 2), for the networks of both sampling rates."""
    return [(sound, label.expand(-1, 2)) for sound, label in speech_and_noise()]


def opinions() -> Batches:
    """Four vowels of 7.7 s with pauses, (2, 122880) a batch, the last two of each in noise."""
    draw = torch.Generator().manual_seed(3)
    sound = vowels(torch.tensor([110.0, 190, 110, 190]), 122880, draw)
    syllables = torch.sin(torch.arange(122880) * (2 * math.pi * 3 / RATE)).clip(0)
    noise = torch.randn(4, 122880, generator=draw) * torch.tensor([[1e-3], [0.3], [1e-3], [0.3]])
    return batches(sound * syllables + noise, torch.tensor([[4.5], [1.5]] * 2), 2)


def speakers() -> Batches:
    """Four utterances of each of six speakers, (24, 160, 40), and whose each is."""
    draw = torch.Generator().manual_seed(4)
    owner = torch.arange(24) // 4
    pitch = (90 + 25 * owner) * (1 + 0.05 * torch.randn(24, generator=draw))
    sound = vowels(pitch, 159 * 160, draw, throat=0.85 + 0.06 * owner)
    return batches(0.03 * mel(sound, bands=40, window=400), owner, 24)


def music() -> Batches:
    """Six excerpts of four seconds at 50 frames a second, (3, 200, 272) a batch, and their beats.

    A frame is 136 log energies and how much each has grown; its label is 0 for a beat, 1 for a
    downbeat (the first of four), 2 for neither.
    """
    draw = torch.Generator().manual_seed(5)
    every = torch.tensor([20, 22, 24, 26, 28, 30])[:, None]  # frames a beat: 100 to 150 a minute
    frame = torch.arange(200)
    beat = (frame % every == 0) * (1.0 + (frame % (4 * every) == 0))
    decay = torch.exp(-(frame % every) / 4.0)[..., None]
    bands = torch.rand(6, 1, 136, generator=draw)
    energy = decay * bands * (1 + (frame // every % 4 == 0))[..., None]
    energy = torch.log10(1 + energy + 0.05 * torch.rand(6, 200, 136, generator=draw))
    growth = energy.diff(dim=1, prepend=energy[:, :1]).clip(0)
    label = torch.where(beat == 0, 2, beat.long() - 1)
    return batches(torch.cat((energy, growth), 2), label, 3)


def series() -> Batches:
    """Four series, (2, 2048) a batch, of seasons, a trend and noise; then 48 more values."""
    draw = torch.Generator().manual_seed(6)
    time = torch.arange(2048 + 48)
    period = torch.tensor([12.0, 24, 48, 7])[torch.randint(4, (4, 2), generator=draw)]
    phase, size = torch.rand(2, 4, 2, 1, generator=draw)
    waves = (size * torch.sin(2 * math.pi * (time / period[..., None] + phase))).sum(1)
    slope = torch.randn(4, 1, generator=draw) * time / 2048
    values = waves + slope + 0.1 * torch.randn(4, 2096, generator=draw)
    low, high = values[:, :2048].aminmax(dim=1, keepdim=True)
    values = (values - low) / (high - low)
    return batches(values[:, :2048], values[:, 2048:], 2)


def chirps() -> Batches:
    """Four spectrograms, (2, 1, 128, 128) a batch, and each pixel's species; 17 is silence."""
    draw = torch.Generator().manual_seed(7)
    image = 0.1 * torch.rand(4, 1, 128, 128, generator=draw)
    label = torch.full((4, 128, 128), 17)
    for number in range(4):
        for start in range(10, 110, 40):
            rows = 100 - 3 * torch.arange(16) - 5 * number
            image[number, 0, rows, start + torch.arange(16)] += 1.0
            label[number, rows, start + torch.arange(16)] = number
    return batches(image, label, 2)


def vowels(
    pitch: Tensor, samples: int, draw: torch.Generator, throat: Tensor | float = 1.0
) -> Tensor:
    """Vowels (N, samples) of such pitches (N,) in Hz, by two formants that move with the throat."""
    phase = 2 * math.pi * torch.rand(len(pitch), 30, 1, generator=draw)
    partial = torch.arange(1, 31)[:, None] * pitch[:, None, None]
    formants = torch.tensor([700.0, 1200.0]) * torch.as_tensor(throat).reshape(-1, 1, 1)
    gain = torch.exp(-(((partial - formants) / 250) ** 2)).sum(2, keepdim=True) + 0.01
    wave = torch.sin(2 * math.pi * partial * torch.arange(samples) / RATE + phase)
    return (gain * wave).sum(1) / 3


def harmonics(pitch: Tensor, samples: int, draw: torch.Generator) -> Tensor:
    """Notes (N, samples) of such pitches (N,), with eight falling harmonics and some noise."""
    partial = torch.arange(1, 9)[:, None]
    phase = 2 * math.pi * torch.rand(len(pitch), 8, 1, generator=draw)
    time = torch.arange(samples) / RATE
    wave = torch.sin(2 * math.pi * partial * pitch[:, None, None] * time + phase) / partial
    return wave.sum(1) + 0.01 * torch.randn(len(pitch), samples, generator=draw)


def mel(sound: Tensor, *, bands: int, window: int) -> Tensor:
    """The energies (N, frames, bands) of 10 ms frames in triangles equally wide in mel."""
    waves = torch.stft(
        sound,
        window,
        160,
        window=torch.hann_window(window),
        pad_mode="constant",
        return_complex=True,
    )
    edges = 700 * (10 ** (torch.linspace(0, 2840, bands + 2) / 2595) - 1)
    frequency = torch.linspace(0, RATE / 2, window // 2 + 1)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    energy: Tensor = torch.minimum(rising, falling).clip(0) @ waves.abs() ** 2
    return energy.transpose(1, 2)


def batches(x: Tensor, y: Tensor, size: int) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))
