"""Recorder as a callback of transformers' Trainer."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe
from condcli.errors import InputError

from .loops import assert_layers_agree, step_file
from .test_untouched import assert_nothing_left

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    from condcli.integrations.transformers import RecorderCallback

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES, TOKENS = 8, 6


def language_model() -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(
        **{"vocab_size": 11, "n_positions": TOKENS, "n_embd": 8, "n_layer": 2, "n_head": 2},
        **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    )
    return GPT2LMHeadModel(config)


def sentences() -> list[dict[str, Tensor]]:
    source = torch.Generator().manual_seed(1)
    found = []
    for _ in range(EXAMPLES):
        tokens = torch.randint(11, (TOKENS,), generator=source)
        labels = tokens.masked_fill(torch.rand(TOKENS, generator=source) < 0.3, -100)
        mask = torch.ones(TOKENS, dtype=torch.int64)
        found.append({"input_ids": tokens, "attention_mask": mask, "labels": labels})
    return found


def trainer(model: nn.Module, folder: Path, *callbacks: Any, steps: int = 3) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=EXAMPLES // 2,
        gradient_accumulation_steps=2,
        max_steps=steps,
        max_grad_norm=0.01,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    return Trainer(
        model=model, args=arguments, train_dataset=sentences(), callbacks=list(callbacks)
    )


def test_a_step_of_two_batches_is_a_probe_of_both(tmp_path: Path) -> None:
    """Every step sees all sentences, in another order; clipping and the sum over tokens undone."""
    model = language_model()
    first = deepcopy(model)
    callback = RecorderCallback(tmp_path / "run", every=2)
    trainer(model, tmp_path, callback).train()
    inputs = {
        name: torch.stack([sentence[name] for sentence in sentences()])
        for name in ("input_ids", "attention_mask", "labels")
    }
    expected = probe(first, [(inputs, inputs.pop("labels"))], loss="next-token")
    stats = step_file(tmp_path / "run", 0)
    assert_layers_agree(stats, expected, tolerance=3e-6)
    assert stats.provenance.loss == pytest.approx(expected.provenance.loss, rel=1e-6)
    assert (stats.provenance.examples, stats.provenance.batch_size) == (8, 4)
    assert stats.provenance.loss_terms == expected.provenance.loss_terms
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "step_00000000.h5",
        "step_00000002.h5",
    ]


def test_a_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain, recorded = language_model(), language_model()
    trainer(plain, tmp_path).train()
    trainer(recorded, tmp_path, RecorderCallback(tmp_path / "run", every=1)).train()
    for name, weight in plain.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], weight), name
    assert_nothing_left(recorded)


class Failing(RecorderCallback):
    """The loop fails right before the network's second step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        super().on_step_begin(args, state, control, **others)
        if state.global_step == 1:
            others["model"].transformer.h[1].register_forward_pre_hook(fail)


def fail(*_: object) -> None:
    raise ValueError("the network fails")


def test_an_exception_leaves_no_mode(tmp_path: Path) -> None:
    from torch.nn.modules import module as modules
    from torch.overrides import _get_current_function_mode_stack

    model = language_model()
    with pytest.raises(ValueError, match="the network fails"):
        trainer(model, tmp_path, Failing(tmp_path / "run", every=1)).train()
    assert not _get_current_function_mode_stack()
    assert not modules._global_forward_hooks
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step_00000000.h5"]


def own_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Over all tokens of a sentence, the first one too: outside the network."""
    known = labels != -100
    picked = outputs.logits.log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1))[..., 0]
    return -(picked * known).sum() / known.sum()


def test_a_loss_outside_the_network_is_asked_for_and_told(tmp_path: Path) -> None:
    made = trainer(language_model(), tmp_path, RecorderCallback(tmp_path / "a"), steps=1)
    made.compute_loss_func = own_loss
    with pytest.raises(InputError, match="computes") as caught:
        made.train()
    assert "step.loss(loss, terms=N)" in caught.value.remedy
    callback = RecorderCallback(tmp_path / "b")

    def told(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        terms = int((labels != -100).sum())
        return callback.loss(own_loss(outputs, labels), terms=terms, name="every token")

    made = trainer(language_model(), tmp_path, callback, steps=1)
    made.compute_loss_func = told
    made.train()
    stats = step_file(tmp_path / "b", 0)
    assert stats.provenance.loss_name == "every token"
    assert stats.provenance.loss_terms == sum(int((s["labels"] != -100).sum()) for s in sentences())
