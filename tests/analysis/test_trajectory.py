from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condcli import statsfile
from condcli.analysis.trajectory import require_one_run, trajectory
from condcli.errors import InputError, UsageError
from condcli.statsfile import write
from tests.synthetic import activation, diagonal, layer, stats


def run(folder: Path, *files: Any) -> Path:
    """A run with these statistics, one file each."""
    for place, each in enumerate(files):
        write(each, folder / f"step_{100 * place:08}.h5")
    return folder


def test_each_number_is_what_its_definition_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, deltas = rng.standard_normal((40, 5)) * np.arange(1, 6), rng.standard_normal((40, 5))
    weight, grad = rng.standard_normal((2, 5, 5))
    moments = [rows.T @ rows / 40, deltas.T @ deltas / 40]
    sigmas = [np.linalg.svd(matrix, compute_uv=False) for matrix in (weight, grad)]
    measured = layer(
        "fc",
        *moments,
        rows=40,
        input_rows=40,
        weight_singular_values=sigmas[0],
        weight_grad_singular_values=sigmas[1],
        weight_norm=float(np.linalg.norm(weight)),
        weight_grad_norm=float(np.linalg.norm(grad)),
    )
    run(tmp_path, stats(measured, loss=1.5))
    (point,) = trajectory([tmp_path], percent=60)
    found = point.layers["fc"]
    values = [np.linalg.eigvalsh(m)[::-1] for m in moments]
    products = np.sort(np.outer(*values), axis=None)[::-1]
    assert (found.kind, found.d_in, found.d_out) == ("linear", 5, 5)
    assert found.lambda_max_input == pytest.approx(values[0][0])
    assert found.lambda_max_grad == pytest.approx(values[1][0])
    assert found.lambda_max == pytest.approx(products[0])
    assert found.kappa_input.value == pytest.approx(values[0][0] / values[0][2])  # ⌈0.6·5⌉ = 3
    assert found.kappa_grad.value == pytest.approx(values[1][0] / values[1][2])
    assert found.kappa.value == pytest.approx(products[0] / products[14])  # ⌈0.6·25⌉ = 15
    assert found.ratio == pytest.approx(sigmas[1][0] / sigmas[0][0])
    assert (found.sigma_max_weight, found.sigma_max_grad) == (sigmas[0][0], sigmas[1][0])
    assert found.weight_norm == pytest.approx(np.sqrt(np.sum(weight**2)))
    assert found.weight_grad_norm == pytest.approx(np.sqrt(np.sum(grad**2)))
    assert (point.loss, point.accuracy) == (1.5, 0.93)


def test_points_are_in_the_order_of_the_steps(tmp_path: Path) -> None:
    for step, loss in ((3, 0.3), (1, 2.0), (20, 0.1)):
        write(stats(layer(), step=step, loss=loss), tmp_path / f"x{step}.h5")
    points = trajectory(sorted(tmp_path.iterdir(), reverse=True))
    assert [(p.step, p.loss, p.step_from) for p in points] == [
        (1, 2.0, "file"),
        (3, 0.3, "file"),
        (20, 0.1, "file"),
    ]
    assert [p.path.name for p in points] == ["x1.h5", "x3.h5", "x20.h5"]


def test_convolutions_are_in_the_scale_of_the_paper(tmp_path: Path) -> None:
    conv = layer("conv", kind="conv2d", kernel_size=(3, 3), positions=10.0)
    run(tmp_path, stats(conv))
    (point,) = trajectory([tmp_path])
    assert point.layers["conv"].lambda_max_grad == pytest.approx(100 * 0.5)  # T²


def test_activations_come_with_their_counts(tmp_path: Path) -> None:
    run(tmp_path, stats(layer(), activations=(activation("relu"),)))
    (point,) = trajectory([tmp_path])
    found = point.activations["relu"]
    assert (found.units, found.rows, found.dying, found.full) == (4, 100, 2, 1)


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    broken = layer(
        "fc",
        np.full((3, 3), np.nan),
        weight_grad_singular_values=np.array([np.nan]),
        weight_grad_norm=float("nan"),
        nonfinite="inputs since batch 1",
    )
    frozen = layer("frozen", weight_grad_singular_values=np.zeros(2), weight_grad_norm=0.0)
    run(tmp_path, stats(broken, frozen, loss=float("nan"), accuracy=None))
    (point,) = trajectory([tmp_path])
    found = point.layers["fc"]
    assert (point.loss, point.accuracy) == (None, None)
    assert (found.lambda_max_input, found.lambda_max, found.ratio) == (None, None, None)
    assert (found.kappa_input.least, found.weight_grad_norm) == (None, None)
    assert found.lambda_max_grad == pytest.approx(0.5)
    assert (point.layers["frozen"].ratio, point.layers["frozen"].sigma_max_grad) == (0.0, 0.0)


