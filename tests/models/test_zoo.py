"""The zoo against the papers: depth, parameter counts, where things stand, initial laws."""

import math

import pytest
import torch
from torch import nn

from condcli.errors import InputError
from condcli.models import ZOO
from condcli.models.norms import BY_EXAMPLE
from condcli.models.zoo import SIZES
from condcli.models.zoo_cifar import NORMS as CIFAR_NORMS
from condcli.models.zoo_mlp import NORMS as MLP_NORMS

CIFAR = [name for name in ZOO if name not in ("mlp", "transformer")]


def weighted_layers(module):
    return [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def batch_norms(module):
    return [
        name for name, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]


@pytest.mark.parametrize("norm", CIFAR_NORMS)
@pytest.mark.parametrize("name", CIFAR)
def test_a_cifar_network_of_depth_20_has_20_weighted_layers_and_runs(name, norm):
    network = ZOO[name](depth=20, norm=norm, width=4, channels=1, classes=7)
    logits = network(torch.randn(3, 1, 8, 8))
    logits.sum().backward()
    assert len(weighted_layers(network)) == 20
    assert logits.shape == (3, 7)
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "millions"),
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7), (1202, 19.4)],
)
def test_resnet_has_the_parameters_of_he_et_al_table_6(depth, millions):
    count = sum(parameter.numel() for parameter in ZOO["resnet"](depth=depth).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)


def test_depth_1202_runs_forward_and_backward():
    network = ZOO["resnet_lastbn"](depth=1202, width=1, channels=1)
    network(torch.randn(2, 1, 4, 4)).sum().backward()
    assert network.stem.weight.grad.isfinite().all()


def test_the_resolution_halves_where_the_maps_double():
    network = ZOO["resnet"](depth=8)
    x = torch.randn(2, 3, 32, 31)
    shapes = []
    for stage in (network.stage1, network.stage2, network.stage3):
        stage.register_forward_hook(lambda _m, _args, output: shapes.append(tuple(output.shape)))
    network(x)
    assert shapes == [(2, 16, 32, 31), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_option_a_passes_every_second_pixel_and_pads_with_zero_maps():
    network = ZOO["resnet"](depth=8, width=2, norm="none")
    block = network.stage2[0]
    nn.init.zeros_(block.conv2.weight)  # what is left of the block is ReLU(shortcut)
    x = torch.rand(1, 2, 6, 6)
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(1, 2, 3, 3)], dim=1)
    torch.testing.assert_close(block(x), expected)


def test_the_preactivated_shortcut_starts_after_the_relu_in_a_stages_first_block_only():
    stage = ZOO["preresnet"](depth=14, width=2, norm="none").stage1
    for block in stage:
        nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(stage[0](x), x.relu())
    torch.testing.assert_close(stage[1](x), x)


@pytest.mark.parametrize(
    ("name", "last"),
    [("resnet_lastbn", ["pool", "flatten", "last_norm", "fc"]),
     ("vgg_style_lastbn", ["pool", "flatten", "last_norm", "fc"]),
     ("preresnet", ["last_norm", "last_relu", "pool", "flatten", "fc"]),
     ("preresnet_v1", ["stage3", "last_relu", "pool", "flatten", "fc"]),
     ("resnet", ["stage3", "pool", "flatten", "fc"])],
)  # fmt: skip
def test_the_last_bn_stands_where_the_paper_puts_it(name, last):
    names = [child for child, _ in ZOO[name](depth=8).named_children()]
    assert names[-len(last) :] == last


def test_without_norm_only_the_last_bn_is_left_and_convolutions_have_biases():
    network = ZOO["vgg_style_lastbn"](depth=8, norm="none")
    assert batch_norms(network) == ["last_norm"]
    assert all(layer.bias is not None for layer in weighted_layers(network))
    with_norm = ZOO["vgg_style_lastbn"](depth=8)
    assert [layer.bias is None for layer in weighted_layers(with_norm)] == [True] * 7 + [False]


def test_convolutions_start_with_variance_two_over_kernel_area_times_maps():
    torch.manual_seed(0)
    layer = ZOO["resnet"](depth=8).stage3[0].conv2  # 64 × 64 × 3 × 3 numbers
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)


