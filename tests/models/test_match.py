"""Matching against builds of the real thing: every zoo network, and torchvision's families."""

import subprocess
import sys

import pytest
import torch
import torchvision

from condcli.models import ZOO
from condcli.models.parts import match_part
from condcli.models.shapes import built_weightless, shapes_built, shapes_of
from condcli.models.vision import vision_network

CIFAR = [name for name in ZOO if name not in ("mlp", "transformer")]


def match(state_dict):
    return match_part(state_dict)[1]


def fitting(state_dict):
    return [str(each.architecture) for each in match(state_dict) if each.fits]


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("name", CIFAR)
def test_each_cifar_network_with_bn_is_told_from_the_others(name, depth):
    state = ZOO[name](depth=depth, width=2, classes=7, channels=1).state_dict()
    assert fitting(state) == [f"{name}(depth={depth}, norm=bn, channels=1, width=2, classes=7)"]


def test_without_bn_the_preactivation_does_not_show_in_the_tensors():
    state = ZOO["preresnet"](depth=8, norm="none").state_dict()
    assert [each.split("(")[0] for each in fitting(state)] == ["resnet_lastbn", "preresnet"]
    state = ZOO["vgg_style"](depth=8, norm="none").state_dict()
    assert [each.split("(")[0] for each in fitting(state)] == ["vgg_style"]


@pytest.mark.parametrize("args", [{"depth": 1}, {"norm": "bn"}, {"init": "he", "width": 9}])
def test_an_mlp_is_matched_whatever_its_init(args):
    assert len(fitting(ZOO["mlp"](**args).state_dict())) == 1


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("resnet50", {"num_classes": 3}),
        ("vit_b_32", {"num_classes": 10, "image_size": 384}),
        ("googlenet", {"num_classes": 10, "aux_logits": False}),
        ("inception_v3", {"num_classes": 10}),
        ("inception_v3", {"num_classes": 10, "aux_logits": False}),
    ],
)
def test_torchvision_networks_are_matched_with_their_sizes(name, args):
    # No weights are needed: names and shapes are all that is looked at.
    state = built_weightless(lambda: vision_network(name, **args)).state_dict()
    told = ", ".join(f"{key}={value}" for key, value in args.items())
    assert fitting(dict(sorted(state.items()))) == [f"torchvision:{name}({told})"]


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "regnet_y_400mf", "mobilenet_v3_small"])
def test_shapes_without_weights_are_those_with_weights(name):
    network = torchvision.models.get_model(name, num_classes=5)
    assert shapes_built(lambda: vision_network(name, num_classes=5)) == shapes_of(
        network.state_dict()
    )


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "regnet_y_400mf", "swin_t", "maxvit_t"])
def test_all_that_a_torchvision_network_needs_is_in_its_state_dict(name):
    # Else a network built without weights would keep tensors without data.
    network = built_weightless(lambda: vision_network(name))
    held = set(network.state_dict())
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert {key for key, tensor in tensors.items() if tensor.is_meta} <= held


def test_matching_draws_no_random_numbers():
    state = torchvision.models.squeezenet1_1(num_classes=4).state_dict()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    match(state)
    torch.testing.assert_close(torch.rand(3), expected)


def test_another_network_matches_nothing_or_says_how_near():
    assert match({"layers.0.weight": torch.ones(3, 2)}) == ()
    state = torchvision.models.resnet18(num_classes=10).state_dict()
    state["fc.weight"] = torch.ones(10, 7)
    best = match(state)[0]
    assert not best.fits
    assert best.architecture.name == "torchvision:resnet18"
    assert best.share == pytest.approx(101 / 103)  # 102 tensors, one in another shape


@pytest.mark.parametrize(
    "shapes",
    [
        {"fc.weight": ()},
        {"fc1.weight": (), "fc2.weight": (3,)},
        {"fc99999999.weight": (3, 3)},
        {"stage1.99999999.conv1.weight": (3, 3), "stem.weight": (1, 1, 1, 1)},
        {"stage1.0.conv1.weight": (0,), "stem.weight": (0, 0, 0, 0), "fc.weight": (0, 0)},
        {"conv_proj.weight": (0, 0, 0, 0), "encoder.pos_embedding": (1, 0, 0)},
        {"conv_proj.weight": (768, 3, 32, 32), "encoder.pos_embedding": (1, 1, 768)},
    ],
)
def test_odd_shapes_under_known_names_match_nothing(shapes):
    assert match({name: torch.empty(shape) for name, shape in shapes.items()}) == ()


def test_torchvision_is_not_imported_before_it_is_needed():
    code = "import sys, condcli.models; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
