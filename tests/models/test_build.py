"""A checkpoint becomes the network that made it, or one error that says what does not fit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models import ZOO, load, write_checkpoint

NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.model = nn.Linear(3, width)

    def forward(self, x):
        return self.model(x)

def build(width=4):
    return Net(width)

def nothing():
    return None

def broken():
    raise ValueError("no such luck")

def sized(*, width):
    return nn.Linear(3, width)
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pt"


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NETWORK)
    return path


def trained(name, **args):
    """A network of the zoo whose every weight and buffer is its own."""
    torch.manual_seed(1)
    network = ZOO[name](**args)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)
    return network.eval()


def assert_same_function(module, network, x):
    torch.testing.assert_close(module.eval()(x), network(x), rtol=0, atol=0)


def test_a_self_describing_checkpoint_needs_no_arch(file):
    network = trained("mlp", inputs=6, classes=3, depth=3, width=5, norm="bn")
    args = {"inputs": 6, "classes": 3, "depth": 3, "width": 5, "norm": "bn"}
    write_checkpoint(file, network.state_dict(), arch="mlp", arch_args=args)
    model = load(file)
    assert model.arch == "mlp(depth=3, norm=bn, inputs=6, width=5, classes=3)"
    assert_same_function(model.module, network, torch.randn(4, 6))


@pytest.mark.parametrize("name", ["resnet", "preresnet_v1"])
def test_the_checkpoints_own_word_settles_what_its_tensors_leave_open(file, name):
    network = trained(name, depth=8, width=2, norm="none")
    write_checkpoint(file, network.state_dict(), arch=name, arch_args={})
    assert_same_function(load(file).module, network, torch.randn(2, 3, 8, 8))


def test_tensors_that_fit_two_functions_are_not_guessed_between(file):
    torch.save(trained("resnet", depth=8, width=2, norm="none").state_dict(), file)
    with pytest.raises(InputError, match=r"several.*resnet\(.*preresnet_v1\(.*--arch resnet or"):
        load(file)


def test_a_bare_state_dict_is_matched_and_the_match_is_told(file):
    network = trained("resnet_lastbn", depth=14, width=2, channels=1, classes=5)
    torch.save(network.state_dict(), file)
    model = load(file)
    arch = "resnet_lastbn(depth=14, norm=bn, channels=1, width=2, classes=5)"
    assert model.arch == arch
    assert model.notes == (f"architecture found by its tensors' names and shapes: {arch}",)
    assert_same_function(model.module, network, torch.randn(2, 1, 8, 8))


def test_sizes_of_a_named_architecture_are_read_off_the_tensors(file):
    network = trained("vgg_style", depth=8, width=3, norm="none")
    torch.save(network.state_dict(), file)
    model = load(file, arch="vgg_style")
    assert_same_function(model.module, network, torch.randn(2, 3, 8, 8))
    assert model.notes == ()


def test_a_checkpoint_before_batches_were_counted_loads(file):
    network = trained("mlp", inputs=6, depth=3, width=5, norm="bn")
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    torch.save(state, file)
    assert_same_function(load(file).module, network, torch.randn(4, 6))


def test_a_torchvision_name_works_with_other_classes(file):
    import torchvision

    network = torchvision.models.squeezenet1_1(num_classes=7).eval()
    torch.save({"arch": "squeezenet1_1", "state_dict": network.state_dict()}, file)
    for arch in (None, "torchvision:squeezenet1_1"):
        model = load(file, arch=arch)
        assert model.arch == "torchvision:squeezenet1_1(num_classes=7)"
        assert_same_function(model.module, network, torch.randn(1, 3, 64, 64))


def test_a_users_function_builds_the_network(file, user_file):
    network = nn.Linear(3, 2)
    torch.save({f"model.{k}": v for k, v in network.state_dict().items()}, file)
    arch = f"{user_file}:build"
    model = load(file, arch=arch, arch_args={"width": 2})
    assert model.arch == f"{arch}(width=2)"
    assert_same_function(model.module, network, torch.randn(4, 3))


def test_arguments_that_a_users_function_needs_are_named(file, user_file):
    torch.save(nn.Linear(3, 2).state_dict(), file)
    with pytest.raises(UsageError, match=r"needs width; give --arch-arg width=…"):
        load(file, arch=f"{user_file}:sized")


def test_a_users_tied_weights_stay_tied(tmp_path, file):
    source = tmp_path / "tied.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))\n"
        "    net[1].weight = net[0].weight\n"
        "    return net\n"
    )
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    torch.save(network.state_dict(), file)
    module = load(file, arch=f"{source}:build").module
    assert module[1].weight is module[0].weight
    assert_same_function(module, network, torch.randn(4, 3))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "returned NoneType, not an nn.Module"),
        ("broken", "line 19: ValueError: no such luck"),
        ("bulid", "did you mean 'build'"),
        ("build(", "has no function"),
    ],
)
def test_a_users_function_that_fails_is_named(file, user_file, function, said):
    torch.save(nn.Linear(3, 2).state_dict(), file)
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as caught:
        load(file, arch=f"{user_file}:{function}")
    assert "net.py" in str(caught.value)


def test_a_checkpoint_cannot_have_code_run_by_naming_it(tmp_path, file):
    canary = tmp_path / "canary"
    evil = tmp_path / "evil.py"
    evil.write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n")
    write_checkpoint(file, nn.Linear(3, 2).state_dict(), arch=f"{evil}:build", arch_args={})
    with pytest.raises(UnsafeError, match=r"evil\.py:build' to be run; give it yourself"):
        load(file)
    assert not canary.exists()


def test_a_checkpoint_cannot_have_weights_downloaded(file):
    state = nn.Linear(3, 2).state_dict()
    write_checkpoint(file, state, arch="torchvision:resnet18", arch_args={"weights": "DEFAULT"})
    with pytest.raises(InputError, match=r"model\.pt: torchvision:resnet18 takes no weights"):
        load(file)


@pytest.mark.parametrize(
    ("arch", "args"), [("mlp", {"depth": 10**9}), ("mlp", {"width": 10**7, "inputs": 10**7})]
)
def test_a_checkpoint_cannot_claim_to_be_enormous(file, arch, args):
    write_checkpoint(file, nn.Linear(3, 2).state_dict(), arch=arch, arch_args=args)
    with pytest.raises(InputError):
        load(file)


def test_a_wrong_argument_in_a_checkpoint_is_the_files_fault(file):
    write_checkpoint(file, trained("mlp").state_dict(), arch="mlp", arch_args={"dept": 20})
    with pytest.raises(InputError, match=r"model\.pt: mlp takes no argument 'dept'"):
        load(file)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"depth": 10**9}, "an mlp cannot have depth 1000000000; give a depth"),
        ({"depth": "twenty"}, "cannot be built: '<=' not supported"),
    ],
)
@pytest.mark.parametrize("arch", [None, "mlp"])
def test_a_network_that_a_checkpoint_claims_and_nobody_can_build_is_the_files_fault(
    file, args, said, arch
):
    write_checkpoint(file, trained("mlp").state_dict(), arch="mlp", arch_args=args)
    with pytest.raises(InputError) as caught:
        load(file, arch=arch)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)


def test_few_mismatches_are_all_named_in_one_message(file):
    state = trained("mlp", inputs=6, classes=3, depth=3, width=5).state_dict()
    del state["fc2.bias"]
    state["fc2.weight"] = torch.zeros(5, 4)
    state["extra"] = torch.zeros(1)
    torch.save(state, file)
    with pytest.raises(InputError) as caught:
        load(file, arch="mlp")
    for part in ("1 missing ('fc2.bias')", "1 unexpected ('extra')",
                 "1 of another shape ('fc2.weight' (5, 4) instead of (5, 5))"):  # fmt: skip
        assert part in caught.value.message


def test_many_mismatches_are_counted_and_shortened(file):
    torch.save(trained("mlp", depth=3).state_dict(), file)
    with pytest.raises(InputError, match=r"34 missing \('fc4\.weight', .*, …\)"):
        load(file, arch="mlp", arch_args={"depth": 20})


def test_nothing_near_says_what_to_pass(file):
    torch.save({"features.0.weight": torch.ones(2, 1, 3, 3)}, file)
    with pytest.raises(InputError, match=r"fits no known architecture.*FILE\.py:function"):
        load(file)


def test_a_near_miss_names_the_nearest(file):
    state = trained("resnet", depth=8, width=2).state_dict()
    del state["stem_norm.bias"]
    torch.save(state, file)
    with pytest.raises(InputError, match=r"nearest: resnet\(depth=8.*9\d% of tensors"):
        load(file)


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("resnet18", "did you mean torchvision:resnet18"),
        ("rsnet", "did you mean resnet"),
        ("torchvision:resnet19", "did you mean torchvision:resnet18"),
        ("torchvision:xyzzy", "no classification network 'xyzzy'"),
        ("xyzzy", "give a zoo name, torchvision:NAME"),
    ],
)
def test_an_unknown_architecture_gets_the_near_ones(file, arch, said):
    torch.save(trained("mlp", depth=1).state_dict(), file)
    with pytest.raises(UsageError, match=said):
        load(file, arch=arch)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_become_float32_and_that_is_told(file, dtype):
    network = trained("mlp", inputs=6, depth=2, width=5).to(dtype)
    torch.save(network.state_dict(), file)
    model = load(file, arch="mlp")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    assert model.notes == (f"{str(dtype)[6:]} weights used as float32",)
    assert_same_function(model.module, network.float(), torch.randn(4, 6))


@pytest.mark.parametrize("arch", [None, "user"])
def test_float64_weights_keep_their_digits(tmp_path, file, arch):
    network = trained("mlp", inputs=3, classes=2, depth=1).double()
    third = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    network.fc1.weight.data.copy_(third)
    torch.save(network.state_dict(), file)
    source = tmp_path / "one.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Module()\n"
        "    net.fc1 = nn.Linear(3, 2)\n"
        "    return net\n"
    )
    model = load(file, arch=arch and f"{source}:build")
    torch.testing.assert_close(model.module.fc1.weight.data, third, rtol=0, atol=0)


def test_a_trusted_module_is_its_own_architecture(file):
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    torch.save(network, file)
    model = load(file, trust=True)
    assert model.arch == "Sequential"
    assert_same_function(model.module, network, torch.randn(4, 3))
    with pytest.raises(UsageError, match="leave out --arch"):
        load(file, arch="mlp", trust=True)
    with pytest.raises(UsageError, match="--arch-arg depth=3 has no use; leave out --arch-arg"):
        load(file, arch_args={"depth": 3}, trust=True)


def test_building_leaves_the_random_numbers_where_they_were(file, user_file):
    torch.save({"model.weight": torch.ones(4, 3), "model.bias": torch.ones(4)}, file)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(file, arch=f"{user_file}:build")
    torch.testing.assert_close(torch.rand(3), expected)


def test_a_models_parameters_can_be_differentiated(file):
    torch.save(trained("mlp", inputs=6, depth=2, width=5).state_dict(), file)
    module = load(file).module
    module(torch.randn(4, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_the_path_may_be_relative(file, monkeypatch):
    torch.save(trained("mlp", depth=1).state_dict(), file)
    monkeypatch.chdir(file.parent)
    assert load(Path(file.name)).checkpoint.path == Path("model.pt")


@pytest.mark.parametrize("name", ["fc1.weight", "fc2.bias"])
def test_whole_numbers_for_weights_are_not_taken_for_them(file, name):
    args = {"inputs": 6, "classes": 3, "depth": 2, "width": 4}
    state = ZOO["mlp"](**args).state_dict()
    state[name] = state[name].view(torch.int32)  # as one flipped byte makes them
    write_checkpoint(file, state, arch="mlp", arch_args=args)
    said = rf"1 of another kind of number \('{name}' int32 instead of float32\)"
    with pytest.raises(InputError, match=said):
        load(file)


def test_weights_that_share_memory_in_the_file_do_not_in_the_network(file):
    args = {"inputs": 4, "classes": 4, "depth": 2, "width": 4}
    shared = torch.randn(4, 4)
    state = ZOO["mlp"](**args).state_dict() | {"fc1.weight": shared, "fc2.weight": shared}
    write_checkpoint(file, state, arch="mlp", arch_args=args)
    module = load(file).module
    with torch.no_grad():
        module.fc1.weight.zero_()
    assert torch.equal(module.fc2.weight, shared)
