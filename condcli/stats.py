"""The vocabulary that every part shares: what one probe measured, as frozen dataclasses.

Nothing here computes. Shapes stand beside the fields; the exact meaning of each number, with its
formula and source, is in docs/numbers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

DID_NOT_RUN = "did not run"  # reasons of parameters that no batch needed
SAW_NO_ROWS = "saw no rows"
NO_GRADIENT = "no gradient reached it"  # how such reasons begin
PART_OF_GRADIENT = "gradients reached only"
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerStats:
    """The second moments of one linear map, h = W x, over the rows that it saw.

    With G > 1 groups the moments have a leading group axis and d_in, d_out count all groups:
    a grouped convolution is G separate linear maps side by side.
    """

    name: str  # the module's path, or the parameter's when no module owns it
    kind: str  # linear, embedding, conv1d … conv3d, conv_transpose1d … conv_transpose3d
    order: int  # place in the forward pass, from 0
    # length of x: features, channels (conv view `channels`), patch size (other views), vocabulary
    d_in: int
    d_out: int  # length of h
    groups: int  # G
    kernel_size: tuple[int, ...]  # () for a linear layer
    rows: int  # R: rows of h, over all examples, positions and calls
    input_rows: int  # rows of x; differs from R only for convolutions in the `channels` view
    calls: int  # calls in one forward pass
    positions: float  # T = R / loss terms
    bias: bool
    weight_shape: tuple[int, ...]
    parameters: int  # of the model: weight and bias; what an earlier layer has, too, counts there
    # mean over rows of x xᵀ, (d_in, d_in) or (G, d_in/G, d_in/G); an embedding's diagonal (d_in,);
    # None where x is wider than max_dim: then there is a factor
    input_moment: FloatArray | None
    input_mean: FloatArray  # (d_in,)
    # mean over rows of δ δᵀ, (d_out, d_out) or (G, d_out/G, d_out/G); None as above
    grad_moment: FloatArray | None
    grad_mean: FloatArray  # (d_out,)
    weight_singular_values: FloatArray  # descending, of W as a matrix (all groups pooled)
    weight_grad_singular_values: FloatArray  # descending, of ∂L/∂W, L the mean loss
    weight_norm: float  # ‖W‖_F
    weight_grad_norm: float  # ‖∂L/∂W‖_F
    # λ_max of E[vec(∂ℓ/∂W) vec(∂ℓ/∂W)ᵀ] over examples; None where it was not measured, and why
    weight_grad_moment_lambda_max: float | None = None
    weight_grad_moment_note: str = ""
    # in place of a moment: F, (k, d_in) or (G, k, d_in/G); FᵀF is the moment, or a sketch of it
    input_factor: FloatArray | None = None
    input_error: float | None = None  # no eigenvalue is further from one of FᵀF; 0: none at all
    input_trace: float | None = None  # of the moment itself, all groups together
    grad_factor: FloatArray | None = None  # (k, d_out) or (G, k, d_out/G)
    grad_error: float | None = None
    grad_trace: float | None = None
    nonfinite: str | None = None  # what is NaN or infinite on purpose, and since which batch
    # of a shard only, for merging; (d_out, …), or (G, d_out/G, …): ∂L/∂W as the matrix of W
    weight_grad: FloatArray | None = None
    first_place: int | None = None  # in the probe set, of the first batch that it ran on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerSpectra:
    """The eigenvalues of a layer's two moments as stored, and what rounding lets us see of them.

    Derived from `LayerStats`; a statistics file may keep them. An eigenvalue is one of G groups.
    """

    name: str
    kind: str
    rows: int
    d_in: int
    d_out: int
    groups: int
    positions: float
    input_eigenvalues: FloatArray  # (G, d_in/G), descending in each group
    input_floor: FloatArray  # (G,): eigenvalues up to here are not resolved
    input_ceiling: IntArray  # (G,): no group has more non-zero eigenvalues than this
    grad_eigenvalues: FloatArray  # (G, d_out/G), descending in each group
    grad_floor: FloatArray  # (G,)
    grad_ceiling: IntArray  # (G,)
    # of a moment that a factor stands for: by how much each may be off, all beyond the factor's
    # too; 0: it is exact; None: the moment itself was solved
    input_error: float | None = None
    grad_error: float | None = None
    note: str | None = None  # how they were found, where the usual solver failed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationStats:
    """How often each unit of one activation call site is on.

    A unit is a feature of a fully connected layer or a channel of a feature map.
    """

    name: str  # the module's path; a functional call is PATH/function, a later call NAME:2, :3 …
    function: str  # relu, gelu, tanh …
    order: int  # place in the forward pass, from 0
    units: int
    rows: int  # rows seen by every unit
    active_count: IntArray  # (units,): rows on which the output is > 0
    saturated_count: IntArray | None = None  # (units,): sigmoid and tanh only
    first_place: int | None = None  # as a layer's


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedParameter:
    """A part of the model that no layer stands for, and why; a bias counts with its weight."""

    name: str
    kind: str  # class of the module that has it
    shape: tuple[int, ...]  # of the weight or vector
    parameters: int  # numbers that no layer stands for
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the numbers come from: the root attributes of a statistics file."""

    condcli_version: str
    torch_version: str
    created: str  # ISO 8601, UTC
    command: str
    model_source: str
    model_sha256: str
    arch: str
    parameters: int  # the model's: those of the layers and of what was skipped add up to it
    data_source: str
    data_sha256: str  # of the probed inputs and targets, as the network saw them
    normalize: str  # how the inputs were normalised
    examples: int  # N
    loss_terms: int  # terms of the summed loss: examples, or labelled positions
    loss: float  # mean over the loss terms, per batch as probed
    loss_name: str  # cross-entropy, next-token, mse, bce, or the user's FILE.py:function
    fisher: str  # empirical, mc or exact: what the gradients of Σ_∇h are of
    conv: str  # channels, patches or reduce
    norm: str  # batch or running
    dtype: str  # float32 or float64: of the network, the rows and the products
    device: str
    seed: int
    batch_size: int
    autocast: str  # none, or the lower precision of the network (bfloat16)
    pass_seconds: float  # the forward/backward passes with their accumulation, nothing else
    peak_memory_bytes: int
    accuracy: float | None = None  # share of right classes, when the loss has classes
    chance: float | None = None  # the accuracy of always guessing the commonest class
    step: int | None = None  # the checkpoint's own training step
    shard: str = ""  # I/N of a shard, else empty
    whole_examples: int | None = None  # of a shard: N of the whole
    label_counts: tuple[int, ...] | None = None  # of a shard with classes: labels of each
    ignore_label: int | None = None  # the label of targets that have none
    per_example: str | None = None  # auto, all or none
    dropout: bool | None = None  # of a training's own passes: whether some was active
    selected: str | None = None  # the globs of --layers and --exclude, where there are some
    mc_samples: int | None = None  # labels drawn for each example, of Fisher type mc
    columns: int | None = None  # gradients of each row at the most, of Fisher type exact
    max_dim: int | None = None  # the longest x or h whose moment is stored whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeStats:
    """Everything that one probe measured, in the order of the forward pass."""

    provenance: Provenance
    layers: Mapping[str, LayerStats]
    activations: Mapping[str, ActivationStats] = field(default_factory=dict)
    skipped: Mapping[str, SkippedParameter] = field(default_factory=dict)
