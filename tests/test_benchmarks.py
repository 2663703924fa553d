"""The benchmarks at miniature size: what they time computes what they say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.contestants import CONTESTANTS, Unsupported, contestant
from benchmarks.document import keep, table, with_section
from benchmarks.race import Result
from benchmarks.run import section
from benchmarks.worker import Worker
from benchmarks.workloads import (
    GPU_WORKLOADS,
    SCALED_WORKLOADS,
    WORKLOADS,
    Workload,
    build,
    reference,
    shrunk,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(45, 4)
    )


def images(examples: int) -> tuple[Tensor, Tensor]:
    seeded = torch.Generator().manual_seed(1)
    return torch.randn(examples, 3, 5, 5, generator=seeded), torch.arange(examples) % 4


def workload(*, conv: str = "patches") -> Workload:
    return Workload(
        title="miniature", network=network, data=images, examples=12, batch=5, conv=conv
    )


@pytest.mark.filterwarnings("ignore")  # of the libraries, while they run
@pytest.mark.parametrize(
    ("name", "conv"),
    [
        ("condcli", "channels"),
        ("hooks", "channels"),
        *((name, "patches") for name in CONTESTANTS if not name.startswith("bare")),
    ],
)
def test_every_contestant_finds_the_factors_of_plain_hooks(
    name: str, conv: str, tmp_path: Path
) -> None:
    truth = Worker(contestant("hooks"), reference(build(workload(conv=conv))))
    truth.run()
    assert truth.save(str(tmp_path)) == {"layers": 2}
    try:
        worker = Worker(contestant(name), build(workload(conv=conv)))
    except Unsupported as reason:
        pytest.skip(str(reason))
    timed = worker.run()
    found = worker.compare(str(tmp_path))
    assert found["layers"] == 2
    assert found["input_error"] < 1e-5
    assert name == "backpack" or found["grad_error"] < 1e-5
    assert 0 < timed["seconds"] <= timed["whole_seconds"]


@pytest.mark.filterwarnings("ignore")
def test_the_exact_type_has_a_reference_of_another_library(tmp_path: Path) -> None:
    pytest.importorskip("curvlinops")
    task = reference(build(workload(), fisher="exact"))
    truth = Worker(contestant("curvlinops"), task)
    truth.run()
    assert truth.save(str(tmp_path)) == {"layers": 2}
    worker = Worker(contestant("condcli"), build(workload(), fisher="exact"))
    worker.run()
    found = worker.compare(str(tmp_path))
    assert max(found["input_error"], found["grad_error"]) < 1e-5


def test_a_bare_pass_leaves_the_gradients_of_the_whole_probe_set() -> None:
    task = build(workload())
    contestant("bare").prepare(task)()
    found = [parameter.grad.clone() for parameter in task.model.parameters()]
    task.model.zero_grad()
    task.loss((task.x, task.y)).backward()
    for grad, parameter in zip(found, task.model.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad)


def test_a_bare_pass_without_weight_gradients_goes_back_to_the_first_layer() -> None:
    task = build(workload())
    seen: list[Tensor] = []

    def note(output: Tensor) -> None:
        output.register_hook(seen.append)

    run = contestant("bare_no_dw").prepare(task)
    first = next(iter(task.layers.values()))
    first.register_forward_hook(lambda _, args, out: note(out))
    run()
    assert len(seen) == 3  # one a batch
    assert all(parameter.grad is None for parameter in task.model.parameters())


def test_a_shrunk_workload_has_as_many_batches() -> None:
    for full in (WORKLOADS | GPU_WORKLOADS | SCALED_WORKLOADS).values():
        small = shrunk(full, 8)
        assert math.ceil(small.examples / small.batch) == math.ceil(full.examples / full.batch)


def test_a_table_has_ratios_to_the_bare_pass_and_tells_what_failed() -> None:
    results = [
        Result(contestant="bare", seconds=2.0, whole_seconds=2.0),
        Result(contestant="condcli", seconds=3.0, whole_seconds=4.0, input_error=2e-7),
        Result(contestant="other", failure="has no such layer"),
    ]
    lines = section("two rows", results).splitlines()
    assert "| condcli | 3.000 | 1.50 | 4.000 | – | – | – | 2e-07 | – |" in lines
    assert "- other: has no such layer" in lines


def test_a_section_replaces_what_was_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    text = with_section(document.read_text(), "a", table(["x", "y"], [["1", r"\2"]]))
    assert text == (
        "before\n<!-- a -->\n| x | y |\n| --- | ---: |\n| 1 | \\2 |\n<!-- /a -->\nafter\n"
    )
    with pytest.raises(SystemExit, match="no section between <!-- b -->"):
        keep("b", "new", {}, document=document)
