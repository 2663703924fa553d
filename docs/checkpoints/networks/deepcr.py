"""deepCR: a small U-Net that marks cosmic rays in an astronomical image."""

import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm


def conv(d_in: int, d_out: int, *, normalised: bool) -> list[nn.Module]:
    """Convolution and ReLU, with batch normalisation between, or the weight itself normalised."""
    layer = nn.Conv2d(d_in, d_out, 3, padding=1)
    if normalised:
        return [weight_norm(layer), nn.ReLU(inplace=True)]
    return [layer, nn.BatchNorm2d(d_out), nn.ReLU(inplace=True)]


class Twice(nn.Module):
    def __init__(self, d_in: int, d_out: int, *, normalised: bool) -> None:
        super().__init__()
        first = conv(d_in, d_out, normalised=normalised)
        self.conv = nn.Sequential(*first, *conv(d_out, d_out, normalised=normalised))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class UNet(nn.Module):
    """Images (N, 1, H, W) to the logits of a cosmic ray in each pixel (N, 1, H, W)."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.inc = nn.ModuleDict({"conv": Twice(1, 32, normalised=normalised)})
        down = nn.Sequential(nn.MaxPool2d(2), Twice(32, 64, normalised=normalised))
        self.down1 = nn.ModuleDict({"mpconv": down})
        up, after = nn.ConvTranspose2d(64, 32, 2, stride=2), Twice(64, 32, normalised=normalised)
        self.up8 = nn.ModuleDict({"up": up, "conv": after})
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(32, 1, 1)})

    def forward(self, image: Tensor) -> Tensor:
        fine = self.inc["conv"](image)
        coarse = self.up8["up"](self.down1["mpconv"](fine))
        logits: Tensor = self.outc["conv"](self.up8["conv"](torch.cat((fine, coarse), 1)))
        return logits


def batch_norm() -> nn.Module:
    """The network of learned_models/mask/ACS-WFC.pth."""
    return UNet(normalised=False)


def weight_normed() -> nn.Module:
    """The network of learned_models/mask/WFC3-UVIS.pth."""
    return UNet(normalised=True)
