"""BatDetect2: bats' calls in a spectrogram; a U-Net with coordinates and attention over time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEIGHT, FILTERS, CLASSES = 128, 128, 17


class Coordinates(nn.Module):
    """Convolution of the features and of how high each row lies."""

    def __init__(self, d_in: int, d_out: int, height: int) -> None:
        super().__init__()
        rows = torch.linspace(-1, 1, height)[None, None, :, None]
        self.coords = nn.Parameter(rows, requires_grad=False)
        self.conv = nn.Conv2d(d_in + 1, d_out, 3, padding=1)
        self.conv_bn = nn.BatchNorm2d(d_out)

    def convolved(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat((x, self.coords.expand(len(x), 1, -1, x.shape[3])), 1))
        return y


class Down(Coordinates):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv_bn(F.max_pool2d(self.convolved(x), 2)), inplace=True)


class Up(Coordinates):
    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(self.conv_bn(self.convolved(x)), inplace=True)


class Attention(nn.Module):
    """Attention over time that multiplies by the linear layers' weights itself, as theirs does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.key_fun = nn.Linear(width, width)
        self.val_fun = nn.Linear(width, width)
        self.que_fun = nn.Linear(width, width)
        self.pro_fun = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(2).transpose(1, 2)
        key, query, value = (
            torch.matmul(x, layer.weight.T) + layer.bias
            for layer in (self.key_fun, self.que_fun, self.val_fun)
        )
        share = (key @ query.transpose(1, 2) / self.width).softmax(1)
        mixed = torch.matmul(share.transpose(1, 2) @ value, self.pro_fun.weight.T)
        return (mixed + self.pro_fun.bias).transpose(1, 2).unsqueeze(2)


class BatDetect(nn.Module):
    """Spectrograms (N, 1, 128, T) to the logits of the species (N, 18, 128, T) and call sizes."""

    def __init__(self) -> None:
        super().__init__()
        quarter, half = FILTERS // 4, FILTERS // 2
        self.conv_dn_0 = Down(1, quarter, HEIGHT)
        self.conv_dn_1 = Down(quarter, half, HEIGHT // 2)
        self.conv_dn_2 = Down(half, FILTERS, HEIGHT // 4)
        self.conv_dn_3 = nn.Conv2d(FILTERS, 2 * FILTERS, 3, padding=1)
        self.conv_dn_3_bn = nn.BatchNorm2d(2 * FILTERS)
        self.conv_1d = nn.Conv2d(2 * FILTERS, 2 * FILTERS, (HEIGHT // 8, 1))
        self.conv_1d_bn = nn.BatchNorm2d(2 * FILTERS)
        self.att = Attention(2 * FILTERS)
        self.conv_up_2 = Up(2 * FILTERS, half, HEIGHT // 4)
        self.conv_up_3 = Up(half, quarter, HEIGHT // 2)
        self.conv_up_4 = Up(quarter, quarter, HEIGHT)
        self.conv_op = nn.Conv2d(quarter, quarter, 3, padding=1)
        self.conv_op_bn = nn.BatchNorm2d(quarter)
        self.conv_size_op = nn.Conv2d(quarter, 2, 1)
        self.conv_classes_op = nn.Conv2d(quarter, CLASSES + 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x1 = self.conv_dn_0(image)
        x2 = self.conv_dn_1(x1)
        x3 = self.conv_dn_2(x2)
        x3 = F.relu(self.conv_dn_3_bn(self.conv_dn_3(x3)), inplace=True)
        x = F.relu(self.conv_1d_bn(self.conv_1d(x3)), inplace=True)
        x = self.att(x).repeat(1, 1, HEIGHT // 8, 1)
        x = self.conv_up_4(self.conv_up_3(self.conv_up_2(x + x3) + x2) + x1)
        x = F.relu(self.conv_op_bn(self.conv_op(x)), inplace=True)
        return self.conv_classes_op(x), F.relu(self.conv_size_op(x))


def build() -> nn.Module:
    return BatDetect()
