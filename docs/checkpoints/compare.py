"""One probe of one checkpoint, beside the reference of reference.py."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from catalogue import MNIST, Checkpoint
from recorder import LOOKUP, Sums, relative
from reference import Batch, Loss, measure, summed_loss
from torch import Tensor, nn

from condcli import ProbeStats, load, read


class Blank:
    """Stands for any object whose package is not here, such as OmegaConf's settings."""

    def __setstate__(self, state: object) -> None:
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError:
            return Blank


LENIENT = {**vars(pickle), "Unpickler": Unpickler}
BATCH = 128  # condcli's own, for data that does not come in batches


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one probe gave, and by how much at most it differs from the reference.

    A deviation is max |A − B| / max |B| over the entries of one layer's Σ_x or Σ_∇h.
    """

    stats: ProbeStats
    deviation: float
    worst: str  # the layer of that deviation
    missing: tuple[str, ...]  # weights that are neither probed nor listed as skipped


def probe(checkpoint: Checkpoint, folder: Path, *options: str, root: Path) -> ProbeStats:
    """`condcli probe` as a user types it, in ``folder``; the statistics that it wrote."""
    with TemporaryDirectory() as place:
        output = Path(place) / "stats.h5"
        words = [*checkpoint.command(), *options, "--output", str(output)]
        if checkpoint.data == MNIST:
            words += ["--root", str(root)]
        typed(folder, "probe", *words)
        stats = read(output)
        return replace(stats, layers=dict(stats.layers))  # read while the file is there


def scaffold(checkpoint: Checkpoint, folder: Path) -> int:
    """How many lines `condcli inspect --scaffold` writes, of a network that takes every tensor."""
    trust = ["--trust"] if "--trust" in checkpoint.options else []
    with TemporaryDirectory() as place:
        file = Path(place) / "scaffold.py"
        typed(folder, "inspect", checkpoint.path, "--scaffold", str(file), *trust)
        load(folder / checkpoint.path, arch=f"{file}:build", trust=bool(trust))
        return len(file.read_text().splitlines())


def typed(folder: Path, *words: str) -> None:
    """Runs condcli in ``folder``; raises RuntimeError with its own words where it fails."""
    run = subprocess.run(
        [sys.executable, "-m", "condcli", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(run.stderr.strip())


def reference(
    checkpoint: Checkpoint, folder: Path, *, root: Path, dtype: torch.dtype = torch.float64
) -> tuple[nn.Module, dict[str, Sums]]:
    """The network as it was loaded, and every weight's moments, from a pass in ``dtype``."""
    with inside(folder):
        network = loaded(checkpoint)
        sums = measure(
            network,
            mnist(root) if checkpoint.data == MNIST else named(checkpoint.data)(),
            loss_of(checkpoint),
            running="running" in checkpoint.options,
            dtype=dtype,
            stubborn=not checkpoint.float64,
        )
    return network, sums


def loss_of(checkpoint: Checkpoint) -> Loss:
    """The summed loss; of a function that returns one number each, their sum."""
    if ":" not in checkpoint.loss:
        return summed_loss(checkpoint.loss)
    each = named(checkpoint.loss)
    return lambda output, targets: each(output, targets).sum()


def loaded(checkpoint: Checkpoint) -> nn.Module:
    """The network with the checkpoint's weights, all of them, by PyTorch or transformers alone."""
    torch.manual_seed(0)
    if checkpoint.arch is None:
        import transformers

        (name,) = json.loads(Path(checkpoint.path, "config.json").read_text())["architectures"]
        network: nn.Module = getattr(transformers, name).from_pretrained(checkpoint.path)
        return network
    network = named(checkpoint.arch)(**checkpoint.arch_args)
    weights = {name.removeprefix("module."): tensor for name, tensor in tensors(checkpoint).items()}
    network.load_state_dict(weights)
    return network


def tensors(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """The tensors of a file, found by hand for each kind of file."""
    path = Path(checkpoint.file)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if path.suffix == ".jit":
        return torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-any-return]
    saved: Any = torch.load(
        path, map_location="cpu", weights_only=False, pickle_module=SimpleNamespace(**LENIENT)
    )
    for key in ("model_state", "model_state_dict", "state_dict", "model"):
        saved = saved.get(key, saved)
    return saved  # type: ignore[no-any-return]


def mnist(root: Path) -> list[Batch]:
    """The test set, in order, with the usual normalisation."""
    raw = root / "MNIST" / "raw"
    pixels = np.fromfile(raw / "t10k-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)
    labels = np.fromfile(raw / "t10k-labels-idx1-ubyte", np.uint8)[8:]
    x = (torch.from_numpy(pixels) / 255 - 0.1307) / 0.3081
    y = torch.from_numpy(labels).long()
    return list(zip(x.split(BATCH), y.split(BATCH), strict=True))


def named(spec: str) -> Callable[..., Any]:
    """The function of FILE.py:function or package.module:function, under the current folder."""
    place, _, name = spec.partition(":")
    if not place.endswith(".py"):
        return attrgetter(name)(importlib.import_module(place))  # type: ignore[no-any-return]
    found = importlib.util.spec_from_file_location(f"reference_{Path(place).stem}", place)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def compared(stats: ProbeStats, network: nn.Module, sums: Mapping[str, Sums]) -> Outcome:
    """The largest deviation over all layers, each beside the sums of its weight."""
    first = first_names(network)
    beside = {
        name: counterpart(name, layer.kind, sums, first) for name, layer in stats.layers.items()
    }
    apart = {name: difference(stats, name, own) for name, (_, own) in beside.items()}
    worst = max(apart, key=lambda name: apart[name])
    known = {weight for weight, _ in beside.values()}
    left = [weight.removesuffix(LOOKUP) for weight in sums if weight not in known]
    return Outcome(
        stats=stats,
        deviation=apart[worst],
        worst=worst,
        missing=tuple(
            name for name in left if not {name, name.removesuffix(".weight")} & set(stats.skipped)
        ),
    )


def counterpart(
    name: str, kind: str, sums: Mapping[str, Sums], first: Mapping[str, str]
) -> tuple[str, Sums]:
    """The reference's name and sums of a layer's weight.

    A third of a packed projection is condcli's `q_proj`, `k_proj` or `v_proj`; a weight that is
    looked up in as well as multiplied by has its lookups apart.
    """
    use = LOOKUP if kind == "embedding" else ""
    for weight in (f"{name}.weight", name):
        known = f"{first.get(weight, weight)}{use}"
        if known in sums:
            return known, sums[known]
    path, _, part = name.rpartition(".")
    packed = sums[f"{path}.in_proj_weight"]
    return f"{path}.in_proj_weight", packed.part("qkv".index(part[0]), 3)


def first_names(network: nn.Module) -> dict[str, str]:
    """Each parameter's every name, and the first, which the reference goes by."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name)
        for name, tensor in network.named_parameters(remove_duplicate=False)
    }


def difference(stats: ProbeStats, name: str, sums: Sums) -> float:
    """`Sums.distance` of a layer of the file; the rows must be as many."""
    layer = stats.layers[name]
    assert (layer.rows, layer.input_rows) == (sums.rows, sums.input_rows), name
    moments = (layer.input_moment, sums.input_moment), (layer.grad_moment, sums.grad_moment)
    return max(
        relative(torch.from_numpy(found.astype(float)).reshape(exact.shape), exact)
        for found, exact in moments
    )


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The current folder is ``folder``, and packages are imported from it."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
