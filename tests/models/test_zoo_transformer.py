"""The zoo's transformer: what a token sees, where the norms stand, and that all is probed."""

import math

import pytest
import torch
from torch.nn import functional, init

import condcli
from condcli.errors import InputError
from condcli.models import ZOO, write_checkpoint
from condcli.models.match import fitting
from condcli.models.shapes import shapes_of

SMALL = {"vocabulary": 11, "length": 6, "depth": 2, "width": 32}
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
PARTS = (*(f"self_attn.{part}" for part in ATTENTION), "linear1", "linear2")


def small(**more):
    torch.manual_seed(0)
    return ZOO["transformer"](**SMALL | more)


def tokens(*shape):
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_token_is_told_nothing_of_those_after_it(norm):
    network, text = small(norm=norm), tokens(3, 6)
    other = text.clone()
    other[:, 4] = (other[:, 4] + 1) % 11
    before, after = network(text), network(other)
    assert before.shape == (3, 6, 11)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=(0, 2)).min() > 1e-3


def test_blocks_that_add_nothing_leave_pre_ln_as_it_is_and_post_ln_normalised():
    for norm, whole in (("pre", lambda x: x), ("post", functional.layer_norm)):
        block = small(norm=norm).blocks[0]
        for layer in (block.self_attn.out_proj, block.linear2):
            init.zeros_(layer.weight)
        x = torch.randn(2, 6, 32)
        expected = x if norm == "pre" else whole(x, (32,))
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_weights_begin_as_xavier_has_them_and_what_comes_first_has_variance_one():
    network = ZOO["transformer"](width=256, depth=1, length=256)
    limit = math.sqrt(6 / (256 + 1024))
    weight = network.blocks[0].linear1.weight
    assert 0.99 * limit < weight.abs().max() <= limit
    first = network.embedding.weight[:, None] + network.positions.weight
    assert first.var().item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_its_tensors_tell_it(norm):
    found = fitting(shapes_of(small(norm=norm).state_dict()))
    assert [(each.architecture.name, each.architecture.args) for each in found] == [
        ("transformer", SMALL | {"norm": norm})
    ]


def test_a_text_that_is_too_long_is_refused_with_its_length():
    with pytest.raises(InputError, match="7 tokens"):
        small()(tokens(2, 7))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_linear_map_in_it_is_probed(norm, tmp_path):
    file, text = tmp_path / "small.pt", tmp_path / "text.txt"
    write_checkpoint(
        file, small(norm=norm, vocabulary=256).state_dict(), arch="transformer",
        arch_args=SMALL | {"vocabulary": 256, "norm": norm},
    )  # fmt: skip
    text.write_bytes(bytes(tokens(200).tolist()))
    stats = condcli.probe(file, f"text:{text}", length=6, device="cpu")
    blocks = [f"blocks.{k}.{part}" for k in (0, 1) for part in PARTS]
    assert [*stats.layers] == ["embedding", "positions", *blocks, "head"]
    assert {each.reason for each in stats.skipped.values()} == {"a vector, not a linear map"}
    assert stats.provenance.loss_terms == 33 * 6
