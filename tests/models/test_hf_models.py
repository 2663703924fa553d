"""transformers' model folders: built here from their own words, with the weights that were read."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import condcli
from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models import load

transformers = pytest.importorskip("transformers")

TINY = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SIZES = {
    "GPT2LMHeadModel": {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 23, **TINY},
    "BertForSequenceClassification": {
        "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 23,
        "intermediate_size": 24, "num_labels": 3, "pad_token_id": 0,
    },
    "LlamaForCausalLM": {
        "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "vocab_size": 23,
        "num_key_value_heads": 2, "intermediate_size": 24, **TINY,
    },
    "MixtralForCausalLM": {  # its experts are fused when loaded, and apart in the file
        "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 23,
        "num_key_value_heads": 2, "intermediate_size": 24, "num_local_experts": 3, **TINY,
    },
}  # fmt: skip


def network(name):
    torch.manual_seed(1)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**SIZES[name])).eval()


@pytest.fixture
def gpt2(tmp_path):
    net = network("GPT2LMHeadModel")
    net.save_pretrained(tmp_path / "gpt2")
    return net, tmp_path / "gpt2"


def rewritten(folder, **words):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))
    return folder


def assert_same_function(module, net):
    ids = torch.arange(14).reshape(2, 7)
    ours, theirs = module.eval()(input_ids=ids), net(input_ids=ids)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("shards", [None, "8KB"])
def test_a_saved_folder_is_the_network_that_was_saved(tmp_path, name, shards):
    net = network(name)
    net.save_pretrained(tmp_path, **({"max_shard_size": shards} if shards else {}))
    model = load(tmp_path)
    assert len(model.checkpoint.files) > (2 if shards else 0)
    assert type(model.module).__name__ == name
    assert_same_function(model.module, net)


def test_the_weights_file_alone_uses_the_configuration_beside_it(gpt2):
    net, folder = gpt2
    model = load(folder / "model.safetensors")
    assert f"architecture named by config.json: hf:{folder}/config.json" in model.notes
    assert_same_function(model.module, net)


def test_every_container_of_it_gives_equal_statistics(tmp_path):
    net = network("BertForSequenceClassification")
    net.save_pretrained(tmp_path / "bert")
    net.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    torch.save(
        {"model": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "a.pt"
    )
    ids = torch.arange(60).reshape(6, 10) % 23
    data = [({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(6) % 3)]
    expected = condcli.probe(net, data)
    assert len(expected.layers) > 10
    arch = f"hf:{tmp_path / 'bert'}"
    for model in (load(tmp_path / "bert"), load(tmp_path / "shards"),
                  load(tmp_path / "bert" / "model.safetensors"),
                  load(tmp_path / "a.pt", arch=arch)):  # fmt: skip
        layers = condcli.probe(model, data).layers
        assert list(layers) == list(expected.layers)
        for name, layer in expected.layers.items():
            ours = layers[name]
            np.testing.assert_allclose(ours.input_moment, layer.input_moment, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(ours.grad_moment, layer.grad_moment, rtol=1e-3, atol=1e-7)


def test_the_network_is_not_asked_for_anything(gpt2, monkeypatch):
    def fail(*_):
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr("socket.socket.connect", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    _, folder = gpt2
    load(rewritten(folder, _name_or_path="someone/model", attn_implementation="someone/kernel"))


@pytest.mark.parametrize("place", ["config.json", ""])
def test_the_configuration_can_be_elsewhere(tmp_path, gpt2, place):
    net, folder = gpt2
    torch.save({f"module.{k}": v for k, v in net.state_dict().items()}, tmp_path / "ddp.pt")
    assert_same_function(load(tmp_path / "ddp.pt", arch=f"hf:{folder / place}").module, net)


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.gpt2."])
def test_a_framework_around_the_network_is_no_matter(tmp_path, gpt2, prefix):
    net, folder = gpt2
    state = {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 3}, tmp_path / "last.ckpt")
    assert_same_function(load(tmp_path / "last.ckpt", arch=f"hf:{folder}").module, net)


def test_a_tied_head_stays_tied(gpt2):
    _, folder = gpt2
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    module = load(folder).module
    assert module.lm_head.weight is module.transformer.wte.weight


def test_weights_of_the_network_without_its_head_get_their_prefix(tmp_path, gpt2):
    net, folder = gpt2
    save_file(net.transformer.state_dict(), folder / "model.safetensors")
    assert_same_function(load(folder).module, net)


def test_another_tasks_head_is_left_out_and_told(gpt2):
    _, folder = gpt2
    weights = load_file(folder / "model.safetensors") | {"score.weight": torch.ones(2, 16)}
    save_file(weights, folder / "model.safetensors")
    assert "left out beside it: score.weight" in load(folder).notes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"n_layer": 1}, "11 unexpected"),
        ({"n_layer": 3}, r"12 missing \('transformer\.h\.2\."),
        ({"n_embd": 32}, r"of another shape \('transformer\."),
        ({"architectures": ["GPT2ForSequenceClassification"]}, r"1 missing \('score\.weight'\)"),
        ({"architectures": ["Vanished"]}, "no network 'Vanished'; update transformers"),
        ({"architectures": ["logging"]}, "no network 'logging'"),
        ({"model_type": "new"}, "'new', which transformers has not; update"),
        ({"quantization_config": {"bits": 4}}, "quantized network"),
        ({"n_embd": "sixteen"}, "correct the configuration"),
    ],
)
def test_a_configuration_of_another_network_is_refused(gpt2, words, said):
    _, folder = gpt2
    with pytest.raises(InputError, match=said) as caught:
        load(rewritten(folder, **words))
    assert "\n" not in str(caught.value)


def test_code_beside_the_weights_is_not_run(gpt2, tmp_path):
    _, folder = gpt2
    canary = tmp_path / "canary"
    (folder / "modeling.py").write_text(f"open({str(canary)!r}, 'w')\nclass Net: pass\n")
    words = {"auto_map": {"AutoConfig": "modeling.Net", "AutoModel": "modeling.Net"}}
    rewritten(folder, model_type="own", architectures=["Net"], **words)
    for trust in (False, True):
        with pytest.raises(UnsafeError, match=r"code beside it.*--arch FILE\.py:function"):
            load(folder, trust=trust)
    assert not canary.exists()


def test_a_configuration_cannot_have_a_kernel_fetched(gpt2):
    net, folder = gpt2
    assert_same_function(load(rewritten(folder, attn_implementation="someone/kernel")).module, net)


def test_arguments_go_before_the_configurations(gpt2):
    _, folder = gpt2
    module = load(folder, arch_args={"activation_function": "relu"}).module
    assert module.config.activation_function == "relu"


def test_a_configuration_that_is_not_there_is_named(gpt2, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/config\.json|nowhere does not exist"):
        load(gpt2[1] / "model.safetensors", arch=f"hf:{tmp_path / 'nowhere'}")


def test_another_programs_config_json_is_not_asked(tmp_path):
    (tmp_path / "config.json").write_text("{'no': 'json'")
    torch.save({"strange.weight": torch.ones(2, 2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="fits no known architecture"):
        load(tmp_path / "model.pt")


def test_without_transformers_the_remedy_is_to_install_it(gpt2, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers.utils", None)
    with pytest.raises(UsageError, match=r"pip install 'condcli\[hf\]'"):
        load(gpt2[1])
