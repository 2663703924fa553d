"""What Recorder adds to a training: `python -m benchmarks.recorder`.

Two trainings of the same network go on in turns, a block of steps each, one of them with a Recorder
that records once a block. A file is made beside the steps that follow, and a block ends when its
own is written. Given are the medians over the blocks: seconds by the clock, of the processor (all
threads) and of the processor in the training's own thread; and what is added: in percent, and for
one record in steps of the plain training. The last is what a training waits for where a core is
left for the file; on a machine that others use, the clock tells little. The first block of each is
not counted: its record is made at once.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import condcli
from benchmarks.document import number, origin, table
from benchmarks.machine import machine
from benchmarks.networks import cifar_resnet, gpt, mlp

CLOCKS = {
    "s": time.perf_counter,
    "CPU s": time.process_time,
    "CPU s of its thread": time.thread_time,
}


@dataclass(frozen=True)
class Task:
    """A network with a batch, and the shape that its outputs have for the loss."""

    caption: str
    build: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]


def _tokens() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(1000, (16, 128))
    return tokens, tokens.roll(-1, 1)


TASKS = {
    "mlp": Task(
        "MLP, 20 layers of 256, batches of 1024",
        mlp,
        lambda: (torch.randn(1024, 256), torch.randint(10, (1024,))),
    ),
    "resnet": Task(
        "ResNet-20 for CIFAR, batches of 128",
        cifar_resnet,
        lambda: (torch.randn(128, 3, 32, 32), torch.randint(10, (128,))),
    ),
    "gpt": Task("GPT, 4 blocks of 256, batches of 16 × 128 tokens", gpt, _tokens),
}


class Training:
    """A network that learns one batch by heart."""

    def __init__(self, task: Task, device: str, folder: Path | None, every: int) -> None:
        self.model = task.build().to(device)
        self.x, self.y = (tensor.to(device) for tensor in task.batch())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.recorder = condcli.Recorder(self.model, folder, every=every) if folder else None

    def step(self) -> None:
        with self.recorder.step() if self.recorder else nullcontext():
            scores = self.model(self.x)
            loss = cross_entropy(scores.flatten(0, -2), self.y.flatten())
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def block(self, steps: int) -> list[float]:
        """Seconds of so many steps, by each of the clocks."""
        start = [clock() for clock in CLOCKS.values()]
        for _ in range(steps):
            self.step()
        if self.recorder:
            self.recorder.wait()
        if self.x.device.type == "cuda":
            torch.cuda.synchronize()
        return [clock() - before for clock, before in zip(CLOCKS.values(), start, strict=True)]


def measured(task: Task, *, every: int, rounds: int, device: str) -> list[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Training(task, device, None, every)
        recorded = Training(task, device, Path(folder), every)
        blocks = [(plain.block(every), recorded.block(every)) for _ in range(rounds + 1)][1:]
        recorded.recorder.close()
    medians = [
        [statistics.median(block[who][clock] for block in blocks) for who in (0, 1)]
        for clock in range(len(CLOCKS))
    ]
    row = [task.caption, str(every)]
    for without, beside in medians:
        extra = beside - without
        row += [number(without), number(beside), f"{100 * extra / without:.1f} %"]
        row.append(number(extra / (without / every)))
    return row


HEADINGS = ["network", "every"]
for _unit in CLOCKS:
    HEADINGS += [f"{_unit} without", f"{_unit} with", "added", "a record, in steps"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=[*TASKS], help=", ".join(TASKS))
    parser.add_argument("--every", type=int, default=100, help="steps from record to record")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each that count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    print(origin(machine(threads=torch.get_num_threads())) + "\n")
    rows = [
        measured(TASKS[name], every=options.every, rounds=options.rounds, device=options.device)
        for name in options.tasks
    ]
    print(table(HEADINGS, rows))


if __name__ == "__main__":
    main()
