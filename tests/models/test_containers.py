"""The same weights in every container give the same statistics, or the documented refusal."""

import numpy as np
import pytest
import torch
from torch import nn

import condcli
from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models import ZOO, load, read_checkpoint
from tests.models import saving

STEP_IS_TOLD = {"lightning", "mmengine", "trainer_folder", "distributed"}


@pytest.fixture(scope="module")
def net():
    """A network with every weight and statistic its own."""
    torch.manual_seed(1)
    network = ZOO["resnet"](depth=8, width=4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(2)
    return torch.randn(12, 3, 8, 8), torch.randint(10, (12,))


@pytest.fixture(scope="module")
def expected(net, data):
    return statistics(net, data)


def statistics(model, data):
    # An exported program normalises by running statistics, whatever is asked of it.
    return condcli.probe(model, data, dtype="float64", norm="running")


def assert_equal(stats, expected):
    assert [layer.d_in for layer in stats.layers.values()] == [
        layer.d_in for layer in expected.layers.values()
    ]
    for ours, theirs in zip(stats.layers.values(), expected.layers.values(), strict=True):
        np.testing.assert_allclose(ours.input_moment, theirs.input_moment, rtol=1e-12)
        np.testing.assert_allclose(ours.grad_moment, theirs.grad_moment, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(
            ours.weight_singular_values, theirs.weight_singular_values, rtol=1e-12
        )


@pytest.mark.parametrize("save", saving.DATA_ONLY, ids=lambda save: save.__name__)
def test_data_in_any_container_give_equal_statistics(tmp_path, net, data, expected, save):
    model = load(save(tmp_path, net))
    assert_equal(statistics(model, data), expected)
    assert model.checkpoint.step == (7 if save.__name__ in STEP_IS_TOLD else None)


@pytest.mark.parametrize("save", saving.PROGRAMS, ids=lambda save: save.__name__)
def test_programs_are_refused_and_with_trust_give_equal_statistics(
    tmp_path, net, data, expected, save
):
    path = save(tmp_path, net)
    with pytest.raises(UnsafeError, match="pass --trust") as caught:
        load(path)
    assert str(path) in caught.value.message
    model = load(path, trust=True)
    assert any("--trust" in note for note in model.notes)
    assert_equal(statistics(model, data), expected)


@pytest.mark.parametrize(
    ("dtype", "digits"),
    [(torch.float16, 1e-2), (torch.bfloat16, 1e-1), (torch.float8_e4m3fn, 0.5)],
)
def test_weights_of_few_bits_give_nearly_equal_statistics_in_float32(
    tmp_path, net, data, expected, dtype, digits
):
    state = net.state_dict()
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()},
               tmp_path / "half.pt")  # fmt: skip
    model = load(tmp_path / "half.pt")
    assert model.notes[-1] == f"{str(dtype)[6:]} weights used as float32"
    name = "stem"
    ours, theirs = statistics(model, data).layers[name], expected.layers[name]
    np.testing.assert_allclose(ours.input_moment, theirs.input_moment, rtol=1e-6)
    np.testing.assert_allclose(
        ours.weight_singular_values, theirs.weight_singular_values, rtol=digits
    )


def test_a_file_from_another_device_opens_here(tmp_path, net, data, expected):
    """torch writes the device's name into the pickle; ours is changed to one that is not here."""
    path = saving.torch_legacy(tmp_path, net)
    path.write_bytes(path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x03\x00\x00\x00mps"))
    assert b"mps" in path.read_bytes()
    assert_equal(statistics(load(path), data), expected)


def test_a_part_is_chosen_by_its_key(tmp_path, net, data, expected):
    path = saving.training_dict(tmp_path, net)
    average = load(path, weights="model_ema").checkpoint
    assert "weights from model_ema" in average.notes
    stem = net.state_dict()["stem.weight"] + 1
    torch.testing.assert_close(average.state_dict["stem.weight"], stem, rtol=0, atol=0)
    with pytest.raises(UsageError, match="no weights at 'ema'; it has model, model_ema"):
        load(path, weights="ema")


def test_a_student_beside_its_teacher_is_asked_for(tmp_path, net, data, expected):
    path = tmp_path / "distillation.pt"
    both = {f"{who}.backbone.{k}": v for who in ("student", "teacher")
            for k, v in net.state_dict().items()}  # fmt: skip
    torch.save({"state_dict": both}, path)
    with pytest.raises(InputError, match=r"2 times, as student\.backbone, teacher\.backbone; say"):
        load(path)
    for key in ("student.backbone", "state_dict.student.backbone"):
        model = load(path, weights=key)
        assert_equal(statistics(model, data), expected)


def test_what_is_left_out_is_told(tmp_path, net):
    notes = load(saving.lightning(tmp_path, net)).notes
    assert "the network is the part net; left out beside it: criterion.weight" in notes
    assert any(note.startswith("pickled code left unread: argparse.Namespace") for note in notes)


def test_a_wrapper_that_the_file_does_not_have_is_no_matter(tmp_path, net):
    source = tmp_path / "wrapped.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Module()\n"
        "    net.inner = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))\n"
        "    return net\n"
    )
    inner = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    torch.save(inner.state_dict(), tmp_path / "inner.pt")
    module = load(tmp_path / "inner.pt", arch=f"{source}:build").module
    torch.testing.assert_close(module.inner.state_dict(), inner.state_dict())


def test_tied_weights_that_safetensors_kept_once_are_found(tmp_path):
    source = tmp_path / "tied.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))\n"
        "    net[1].weight = net[0].weight\n"
        "    return net\n"
    )
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    path = saving.safetensors_file(tmp_path, net)
    assert len(read_checkpoint(path).state_dict) == 3
    module = load(path, arch=f"{source}:build").module
    assert module[1].weight is module[0].weight
    torch.testing.assert_close(module.state_dict(), net.state_dict())


def test_entries_that_are_no_tensors_are_left_out(tmp_path, net):
    state = dict(net.state_dict()) | {"fc._extra_state": None, "version": 3}
    torch.save(state, tmp_path / "extra.pt")
    model = load(tmp_path / "extra.pt")
    assert "no tensors, and left out: fc._extra_state, version" in model.notes


def test_the_weights_do_not_change_with_the_file(tmp_path, net):
    path = saving.torch_zip(tmp_path, net)
    module = load(path).module
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    torch.testing.assert_close(module.state_dict(), net.state_dict(), rtol=0, atol=0)


def test_a_program_for_one_batch_size_says_how_to_export_it(tmp_path):
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(4, 2),))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(InputError, match="one number of examples only; export it again with dyn"):
        load(tmp_path / "model.pt2", trust=True)