def test_the_mlp_flattens_and_has_depth_linear_layers():
    network = ZOO["mlp"](inputs=64, classes=5, depth=4, width=16, norm="bn")
    assert network(torch.randn(3, 1, 8, 8)).shape == (3, 5)
    assert [layer.out_features for layer in weighted_layers(network)] == [16, 16, 16, 5]
    assert batch_norms(network) == ["bn1", "bn2", "bn3"]


def test_an_mlp_of_depth_one_is_one_linear_layer():
    assert [name for name, _ in ZOO["mlp"](depth=1).named_parameters()] == [
        "fc1.weight",
        "fc1.bias",
    ]


@pytest.mark.parametrize(("init", "variance"), [("default", 1 / 3), ("he", 2.0)])
def test_the_mlp_starts_with_its_laws_variance(init, variance):
    torch.manual_seed(0)
    weight = ZOO["mlp"](depth=3, width=256, init=init).fc2.weight
    assert 256 * weight.var().item() == pytest.approx(variance, rel=0.03)


def test_orthogonal_init_gives_orthogonal_matrices():
    weight = ZOO["mlp"](depth=3, width=32, init="orthogonal").fc2.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(32), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "args"),
    [*(("mlp", {"inputs": 30, "classes": 4, "depth": 12, "width": 9, "norm": norm})
       for norm in MLP_NORMS),
     ("mlp", {"inputs": 30, "classes": 4, "depth": 1, "norm": "none"}),
     *(("transformer", {"vocabulary": 7, "length": 5, "depth": 2, "width": 32, "norm": norm})
       for norm in ("pre", "post")),
     *((name, {"depth": 26, "classes": 4, "channels": 2, "norm": norm, "width": 3})
       for name in CIFAR for norm in CIFAR_NORMS)],
)  # fmt: skip
def test_sizes_are_read_off_the_names_and_shapes(name, args):
    state = ZOO[name](**args).state_dict()
    assert SIZES[name]({key: tuple(value.shape) for key, value in state.items()}) == args


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [("resnet", {"depth": 21}, "depth 21"), ("preresnet", {"depth": 2}, "depth 2"),
     ("vgg_style", {"norm": "wn"}, "'wn'"), ("mlp", {"depth": 0}, "depth 0"),
     ("mlp", {"norm": "in"}, "'in'"), ("mlp", {"init": "xavier"}, "'xavier'"),
     ("transformer", {"norm": "ln"}, "'ln'"), ("transformer", {"depth": 0}, "depth 0"),
     ("transformer", {"width": 40}, "width 40")],
)  # fmt: skip
def test_an_impossible_network_is_refused_with_its_value(name, args, said):
    with pytest.raises(InputError, match=said):
        ZOO[name](**args)


def test_normalisations_of_an_example_are_those_of_torch():
    rows, maps = torch.randn(3, 16), torch.randn(3, 16, 5, 4)
    groups = maps.view(3, 8, -1)
    grouped = (groups - groups.mean(2, True)) / _deviation(groups)
    for name, x, expected in [
        ("ln", rows, nn.LayerNorm(16)(rows)),
        ("ln", maps, nn.LayerNorm((16, 5, 4))(maps)),
        ("rms", rows, nn.RMSNorm(16, eps=1e-5)(rows)),
        ("rms", maps, nn.RMSNorm((16, 5, 4), eps=1e-5)(maps)),
        ("in", maps, nn.InstanceNorm2d(16)(maps)),
        ("gn", maps, grouped.view(3, 16, 5, 4)),
    ]:
        torch.testing.assert_close(BY_EXAMPLE[name](16)(x), expected, msg=name)


def _deviation(groups):
    return (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()


def test_the_rms_weight_is_one_a_channel():
    norm, maps = BY_EXAMPLE["rms"](3), torch.randn(2, 3, 4, 4)
    plain = norm(maps)
    norm.weight.data = torch.tensor([1.0, 2.0, -3.0])
    torch.testing.assert_close(norm(maps), plain * norm.weight[:, None, None])


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (256, 8), (4, 4), (9, 1)])
def test_groups_divide_the_channels(channels, groups):
    assert BY_EXAMPLE["gn"](channels).num_groups == groups
