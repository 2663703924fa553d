"""timm's networks by name, and timm's folders."""

import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from condcli.errors import UsageError
from condcli.models import load

timm = pytest.importorskip("timm")


def network(name, **args):
    torch.manual_seed(1)
    return timm.create_model(name, **args).eval()


def saved(folder, net):
    torch.save(net.state_dict(), folder / "model.pt")
    return folder / "model.pt"


def assert_same_function(module, net, shape):
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(module.eval()(x), net(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("resnet10t", {"num_classes": 5, "in_chans": 1}, (1, 1, 32, 32)),
        ("vit_tiny_patch16_224", {"num_classes": 3}, (1, 3, 224, 224)),
        ("test_convnext", {"num_classes": 0}, (1, 3, 64, 64)),
        # with masks that are in no state_dict
        ("swin_tiny_patch4_window7_224", {"num_classes": 4}, (1, 3, 224, 224)),
    ],
)
def test_sizes_are_read_off_the_tensors(tmp_path, name, args, shape):
    net = network(name, **args)
    model = load(saved(tmp_path, net), arch=f"timm:{name}")
    assert_same_function(model.module, net, shape)


def test_a_folder_of_timm_names_its_network(tmp_path):
    net = network("resnet10t", num_classes=5, in_chans=1)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "resnet10t", "num_classes": 5, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load(tmp_path)
    assert model.arch == "timm:resnet10t(num_classes=5, in_chans=1)"
    assert_same_function(model.module, net, (1, 1, 32, 32))


def test_a_training_scripts_own_word_is_taken(tmp_path):
    net = network("resnet10t", num_classes=5)
    content = {"arch": "resnet10t", "state_dict": net.state_dict(), "epoch": 3}
    torch.save(content, tmp_path / "last.pth.tar")
    assert load(tmp_path / "last.pth.tar").arch == "timm:resnet10t(num_classes=5)"


def test_arguments_are_timms_own(tmp_path):
    net = network("resnet10t", num_classes=5)
    module = load(saved(tmp_path, net), arch="timm:resnet10t", arch_args={"global_pool": "max"})
    assert module.module.global_pool.pool_type == "max"


def test_an_unknown_name_gets_the_near_ones_and_no_weights_are_fetched(tmp_path):
    path = saved(tmp_path, network("resnet10t"))
    with pytest.raises(UsageError, match="did you mean timm:resnet10t"):
        load(path, arch="timm:resnet10")
    with pytest.raises(UsageError, match="leave out pretrained"):
        load(path, arch="timm:resnet10t", arch_args={"pretrained": True})


def test_without_timm_the_remedy_is_to_install_it(tmp_path, monkeypatch):
    path = saved(tmp_path, network("resnet10t"))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'condcli\[timm\]'"):
        load(path, arch="timm:resnet10t")
