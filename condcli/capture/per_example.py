"""λ_max of the second moment of per-example weight gradients, E[vec(∂ℓ/∂W) vec(∂ℓ/∂W)ᵀ].

With g_n the gradient of example n's loss, that moment is GᵀG / N for G with rows vec(g_n), and its
largest eigenvalue is that of the N × N Gram matrix G Gᵀ / N. Lanczos needs only products with it:

- a layer with one row per example has g_n = δ_n x_nᵀ, so v ↦ G Gᵀ v is the row sums of
  (X (Xᵀ diag(v) Δ)) ∘ Δ, and X and Δ are all that is kept: N (d_in + d_out) numbers; of few
  examples, G Gᵀ = X Xᵀ ∘ Δ Δᵀ is made at once;
- an embedding has g_n = Σ_t δ_nt x_ntᵀ with one-hot x, so Gᵀ v is a sum into the rows of a table
  and (G Gᵀ v)_n a sum of products with rows of that table: the tokens and Δ are kept;
- any other layer (a convolution, tokens) keeps G itself: N · d_in · d_out numbers.
"""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from condcli.capture.large_pages import kept_copy
from condcli.capture.largest import largest, largest_of_factors
from condcli.capture.linear_maps import Lookup, RowMap
from condcli.capture.moments import scaled
from condcli.capture.ranks import Ranks

MANY_ROWS = "more than one row per example; --per-example all measures it"
NO_EXAMPLE_AXIS = "its rows are not ordered by example"
NOT_FOUND = "Lanczos does not converge"


class ExampleGradients:
    """Per-example gradients of one layer, kept for as long as they can be told apart."""

    def __init__(self, setting: str) -> None:
        self.note = "switched off" if setting == "none" else ""
        self._all = setting == "all"
        self._kept: GradientFactors | LookupGradients | Gradients | None = None

    def add(
        self,
        linear_map: RowMap | Lookup,
        x: Tensor,
        grads: Tensor,
        *,
        examples: int,
        only_call: bool,
    ) -> None:
        """Take in one call's input and rows of δ, (G, rows, d_out/G); only without a note."""
        one_row = linear_map.kernel == () and grads.shape[1] == examples and only_call
        if not one_row and not self._all:
            return self.give_up(MANY_ROWS)
        if not linear_map.is_batch_of(x, examples):
            return self.give_up(NO_EXAMPLE_AXIS)
        self._kept = self._kept or _kept_for(linear_map, one_row)
        if isinstance(linear_map, Lookup) and isinstance(self._kept, LookupGradients):
            trained = (x != linear_map.ignored).flatten()
            self._kept.add(x.flatten(), grads[0] * trained[:, None], examples)
        elif isinstance(self._kept, Gradients) and not isinstance(linear_map, Lookup):
            self._kept.add(_gradients(linear_map, x, grads, examples))
        elif one_row and isinstance(self._kept, GradientFactors):
            self._kept.add(x.reshape(examples, -1), grads[0])
        else:
            self.give_up(MANY_ROWS)

    def give_up(self, note: str) -> None:
        """Forget everything, and say why."""
        self.note, self._kept = note, None

    def end_batch(self) -> None:
        """The next gradients are of other examples."""
        if isinstance(self._kept, Gradients | LookupGradients):
            self._kept.end_batch()

    def gathered(self, ranks: Ranks, device: torch.device) -> ExampleGradients:
        """Those of all processes in the first one; in the others their own."""
        first, *others = ranks.gathered_first(self.moved(torch.device("cpu"))) or [self]
        together: ExampleGradients = first.moved(device)
        for other in others:
            together.take(other.moved(device))
        return together

    def moved(self, device: torch.device) -> ExampleGradients:
        """The same on ``device``, in memory of its own."""
        twin = copy(self)
        if self._kept is not None:
            twin._kept = copy(self._kept)
            lists = {name: v for name, v in vars(self._kept).items() if isinstance(v, list)}
            vars(twin._kept).update(
                {n: [t.to(device, copy=True) for t in v] for n, v in lists.items()}
            )
        return twin

    def take(self, other: ExampleGradients) -> None:
        """Add the gradients of other examples, measured elsewhere."""
        mine, theirs = self._kept, other._kept
        if self.note or other.note:
            self.give_up(self.note or other.note)
        elif mine is None or theirs is None:
            self._kept = mine or theirs
        elif type(mine) is type(theirs):
            mine.take(theirs)  # type: ignore[arg-type]
        else:
            self.give_up(MANY_ROWS)

    def lambda_max(self) -> float | None:
        """Largest eigenvalue of the second moment; None, with the reason in ``note``."""
        if self._kept is None:
            return None
        try:
            return self._kept.lambda_max()
        except np.linalg.LinAlgError:
            self.give_up(NOT_FOUND)
            return None


