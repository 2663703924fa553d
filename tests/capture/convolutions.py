"""Every kind and geometry of convolution on which the capture engine is judged."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 3


class ConvNet(nn.Module):
    """The convolution under test between a smooth stem and a linear head, on ``shape`` inputs."""

    def __init__(self, convolution: nn.Module, *shape: int) -> None:
        super().__init__()
        stems = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}
        self.stem = stems[len(shape)](shape[0], shape[0], 1)
        self.conv = convolution
        with torch.no_grad():
            features = convolution(torch.zeros(1, *shape)).numel()
        self.head = nn.Linear(features, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(torch.tanh(self.stem(x)))).flatten(1))


# name → (the convolution, the shape of one input); the law in test_reference.py runs over it too
CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3), (3, 7)),
    "conv1d strided dilated padded": (
        lambda: nn.Conv1d(3, 4, 3, stride=2, dilation=2, padding=2),
        (3, 8),
    ),
    "conv1d same, even kernel": (lambda: nn.Conv1d(2, 4, 4, padding="same"), (2, 6)),
    "conv1d circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (2, 5)),
    "conv1d grouped": (lambda: nn.Conv1d(4, 6, 3, groups=2, stride=2), (4, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3), (2, 5, 5)),
    "conv2d padded, no bias": (lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False), (2, 4, 5)),
    "conv2d valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 5, 4)),
    "conv2d strided apart": (lambda: nn.Conv2d(2, 3, 3, stride=(2, 1), padding=(1, 0)), (2, 6, 4)),
    "conv2d strided, leftover border": (lambda: nn.Conv2d(2, 3, 2, stride=3), (2, 6, 7)),
    "conv2d dilated": (lambda: nn.Conv2d(2, 3, 3, dilation=(1, 2), padding=2), (2, 4, 5)),
    "conv2d rectangular kernel": (lambda: nn.Conv2d(2, 3, (3, 2), padding=(1, 0)), (2, 4, 4)),
    "conv2d padding wider than kernel": (lambda: nn.Conv2d(2, 3, 2, padding=3), (2, 2, 3)),
    "conv2d reflect": (
        lambda: nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect"),
        (2, 4, 4),
    ),
    "conv2d replicate": (
        lambda: nn.Conv2d(2, 3, 3, padding=2, padding_mode="replicate", stride=2),
        (2, 4, 5),
    ),
    "conv2d circular": (
        lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="circular"),
        (2, 3, 4),
    ),
    "conv2d same, dilated": (lambda: nn.Conv2d(2, 3, 3, padding="same", dilation=2), (2, 5, 4)),
    "conv2d same, even kernel, reflect": (
        lambda: nn.Conv2d(2, 3, (2, 4), padding="same", padding_mode="reflect"),
        (2, 4, 5),
    ),
    "conv2d grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 4, 4)),
    "conv2d grouped, strided, circular": (
        lambda: nn.Conv2d(4, 2, 3, groups=2, stride=2, padding=1, padding_mode="circular"),
        (4, 4, 5),
    ),
    "conv2d depthwise": (lambda: nn.Conv2d(3, 3, 3, groups=3, padding=1), (3, 4, 4)),
    "conv2d depthwise, two outputs each": (lambda: nn.Conv2d(3, 6, 2, groups=3), (3, 4, 4)),
    "conv2d 1x1": (lambda: nn.Conv2d(3, 4, 1), (3, 3, 3)),
    "conv2d 1x1 strided": (lambda: nn.Conv2d(3, 4, 1, stride=2), (3, 5, 4)),
    "conv2d 1x1 padded": (lambda: nn.Conv2d(3, 4, 1, padding=1), (3, 2, 3)),
    "conv2d one position": (lambda: nn.Conv2d(2, 4, 3), (2, 3, 3)),
    "conv2d wide": (lambda: nn.Conv2d(12, 3, 3, padding=1), (12, 3, 3)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, padding=1), (2, 3, 2, 3)),
    "conv3d strided grouped": (
        lambda: nn.Conv3d(2, 4, (1, 2, 3), stride=(1, 2, 1), groups=2, padding=(0, 1, 1)),
        (2, 2, 3, 3),
    ),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(3, 2, 3, stride=2), (3, 4)),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
        (2, 3, 2),
    ),
    "conv_transpose2d stride 1": (lambda: nn.ConvTranspose2d(2, 3, (3, 2), padding=1), (2, 3, 4)),
    "conv_transpose2d dilated": (
        lambda: nn.ConvTranspose2d(2, 3, 2, dilation=2, stride=(1, 3), output_padding=(1, 2)),
        (2, 3, 2),
    ),
    "conv_transpose2d grouped": (
        lambda: nn.ConvTranspose2d(4, 6, (2, 3), groups=2, stride=2, bias=False),
        (4, 2, 2),
    ),
    "conv_transpose2d depthwise": (lambda: nn.ConvTranspose2d(3, 3, 2, groups=3), (3, 2, 3)),
    "conv_transpose3d": (
        lambda: nn.ConvTranspose3d(2, 2, (2, 1, 2), stride=(1, 2, 1), padding=(1, 0, 0)),
        (2, 2, 2, 2),
    ),
}
