"""A folder that holds one checkpoint, in any of the ways that libraries save one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from condcli.errors import InputError
from condcli.files import Sources
from condcli.models.formats.containers import read_file
from condcli.models.formats.content import Content, is_step
from condcli.models.formats.distributed import is_distributed, read_distributed
from condcli.models.formats.json_file import read_json
from condcli.models.formats.shards import ENDING, read_shards

# In the order of transformers, diffusers and accelerate.
INDEXES = tuple(
    name + ENDING
    for name in ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
)
WEIGHTS = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz")
# Files that training leaves beside the weights, and which end like them.
NO_WEIGHTS = ("optimizer", "scheduler", "scaler", "training_args", "rng_state", "random_states")
TRAINER_STATE = "trainer_state.json"
ADAPTER = "adapter_config.json"
FOREIGN = {
    ADAPTER: (
        "an adapter (LoRA) without its base model",
        "merge it into the base model: merge_and_unload(), then save_pretrained()",
    ),
    "zero_to_fp32.py": (
        "a DeepSpeed checkpoint",
        "run the zero_to_fp32.py in it, and probe the file that it writes",
    ),
    "saved_model.pb": ("a TensorFlow model", "save the weights of its twin in PyTorch"),
    "tf_model.h5": ("a TensorFlow model", "load it with from_tf=True and save_pretrained()"),
    "flax_model.msgpack": ("a Flax model", "load it with from_flax=True and save_pretrained()"),
}
SHOWN = 3


def read_content(
    path: Path, sources: Sources, *, trust: bool = False, weights: str | None = None
) -> Content:
    """What the checkpoint at `path` holds: a file, the index of several, or a folder.

    Raises as `read_file` and `read_shards` do, and InputError for a folder without a checkpoint.
    """
    if path.name.endswith(ENDING):
        return read_shards(path, sources, trust=trust)
    if not path.is_dir():
        return read_file(path, sources, trust=trust, weights=weights)
    try:
        content = _read_folder(path, sources, trust=trust, weights=weights)
    except PermissionError as error:
        raise InputError(f"{path} cannot be read", "check its permissions") from error
    return replace(content, step=_trainer_step(path))


def _read_folder(folder: Path, sources: Sources, *, trust: bool, weights: str | None) -> Content:
    if is_distributed(folder):
        return read_distributed(folder, sources)
    names = sorted(each.name for each in folder.iterdir())
    if ADAPTER in names:
        raise _foreign(folder, ADAPTER)
    for index in INDEXES:
        if index in names:
            return read_shards(folder / index, sources, trust=trust)
    known = [name for name in WEIGHTS if name in names]
    files = known[:1] or [name for name in names if _may_be_weights(name)]
    if len(files) == 1:
        return read_file(folder / files[0], sources, trust=trust, weights=weights)
    raise _not_one(folder, names, files)


def _may_be_weights(name: str) -> bool:
    return name.endswith(ENDINGS) and not name.startswith(NO_WEIGHTS)


def _not_one(folder: Path, names: list[str], files: list[str]) -> InputError:
    """Why nothing in `folder` could be chosen, and what to type instead."""
    for name in FOREIGN:
        if name in names:
            return _foreign(folder, name)
    if files:
        return InputError(
            f"{folder} holds several checkpoints: {_some(files)}", f"name one: {folder / files[-1]}"
        )
    inner = [name for name in names if _holds_checkpoint(folder / name)]
    if inner:
        latest = max(inner, key=lambda name: (folder / name).stat().st_mtime)
        return InputError(
            f"{folder} holds no checkpoint itself, but {_some(inner)} in it may",
            f"name one: {folder / latest}",
        )
    return InputError(f"{folder} is a folder without a checkpoint", "name a checkpoint file")


def _foreign(folder: Path, name: str) -> InputError:
    what, remedy = FOREIGN[name]
    return InputError(f"{folder} is {what}", remedy)


def _holds_checkpoint(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return is_distributed(folder) or any(
        each.name in INDEXES or _may_be_weights(each.name) for each in folder.iterdir()
    )


def _trainer_step(folder: Path) -> int | None:
    """The step that transformers' Trainer wrote beside the weights."""
    path = folder / TRAINER_STATE
    step = read_json(path).get("global_step") if path.is_file() else None
    return step if is_step(step) else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
