"""Curvature matrices as SciPy linear operators: products with vectors, and no matrix.

F v = (1/terms) Σ_n J_nᵀ B_n J_n v (capture/fisher.py). J v comes from differentiating Jᵀ u, which
is linear in u, once more (Pearlmutter, Neural Computation 1994; Schraudolph 2002); the Hessian's
product from differentiating ⟨∇L, v⟩. A product costs a few passes over the data and no memory
beside theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from condcli.capture.fisher import output_curvature
from condcli.capture.losses import Evaluation
from condcli.capture.weights import Block
from condcli.curvature.seen import seen_layers
from condcli.curvature.setting import Setting
from condcli.errors import InputError
from condcli.stats import FloatArray


class CurvatureOperator(LinearOperator):
    """A symmetric (P, P) matrix over the weights of some layers, in their forward order.

    ``places`` is where each layer's weights, row after row, are in a vector. Each product lends
    the network, and leaves it as it was.
    """

    def __init__(
        self, setting: Setting, blocks: Mapping[str, Block], matrix: str, *, mc_samples: int = 1
    ) -> None:
        self.blocks = dict(blocks)
        self.places = dict(zip(blocks, _places([b.numbers for b in blocks.values()]), strict=True))
        self.setting = setting
        self.matrix = matrix
        self._mc_samples = mc_samples
        size = sum(block.numbers for block in blocks.values())
        super().__init__(np.dtype(np.float64), (size, size))  # type: ignore[call-arg]  # as SciPy asks

    def of(self, layer: str) -> CurvatureOperator:
        """The diagonal block of one layer."""
        block = {layer: self.blocks[layer]}
        return CurvatureOperator(self.setting, block, self.matrix, mc_samples=self._mc_samples)

    def _matvec(self, x: FloatArray) -> FloatArray:
        vector = torch.from_numpy(np.array(x, dtype=np.float64).reshape(-1))
        setting, terms = self.setting, 0
        total = torch.zeros_like(vector)
        with setting.lent():
            parameters = self._parameters()
            tangents = self._spread(vector.to(setting.options.device), parameters)
            for place, batch in setting.batches():
                with (
                    setting.passed(place, batch) as (output, result),
                    _twice_differentiable(setting.probe_set.source),
                ):
                    found = self._product(output, result, parameters, tangents, place)
                total += self._picked(found, parameters).cpu()
                terms += result.terms
        if vector.isfinite().all() and not total.isfinite().all():
            raise InputError(
                f"the gradients of {', '.join(self.blocks)} hold NaN or infinity",
                "look at the checkpoint and its data",
            )
        image: FloatArray = (total / terms).numpy()
        return image

    def _adjoint(self) -> CurvatureOperator:
        return self

    def _product(
        self,
        output: object,
        result: Evaluation,
        parameters: Sequence[Tensor],
        tangents: Sequence[Tensor],
        place: int,
    ) -> Sequence[Tensor | None]:
        if self.matrix == "hessian":
            grads = _grad(result.loss, parameters, create_graph=True)
            gradients, along = _sloped(grads, tangents)
            if not gradients:
                return [None] * len(parameters)
            slopes = [(g * t).sum() for g, t in zip(gradients, along, strict=True)]
            return _grad(torch.stack(slopes).sum(), parameters)
        curvature = output_curvature(
            self.setting.loss,
            output,
            result,
            self.matrix,
            samples=self._mc_samples,
            seed=self.setting.options.seed,
            place=place,
        )
        scores = curvature.scores
        u = torch.zeros_like(scores, requires_grad=True)
        pulled = _grad(scores, parameters, u, create_graph=True)
        gradients, along = _sloped(pulled, tangents)
        if not gradients:
            return [None] * len(parameters)
        (pushed,) = torch.autograd.grad(gradients, u, along)
        return _grad(scores, parameters, curvature.product(pushed))

    def _parameters(self) -> list[Tensor]:
        """Each once: blocks can be parts of the same."""
        return list({id(b.parameter): b.parameter for b in self.blocks.values()}.values())

    def _spread(self, vector: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The vector as tangents of the parameters, zero outside the blocks."""
        tangents = {id(p): torch.zeros_like(p, requires_grad=False) for p in parameters}
        for layer, block in self.blocks.items():
            rows = tangents[id(block.parameter)][block.start : block.stop]
            rows.copy_(vector[self.places[layer]].reshape(rows.shape))
        return list(tangents.values())

    def _picked(self, found: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
        """The blocks of what was found for the parameters, as a vector."""
        by_id = {
            id(p): torch.zeros_like(p) if g is None else g.detach()
            for p, g in zip(parameters, found, strict=True)
        }
        parts = [by_id[id(b.parameter)][b.start : b.stop] for b in self.blocks.values()]
        return torch.cat([part.flatten() for part in parts])


def weight_blocks(setting: Setting) -> dict[str, Block]:
    """The weight of every wanted layer that is a parameter, or rows of one, each once.

    Raises InputError where there is none.
    """
    found: dict[tuple[int, int], tuple[str, Block]] = {}
    for name, layer in seen_layers(setting).items():
        if isinstance(layer.use.block.parameter, nn.Parameter):
            found.setdefault(layer.use.block.key, (name, layer.use.block))
    if not found:
        raise InputError("no layer's weight is a parameter of the network", "check --layers")
    return dict(found.values())


def _places(sizes: Sequence[int]) -> list[slice]:
    bounds = np.cumsum([0, *sizes]).tolist()
    return [slice(*ends) for ends in pairwise(bounds)]


def _grad(
    output: Tensor, inputs: Sequence[Tensor], weight: Tensor | None = None, **options: bool
) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        output, inputs, weight, allow_unused=True, retain_graph=True, **options
    )


def _sloped(
    grads: Sequence[Tensor | None], tangents: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients that can be differentiated again, and their tangents."""
    kept = [
        (grad, tangent)
        for grad, tangent in zip(grads, tangents, strict=True)
        if grad is not None and grad.requires_grad
    ]
    return [grad for grad, _ in kept], [tangent for _, tangent in kept]


@contextmanager
def _twice_differentiable(source: str) -> Iterator[None]:
    """Say what is wrong with a function that has no second derivative."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if "derivative for" not in str(error):
            raise
        raise InputError(
            f"the network has no second derivative on {source} ({str(error).splitlines()[0]})",
            "leave out --matrix-free, or replace that function (fused attention: the math kernel)",
        ) from error