def test_embeddings_groups_and_no_layers_have_points(tmp_path: Path) -> None:
    table = replace(layer("emb", kind="embedding"), input_moment=np.array([0.5, 0.3, 0.2]), d_in=3)
    groups = layer("dw", np.stack([diagonal(3.0, 1.0), diagonal(2.0, 0.5)]), np.ones((2, 1, 1)))
    run(tmp_path, stats(table, groups))
    (point,) = trajectory([tmp_path])
    assert point.layers["emb"].lambda_max_input == 0.5
    assert point.layers["dw"].lambda_max_input == pytest.approx(3.0)
    (tmp_path / "none").mkdir()
    run(tmp_path / "none", stats(), stats())
    assert [p.layers for p in trajectory([tmp_path / "none"])] == [{}, {}]


def test_kept_eigenvalues_give_the_same_points(tmp_path: Path) -> None:
    run(tmp_path, stats(layer()), stats(layer("b")))
    before = trajectory([tmp_path / "step_00000000.h5"])
    assert trajectory([tmp_path / "step_00000000.h5"], cache=True) == before
    kept = statsfile.read(before[0].path)
    assert statsfile.kept_spectra(kept, "fc") is not None
    assert statsfile.kept_spectra(statsfile.read(tmp_path / "step_00000100.h5"), "b") is None
    assert trajectory([before[0].path]) == before


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (layer("fc2"), "layer 'fc' is linear 3→2 and absent"),
        (layer("fc", grad_moment=np.eye(3)), "layer 'fc' is linear 3→2 and linear 3→3"),
        (layer("fc", kind="conv2d"), "layer 'fc' is linear 3→2 and conv2d 3→2"),
    ],
)
def test_files_of_different_networks_are_refused_by_name(
    other: Any, words: str, tmp_path: Path
) -> None:
    run(tmp_path, stats(layer("fc")), stats(other))
    with pytest.raises(InputError, match=f"step_00000000.h5 and .*00100.h5 are not .*{words}"):
        trajectory([tmp_path])


@pytest.mark.parametrize("change", [{"conv": "patches"}, {"norm": "running"}, {"fisher": "mc"}])
def test_files_that_were_not_probed_alike_are_refused(
    change: dict[str, str], tmp_path: Path
) -> None:
    run(tmp_path, stats(layer()), stats(layer(), **change))
    ((name, value),) = change.items()
    with pytest.raises(InputError, match=f"were not probed alike: {name} is .* and {value}"):
        trajectory([tmp_path])


def test_another_number_of_parameters_is_another_network(tmp_path: Path) -> None:
    run(tmp_path, stats(layer()), stats(layer(), parameters=7))
    with pytest.raises(InputError, match="are not of one network: it has 12345 and 7 parameters"):
        trajectory([tmp_path])


def test_a_layer_that_was_frozen_at_some_steps_is_no_other_network(tmp_path: Path) -> None:
    both = [layer("fc"), layer("head")]
    run(tmp_path, stats(both[1]), stats(*both), stats(both[1]), stats())
    points = trajectory([tmp_path])
    assert [list(point.layers) for point in points] == [["head"], ["fc", "head"], ["head"], []]
    require_one_run(points[0], points[2])
    for other in (points[1], points[3]):
        with pytest.raises(InputError, match="are not of one network: layer"):
            require_one_run(points[0], other)


def test_other_data_are_no_other_run(tmp_path: Path) -> None:
    run(tmp_path, stats(layer()), stats(layer(), data_sha256="ef" * 32))
    assert len(trajectory([tmp_path])) == 2


def test_a_damaged_moment_is_named_with_its_file(tmp_path: Path) -> None:
    run(tmp_path, stats(layer()), stats(layer(input_moment=diagonal(1.0, 1.0, -1.0))))
    with pytest.raises(InputError, match=r"00100\.h5: layer 'fc': its input moment"):
        trajectory([tmp_path])


def test_a_percentage_out_of_range_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stats(layer()))
    with pytest.raises(UsageError, match="percentage 0 is out of range"):
        trajectory([tmp_path], percent=0)
