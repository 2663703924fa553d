"""Models with the habits that break a capture, and their plain twins where they need one."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .attention import linear_of

CLASSES = 3


class ResidualNet(nn.Module):
    """A stem and one residual block whose sum and ReLUs are done in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        relu = torch.relu_ if self.in_place else torch.relu
        x = relu(self.stem(x))
        out = self.conv2(relu(self.conv1(x)))
        if self.in_place:
            out += x
        else:
            out = out + x
        return self.fc(relu(out).mean((2, 3)))


class TokenMLP(nn.Module):
    """Linear layers on (batch, tokens, features), then the mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x))).tanh().mean(1)


class ChannelsLastNet(nn.Module):
    """A convolution, then linear layers on (batch, height, width, channels), as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, padding=1)
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.fc2(functional.gelu(self.fc1(x))).tanh().mean((1, 2))


class InPlaceTokens(nn.Module):
    """In-place operations right after a linear layer with bias on 3-D input.

    There the output is a view, and a hook on it is silently lost (pytorch#181832).
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            return self.fc2(self.fc1(x).mul_(2).tanh_()).mul_(3).tanh_().mean(1)
        return (self.fc2((self.fc1(x) * 2).tanh()) * 3).tanh().mean(1)


class MaskedTokens(nn.Module):
    """Overwrites a part of a linear layer's output: δ is zero there."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        if self.in_place:
            h[:, 0] = 0.5
        else:
            h = torch.cat([torch.full_like(h[:, :1], 0.5), h[:, 1:]], 1)
        return self.fc2(h.tanh()).tanh().mean(1)


class TokenTagger(nn.Module):
    """Class scores for each token, (batch, classes, tokens) as nn.CrossEntropyLoss wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 6, 3, padding=1)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.conv(x.transpose(1, 2)))
        return self.fc(h.transpose(1, 2)).transpose(1, 2)


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
    """A convolution called on (channels, height, width) maps, one image at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)
        self.fc = nn.Linear(27, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.stack([self.conv(image) for image in x]).tanh().flatten(1))


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


class Routed(nn.Module):
    """Sends each row to one of two layers; the second sees nothing of some batches."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(6, 4)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        leftward = x[:, 0] > (0 if len(x) == 6 else -9)
        rows = torch.cat([self.left(x[leftward]), self.right(x[~leftward])])
        back = torch.cat([leftward.nonzero(), (~leftward).nonzero()])[:, 0].argsort()
        return self.fc(torch.tanh(rows[back]))


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


class OverwrittenInput(nn.Module):
    """Changes a frozen layer's input after the layer has read it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.frozen(x)
        return self.fc(torch.tanh(h + x.mul_(3)))


class Checkpointed(nn.Module):
    """A block whose forward runs a second time, in the backward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.block = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 6))
        self.fc = nn.Linear(6, CLASSES)
        self.checkpoints = True

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = checkpoint(self.block, x, use_reentrant=False) if self.checkpoints else self.block(x)
        return self.fc(torch.tanh(x))


def frozen_first_layers() -> nn.Module:
    """An MLP of which only the last layer trains."""
    model = nn.Sequential(
        nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, CLASSES)
    )
    model[:3].requires_grad_(False)
    return model


def without_checkpoints(model: nn.Module) -> nn.Module:
    return _copy_with(model, "checkpoints")


def out_of_place(model: nn.Module) -> nn.Module:
    return _copy_with(model, "in_place")


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


def _copy_with(model: nn.Module, switch: str) -> nn.Module:
    """A copy of the model with ``switch`` off."""
    twin = deepcopy(model)
    setattr(twin, switch, False)
    return twin