def _kept_for(
    linear_map: RowMap | Lookup, one_row: bool
) -> GradientFactors | LookupGradients | Gradients:
    if isinstance(linear_map, Lookup):
        return LookupGradients()
    return GradientFactors() if one_row else Gradients()


def _gradients(linear_map: RowMap, x: Tensor, grads: Tensor, examples: int) -> Tensor:
    """(N, d_out·d_in/G): each example's own ∂ℓ/∂W."""
    by_example: Tensor = grads.unflatten(1, (examples, -1))
    gradients = []
    for n in range(examples):
        rows = torch.cat(list(linear_map.input_rows(x[n : n + 1], "patches")), dim=1)
        gradients.append((by_example[:, n].transpose(1, 2) @ rows).flatten())
    return torch.stack(gradients)


class GradientFactors:
    """X and Δ of a layer that sees one row per example."""

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []
        self._grads: list[Tensor] = []

    def add(self, rows: Tensor, grads: Tensor) -> None:
        """Keep one batch's rows (N, d_in) and gradients (N, d_out)."""
        self._inputs.append(kept_copy(rows))
        self._grads.append(kept_copy(grads))

    def take(self, other: GradientFactors) -> None:
        """Add other examples."""
        self._inputs += other._inputs
        self._grads += other._grads

    def lambda_max(self) -> float:
        """The largest eigenvalue over all batches."""
        x, x_power = scaled(torch.cat(self._inputs))
        delta, delta_power = scaled(torch.cat(self._grads))
        return largest_of_factors(x, delta) * float(x_power * delta_power) ** 2


class LookupGradients:
    """Tokens and Δ of an embedding, whose examples may have any number of tokens each."""

    def __init__(self) -> None:
        self._tokens: list[Tensor] = []
        self._grads: list[Tensor] = []
        self._owners: list[Tensor] = []  # the example of each token, over all batches
        self._examples = 0  # in the batches before this one
        self._batch = 0

    def add(self, tokens: Tensor, grads: Tensor, examples: int) -> None:
        """Keep one call's tokens (rows,) and gradients (rows, d_out)."""
        self._batch = examples
        each = len(tokens) // examples
        owners = torch.arange(examples, device=tokens.device).repeat_interleave(each)
        self._tokens.append(tokens.clone())
        self._grads.append(grads.detach().clone())
        self._owners.append(self._examples + owners)

    def end_batch(self) -> None:
        """The next tokens are of other examples."""
        self._examples, self._batch = self._examples + self._batch, 0

    def take(self, other: LookupGradients) -> None:
        """Add other examples."""
        self._tokens += other._tokens
        self._grads += other._grads
        self._owners += [self._examples + owners for owners in other._owners]
        self._examples += other._examples

    def lambda_max(self) -> float:
        """The largest eigenvalue over all batches."""
        delta, power = scaled(torch.cat(self._grads))
        owners = torch.cat(self._owners)
        known, rows = torch.cat(self._tokens).unique(return_inverse=True)

        def product(v: Tensor) -> Tensor:
            table = delta.new_zeros(len(known), delta.shape[1])
            table.index_add_(0, rows, v[owners, None] * delta)
            return v.new_zeros(len(v)).index_add_(0, owners, (delta * table[rows]).sum(1))

        return largest(self._examples, delta, product) * float(power) ** 2


class Gradients:
    """The per-example gradients themselves, summed over the calls of each batch."""

    def __init__(self) -> None:
        self._batches: list[Tensor] = []
        self._open = False

    def add(self, gradients: Tensor) -> None:
        """Add one call's gradients (N, parameters) to the current batch."""
        if self._open:
            self._batches[-1] += gradients
        else:
            self._batches.append(gradients)
            self._open = True

    def end_batch(self) -> None:
        """The next gradients are of other examples."""
        self._open = False

    def take(self, other: Gradients) -> None:
        """Add other examples."""
        self._batches += other._batches

    def lambda_max(self) -> float:
        """The largest eigenvalue over all batches."""
        power = max(float(scaled(batch)[1]) for batch in self._batches)
        batches = [batch / power for batch in self._batches]

        def product(v: Tensor) -> Tensor:
            parts = v.split([len(batch) for batch in batches])
            total = torch.stack([b.T @ part for b, part in zip(batches, parts, strict=True)]).sum(0)
            return torch.cat([batch @ total for batch in batches])

        return largest(sum(map(len, batches)), batches[0], product) * power**2
