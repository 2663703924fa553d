"""The exact blocks of all layers and the whole matrix, from all columns of A in F = A Aᵀ / terms.

The non-zero eigenvalues of A Aᵀ, P × P, are those of the Gram matrix Aᵀ A, R × R with R columns
(examples times those of each); whichever is smaller is formed. Over several layers the Gram
matrices add up, so the whole matrix, P × P over all layers, is never needed either.

Where the examples do not act on each other, one backward pass gives a column of all of them. Batch
statistics tie them together: the exact matrix then takes a backward pass for every column of every
example. Σ_∇h is that of one backward pass for all examples together, as in a probe; of the type
exact it is what that is in expectation over labels from the network's own prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from condcli.analysis.eigenvalues import spectrum_of
from condcli.analysis.exact import WHOLE, ExactBlock, KroneckerFactors
from condcli.analysis.solvers import EigenSolver
from condcli.capture.fisher import OutputCurvature, one_by_one, output_curvature, trials
from condcli.curvature.columns import (
    Columns,
    KroneckerSums,
    Written,
    columns_of,
    inner_product,
    joined,
)
from condcli.curvature.rows import LayerRows, RowCapture
from condcli.curvature.setting import Setting
from condcli.errors import InputError
from condcli.stats import FloatArray

EPS = float(np.finfo(np.float64).eps)


@dataclass(eq=False)
class LayerColumns:
    """One layer's columns and moments while the batches run."""

    kind: str
    sums: KroneckerSums = field(default_factory=KroneckerSums)
    parts: list[tuple[int, Columns | None]] = field(default_factory=list)  # columns, None: zeros

    def columns(self) -> Columns | None:
        """All of them, in the order of the batches; None where no gradient ever came."""
        known = [part for _, part in self.parts if part is not None]
        if not known:
            return None
        like = known[0].written()
        zeros = [like.new_zeros(count, known[0].size) for count, _ in self.parts]
        return joined(
            [part or Written(zero) for (_, part), zero in zip(self.parts, zeros, strict=True)]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseResult:
    """The blocks in forward order, the whole matrix, and what was measured."""

    blocks: list[ExactBlock]
    whole: ExactBlock
    examples: int
    terms: int
    columns: int  # R
    tied: bool  # whether the examples act on each other
    loss: float  # mean


def dense_blocks(
    setting: Setting,
    fisher: str,
    *,
    mc_samples: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DenseResult:
    """Every layer's exact block, of this Fisher type, and the matrix of all layers together.

    Raises InputError where no layer has a gradient, and for what is not finite.
    """
    layers: dict[str, LayerColumns] = {}
    terms, loss, tied, done = 0, 0.0, False, 0
    with setting.lent():
        for place, batch in setting.batches():
            capture = setting.capture()
            with setting.passed(place, batch, capture) as (output, result):
                curvature = output_curvature(
                    setting.loss,
                    output,
                    result,
                    fisher,
                    samples=mc_samples,
                    seed=setting.options.seed,
                    place=place,
                )
                terms, loss = terms + result.terms, loss + float(result.loss.detach())
                tied |= _take(layers, capture, curvature, exact=fisher == "exact")
            done += len(curvature.scores)
            progress(done, setting.probe_set.examples)
    if not terms:
        raise InputError(f"{setting.probe_set.source} has no labelled target", "choose other data")
    found = _finished(layers, terms)
    columns = sum(count for count, _ in next(iter(layers.values())).parts)
    return DenseResult(
        blocks=found[:-1],
        whole=found[-1],
        examples=done,
        terms=terms,
        columns=columns,
        tied=tied,
        loss=loss / terms,
    )


def _take(
    layers: dict[str, LayerColumns],
    capture: RowCapture,
    curvature: OutputCurvature,
    *,
    exact: bool,
) -> bool:
    """Run all backward passes of one batch; whether its examples act on each other."""
    for name, rows in capture.rows.items():
        layers.setdefault(name, LayerColumns(rows.kind)).sums.see_inputs(rows)
    apart = _examples_are_apart(capture, curvature)
    units = len(curvature.scores) if apart else 1
    for i in range(curvature.count):
        column = curvature.column(i)
        if not (apart or exact):
            _backward(capture, curvature, column)
            _see_grads(layers, capture)
        for part in [column] if apart else one_by_one(column):
            _backward(capture, curvature, part)
            if apart or exact:
                _see_grads(layers, capture)
            for name, layer in layers.items():
                seen = capture.rows.get(name)
                layer.parts.append((units, None if seen is None else columns_of(seen, units)))
    return not apart


def _see_grads(layers: dict[str, LayerColumns], capture: RowCapture) -> None:
    for name, rows in capture.rows.items():
        layers[name].sums.see_grads(rows)


def _backward(capture: RowCapture, curvature: OutputCurvature, column: Tensor) -> None:
    capture.forget_grads()
    curvature.scores.backward(column, retain_graph=True)


def _examples_are_apart(capture: RowCapture, curvature: OutputCurvature) -> bool:
    """Whether a gradient of some examples' outputs reaches only their own rows of each layer.

    Where rows are not ordered by example, the answer is no.
    """
    for column, others in trials(curvature.scores):
        _backward(capture, curvature, column)
        if not all(_is_apart(layer, others) for layer in capture.rows.values()):
            return False
    return True


def _is_apart(layer: LayerRows, others: Tensor) -> bool:
    examples = len(others)
    for _, delta in layer.rows():
        if delta.shape[1] % examples:
            return False
        if bool(delta.unflatten(1, (examples, -1))[:, others].any()):
            return False
    return True


def _finished(layers: dict[str, LayerColumns], terms: int) -> list[ExactBlock]:
    """The blocks, and last the whole."""
    columns = {name: layer.columns() for name, layer in layers.items()}
    reached = {name: found for name, found in columns.items() if found is not None}
    if not reached:
        raise InputError("no gradient reaches any layer", "check --layers, and the network's loss")
    count, size = next(iter(reached.values())).count, sum(c.size for c in reached.values())
    by_gram = count <= size
    total: Tensor | None = None
    blocks, written = [], []
    for name, found in reached.items():
        small = found.gram() if by_gram else None
        if small is None or found.size < count:
            rows = found.written()
            own = rows.T @ rows
            written.append(rows)
        else:
            own = small
        blocks.append(_block(name, layers[name], found, own / terms, terms))
        if small is not None:
            total = small if total is None else total.add_(small)
            written.clear()
    if total is None:
        rows = torch.cat(written, dim=1)
        total = rows.T @ rows
    total = total / terms
    whole = ExactBlock(
        layer=WHOLE,
        kind="",
        size=size,
        eigenvalues=_eigenvalues(total, WHOLE),
        squared_norm=float((total**2).sum()),
        inner=sum(block.inner for block in blocks),
        factors=tuple(factors for block in blocks for factors in block.factors),
    )
    return [*blocks, whole]


def _block(
    name: str, layer: LayerColumns, columns: Columns, small: Tensor, terms: int
) -> ExactBlock:
    inputs, grads = layer.sums.moments()
    names = [f"layer {name!r}: {sign}" for sign in ("Σ_x", "Σ_∇h")]
    x, delta = (EigenSolver(np.linalg.eigvalsh, each) for each in names)
    rows, scale = layer.sums.rows, layer.sums.rows / terms
    norms = (inputs**2).sum((1, 2)) * (grads**2).sum((1, 2))
    factors = KroneckerFactors(
        input=spectrum_of(_numpy(inputs), rows=rows, eps=EPS, name=names[0], solve=x),
        grad=spectrum_of(
            _numpy(grads), rows=rows * columns.count, eps=EPS, name=names[1], solve=delta
        ),
        scale=scale,
        squared_norm=scale**2 * float(norms.sum()),
    )
    return ExactBlock(
        layer=name,
        kind=layer.kind,
        size=columns.size,
        eigenvalues=_eigenvalues(small, name),
        squared_norm=float((small**2).sum()),
        inner=scale * inner_product(columns, inputs, grads) / terms,
        factors=(factors,),
    )


def _eigenvalues(matrix: Tensor, name: str) -> FloatArray:
    if not bool(matrix.isfinite().all()):
        raise InputError(
            f"layer {name!r}: its gradients hold NaN or infinity",
            "look at the checkpoint and its data",
        )
    solve = EigenSolver(np.linalg.eigvalsh, f"layer {name!r}: its exact block")
    values: FloatArray = solve(_numpy(matrix)[None])[0, ::-1]
    return np.maximum(values, 0.0)


def _numpy(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.cpu().numpy()
    return array
