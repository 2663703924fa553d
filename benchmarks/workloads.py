"""What is measured: a network, seeded random data, and the matrices that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.networks import cifar_resnet, gpt, mlp, torchvision_resnet

Data = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network and its probe set, not yet built."""

    title: str
    network: Callable[[], nn.Module]
    data: Callable[[int], Data]  # number of examples → inputs, labels
    examples: int
    batch: int
    conv: str = "patches"  # the view of convolutions

    @property
    def caption(self) -> str:
        """The title and how much there is."""
        return f"{self.title}, N = {self.examples} in batches of {self.batch}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A workload that is built and ready to run: the model in eval mode, the data in memory."""

    workload: Workload
    model: nn.Module
    x: Tensor
    y: Tensor
    autocast: str | None = None  # dtype of the network's pass; None: as it is
    fisher: str = "empirical"  # what the factors are of: that, mc or exact

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The linear maps whose factors are asked for, by name."""
        modules = self.model.named_modules()
        return {name: m for name, m in modules if isinstance(m, nn.Linear | nn.Conv2d)}

    def positions(self) -> dict[str, int]:
        """The rows of δ that each layer has for one example, by name."""
        found: dict[str, int] = {}

        def hook_of(name: str) -> Callable[..., None]:
            def hook(layer: nn.Module, args: object, output: Tensor) -> None:
                found[name] = output.numel() // len(layer.weight)

            return hook

        hooks = [layer.register_forward_hook(hook_of(n)) for n, layer in self.layers.items()]
        self.model(self.x[:1])
        for hook in hooks:
            hook.remove()
        return found

    def batches(self) -> Iterator[Data]:
        """The probe set in batches, inputs and labels."""
        size = self.workload.batch
        yield from zip(self.x.split(size), self.y.split(size), strict=True)

    def loss(self, batch: Data) -> Tensor:
        """The summed cross entropy of one batch, forward pass included."""
        dtype = getattr(torch, self.autocast) if self.autocast else None
        with torch.autocast(self.x.device.type, dtype=dtype, enabled=dtype is not None):
            return summed_cross_entropy(self.model(batch[0]), batch[1])


def shrunk(workload: Workload, divisor: int) -> Workload:
    """The workload with that much fewer examples, in as many batches."""
    examples, batch = (max(1, n // divisor) for n in (workload.examples, workload.batch))
    return replace(workload, examples=examples, batch=batch)


def build(
    workload: Workload,
    *,
    device: str = "cpu",
    autocast: str | None = None,
    fisher: str = "empirical",
) -> Task:
    """The workload's network, weights and data, from their seeds."""
    model = workload.network().eval().to(device)
    x, y = workload.data(workload.examples)
    return Task(
        workload=workload,
        model=model,
        x=x.to(device),
        y=y.to(device),
        autocast=autocast,
        fisher=fisher,
    )


def reference(task: Task) -> Task:
    """The task in float64, in smaller batches for its larger numbers."""
    workload = replace(task.workload, batch=max(1, task.workload.batch // 8))
    x = task.x.double() if task.x.is_floating_point() else task.x
    return replace(task, workload=workload, model=task.model.double(), x=x, autocast=None)


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Σ of −log softmax; logits (…, classes), labels (…)."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


def _vectors(examples: int, *, shape: tuple[int, ...], classes: int) -> Data:
    seeded = torch.Generator().manual_seed(1)
    x = torch.randn(examples, *shape, generator=seeded)
    return x, torch.randint(classes, (examples,), generator=seeded)


def _sequences(examples: int) -> Data:
    seeded = torch.Generator().manual_seed(1)
    x, y = torch.randint(1000, (2, examples, 128), generator=seeded)
    return x, y


def mlp_workload(*, depth: int = 20, width: int = 256, examples: int = 4096) -> Workload:
    """A multilayer perceptron in batches of 1024."""
    return Workload(
        title=f"MLP {depth}×{width}",
        network=partial(mlp, depth=depth, width=width),
        data=partial(_vectors, shape=(width,), classes=10),
        examples=examples,
        batch=min(examples, 1024),
    )


def resnet_workload(
    *, depth: int = 20, width: int = 16, examples: int = 512, conv: str = "patches"
) -> Workload:
    """A ResNet at 3 × 32 × 32 in batches of 128."""
    return Workload(
        title=f"ResNet-{depth}, {conv}",
        network=partial(cifar_resnet, depth=depth, width=width),
        data=partial(_vectors, shape=(3, 32, 32), classes=10),
        examples=examples,
        batch=min(examples, 128),
        conv=conv,
    )


def imagenet_workload(name: str, *, conv: str, examples: int, batch: int) -> Workload:
    """A torchvision ResNet at 3 × 224 × 224."""
    return Workload(
        title=f"{name.replace('resnet', 'ResNet-')} at 224², {conv}",
        network=partial(torchvision_resnet, name),
        data=partial(_vectors, shape=(3, 224, 224), classes=1000),
        examples=examples,
        batch=batch,
        conv=conv,
    )


def gpt_workload(*, depth: int = 4, width: int = 256, examples: int = 64) -> Workload:
    """A small GPT on sequences of 128 tokens, in batches of 16."""
    return Workload(
        title=f"GPT {depth}×{width}, 128 tokens an example",
        network=partial(gpt, depth=depth, width=width),
        data=_sequences,
        examples=examples,
        batch=min(examples, 16),
    )


WORKLOADS: dict[str, Workload] = {
    "mlp": mlp_workload(),
    "resnet20-patches": resnet_workload(conv="patches"),
    "resnet20-channels": resnet_workload(conv="channels"),
    "resnet18-patches": imagenet_workload("resnet18", conv="patches", examples=16, batch=8),
    "gpt": gpt_workload(),
}

GPU_WORKLOADS: dict[str, Workload] = {
    f"resnet50-{conv}": imagenet_workload("resnet50", conv=conv, examples=1024, batch=256)
    for conv in ("channels", "patches")
}

# Network, what grows, and to which sizes; all else is as in the network's own workload, but for
# fewer examples.
SIZES: dict[tuple[str, str], tuple[int, ...]] = {
    ("mlp", "examples"): (1024, 2048, 4096),
    ("mlp", "width"): (128, 256, 512),
    ("mlp", "depth"): (10, 20, 40),
    ("resnet", "examples"): (64, 128, 256),
    ("resnet", "width"): (8, 16, 32),
    ("resnet", "depth"): (8, 20, 44),
}
_SCALED: dict[str, Callable[..., Workload]] = {
    "mlp": partial(mlp_workload, examples=2048),
    "resnet": partial(resnet_workload, examples=128),
}
SCALED_WORKLOADS: dict[str, Workload] = {
    f"{network}-{axis}-{size}": _SCALED[network](**{axis: size})
    for (network, axis), sizes in SIZES.items()
    for size in sizes
}
