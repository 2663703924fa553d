"""Models that share weights, or call them without their module, and their plain twins."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import linear_of

CLASSES = 3


class CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


class TwoSizes(nn.Module):
    """One convolution applied to a feature map and to the map at half its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.fc = nn.Linear(2 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(torch.tanh(self.conv(x)), 2)
        return self.fc(torch.tanh(self.conv(x)).flatten(1))


class SingleImages(nn.Module):
    """A convolution called on (channels, height, width) maps, one image at a time.

    Its outputs are views, and a hook on a view is lost when the view is changed in place
    (pytorch#181832).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)
        self.fc = nn.Linear(27, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.stack([self.conv(image).tanh_() for image in x]).flatten(1))


class PlainSingleImages(SingleImages):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([self.conv(image[None]) for image in x]).tanh().flatten(1))


class TwoGeometries(nn.Module):
    """One kernel used with two paddings and dilations."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.fc = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        near = functional.conv2d(x, self.kernel, padding=1)
        far = functional.conv2d(x, self.kernel, padding=2, dilation=2)
        return self.fc(torch.cat([near, far], 1).tanh().flatten(1))


class PlainTwoGeometries(nn.Module):
    def __init__(self, model: TwoGeometries) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.far = nn.Conv2d(2, 2, 3, padding=2, dilation=2, bias=False)
        self.kernel.weight = self.far.weight = model.kernel
        self.fc = model.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([self.kernel(x), self.far(x)], 1).tanh().flatten(1))


class BorrowedKernel(nn.Module):
    """Uses the weight of a reflecting convolution in a convolution that pads with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")
        self.fc = nn.Linear(48, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        return self.fc(h.tanh().flatten(1))


class LanguageModel(nn.Module):
    """Tokens to next-token scores, (batch, vocabulary, tokens)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.fc = nn.Linear(6, 6)
        self.lm_head = nn.Linear(6, 7, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lm_head(torch.tanh(self.fc(self.embedding(tokens)))).transpose(1, 2)


class TiedAutoencoder(nn.Module):
    """Two linear layers with one weight, and biases of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 6)
        self.decoder = nn.Linear(6, 6)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(x)))


class Functional(nn.Module):
    """torch.nn.functional on bare parameters, one of them in a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.inner = nn.Module()
        self.inner.matrix = nn.Parameter(torch.randn(5, 16))
        self.out = nn.Parameter(torch.randn(CLASSES, 5))
        self.out_bias = nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(functional.conv2d(x, self.kernel)).flatten(1)
        x = torch.tanh(functional.linear(x, self.inner.matrix))
        return functional.linear(x, self.out, bias=self.out_bias)


class PlainFunctional(nn.Module):
    def __init__(self, model: Functional) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(2, 4, 3, bias=False)
        self.kernel.weight = model.kernel
        self.inner = nn.Module()
        self.inner.matrix = linear_of(model.inner.matrix, None)
        self.out = linear_of(model.out, model.out_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.kernel(x)).flatten(1)
        return self.out(torch.tanh(self.inner.matrix(x)))


class Conv1D(nn.Module):
    """The linear layer of GPT-2 in Hugging Face's spelling: the weight is (d_in, d_out)."""

    def __init__(self, d_out: int, d_in: int) -> None:
        super().__init__()
        self.nf = d_out
        self.weight = nn.Parameter(torch.randn(d_in, d_out))
        self.bias = nn.Parameter(torch.randn(d_out))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return rows.view(*x.size()[:-1], self.nf)


class Conv1DNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_fc = Conv1D(8, 6)
        self.c_proj = Conv1D(CLASSES, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(functional.gelu(self.c_fc(x))).tanh().mean(1)


def plain_functional(model: nn.Module) -> nn.Module:
    assert isinstance(model, Functional)
    return PlainFunctional(model)


def plain_single_images(model: nn.Module) -> nn.Module:
    twin = PlainSingleImages()
    twin.load_state_dict(model.state_dict())
    return twin


def plain_two_geometries(model: nn.Module) -> nn.Module:
    assert isinstance(model, TwoGeometries)
    return PlainTwoGeometries(model)


def plain_borrowed_kernel(model: nn.Module) -> nn.Module:
    twin = nn.Sequential()
    twin.conv = nn.Conv2d(2, 3, 3, padding=1)
    twin.tanh, twin.flatten, twin.fc = nn.Tanh(), nn.Flatten(), nn.Linear(48, CLASSES)
    twin.load_state_dict(model.state_dict())
    return twin


def plain_conv1d_net(model: nn.Module) -> nn.Module:
    assert isinstance(model, Conv1DNet)
    twin = Conv1DNet()
    for name in ("c_fc", "c_proj"):
        conv1d = getattr(model, name)
        setattr(twin, name, linear_of(conv1d.weight.T, conv1d.bias))
    return twin
