"""Guesses for layers with a weight and a bias: convolution, linear, norm, embedding."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from condcli.models.guesses.layer import Call, Flow, Layer, call, tuple_of

if TYPE_CHECKING:
    from condcli.models.shapes import Shapes

LOOKED_UP = re.compile(r"emb|wte|wpe|lookup|token|position|vocab|bias", re.IGNORECASE)
ACTIVATION = re.compile(r"act|relu|nonlin", re.IGNORECASE)
NORM = re.compile(r"norm|ln|bn|gn", re.IGNORECASE)
LAYER_NORM = re.compile(r"ln|layer_?norm", re.IGNORECASE)
FEWEST_ROWS = 4  # for each feature, in a table that is known as such by its place alone
STATISTICS = {"running_mean", "running_var"}


def convolution(shapes: Shapes, flow: Flow) -> Layer | None:
    """A convolution of one to three dimensions; the bias tells a transposed one, if unequal."""
    weight = _weight(shapes)
    if len(weight) not in (3, 4, 5) or 0 in weight:
        return None
    bias = shapes.get("bias")
    first, second, *kernel = weight
    if bias is None or bias == (first,):
        return _convolution(first, second, tuple(kernel), flow, has_bias=bias is not None)
    if len(bias) == 1 and bias[0] % second == 0 and first % (bias[0] // second) == 0:
        return _transposed_convolution(first, second, tuple(kernel), groups=bias[0] // second)
    return None


def linear(shapes: Shapes, flow: Flow) -> Layer | None:
    """y = W x + b with W of shape (d_out, d_in)."""
    weight = _weight(shapes)
    if len(weight) != 2 or shapes.get("bias", weight[:1]) != weight[:1]:
        return None
    d_out, d_in = weight
    built = call("nn.Linear", ("in_features", d_in), ("out_features", d_out), **_no_bias(shapes))
    return Layer(kind="linear", what=f"linear {d_in}→{d_out}", call=built, d_in=d_in, d_out=d_out)


def transposed_linear(shapes: Shapes, flow: Flow) -> Layer | None:
    """y = W x + b with W of shape (d_in, d_out), as in GPT-2."""
    weight = _weight(shapes)
    if len(weight) != 2 or shapes.get("bias") != weight[1:]:
        return None
    d_in, d_out = weight
    if d_in == d_out and flow.own_name not in flow.transposed:
        return None
    built = call("TransposedLinear", ("in_features", d_in), ("out_features", d_out))
    what = f"linear {d_in}→{d_out}, weight transposed"
    return Layer(kind="linear", what=what, call=built, d_in=d_in, d_out=d_out)


def embedding(shapes: Shapes, flow: Flow) -> Layer | None:
    """A table of vectors: by its name or place, as a linear layer without bias has such a shape."""
    weight = _weight(shapes)
    if len(weight) != 2 or "bias" in shapes:
        return None
    rows, d_out = weight
    is_first = flow.d_out is None and rows > FEWEST_ROWS * d_out
    if not is_first and not LOOKED_UP.search(flow.own_name):
        return None
    built = call("nn.Embedding", ("num_embeddings", rows), ("embedding_dim", d_out))
    return Layer(kind="embedding", what=f"embedding {rows} × {d_out}", call=built, d_out=d_out)


def batch_norm(shapes: Shapes, flow: Flow) -> Layer | None:
    """Known by its running statistics; for how many dimensions, by the layer before."""
    if not shapes.keys() >= STATISTICS or shapes.get("num_batches_tracked", ()) != ():
        return None
    size = shapes["running_mean"]
    affine = shapes.keys() - STATISTICS - {"num_batches_tracked"}
    if affine not in (set(), {"weight", "bias"}) or len(size) != 1:
        return None
    if any(shapes[name] != size for name in (*affine, "running_var")):
        return None
    options = {} if affine else {"affine": "False"}
    built = call(f"nn.BatchNorm{flow.dims or 1}d", ("num_features", size[0]), **options)
    return _norm(f"batch norm {size[0]}", built, size[0], dims=flow.dims)


def layer_norm(shapes: Shapes, flow: Flow) -> Layer | None:
    """A lone weight, or weight and bias, of the same shape."""
    weight = _weight(shapes)
    if not weight or shapes.get("bias", weight) != weight:
        return None
    if len(weight) > 1:
        return _norm_over(weight) if "bias" in shapes else None
    size = weight[0]
    if "bias" not in shapes:
        return _lone_vector(size, flow)
    if flow.dims and not LAYER_NORM.search(flow.own_name):
        built = call("nn.GroupNorm", ("num_groups", "1"), ("num_channels", size))
        guess = "or LayerNorm; how many groups"
        return _norm(f"norm {size}, group or layer", built, size, guess, dims=flow.dims)
    return vector_norm(size)


def vector_norm(size: int) -> Layer:
    """The usual norm of vectors; GroupNorm has the same tensors."""
    built = call("nn.LayerNorm", ("normalized_shape", size))
    return _norm(f"layer norm {size}", built, size, "or GroupNorm")


def _weight(shapes: Shapes) -> tuple[int, ...]:
    """The weight's shape if there is nothing else but a bias; else none."""
    return shapes.get("weight", ()) if shapes.keys() <= {"weight", "bias"} else ()


def _no_bias(shapes: Shapes) -> dict[str, str]:
    return {} if "bias" in shapes else {"bias": "False"}


def _convolution(
    d_out: int, d_in: int, kernel: tuple[int, ...], flow: Flow, *, has_bias: bool
) -> Layer:
    groups = _groups(d_out, d_in, kernel, flow)
    named: dict[str, int | str | Call] = {"kernel_size": tuple_of("kernel_size", kernel)}
    if any(size > 1 and size % 2 for size in kernel):
        named["padding"] = tuple_of("padding", [size // 2 if size % 2 else 0 for size in kernel])
    if groups > 1:
        named["groups"] = groups
    if not has_bias:
        named["bias"] = "False"
    channels = f"{groups * d_in}→{d_out}"
    grouped = ", depthwise" if groups == d_out else f", {groups} groups"
    may_be = ", or transposed" if not has_bias and _looks_transposed(d_out, d_in, kernel) else ""
    return Layer(
        kind="conv",
        what=f"{_conv(kernel)} {channels}{grouped if groups > 1 else ''}{may_be}",
        call=call(
            f"nn.Conv{len(kernel)}d",
            ("in_channels", groups * d_in),
            ("out_channels", d_out),
            **named,
        ),
        d_in=groups * d_in,
        d_out=d_out,
        dims=len(kernel),
        kernel=kernel,
        guess="stride, padding" if max(kernel) > 1 else "stride",
    )


def _transposed_convolution(
    d_in: int, d_out: int, kernel: tuple[int, ...], *, groups: int
) -> Layer:
    named: dict[str, int | str | Call] = {"kernel_size": tuple_of("kernel_size", kernel)}
    if groups > 1:
        named["groups"] = groups
    return Layer(
        kind="conv",
        what=f"transposed {_conv(kernel)} {d_in}→{groups * d_out}",
        call=call(
            f"nn.ConvTranspose{len(kernel)}d",
            ("in_channels", d_in),
            ("out_channels", groups * d_out),
            **named,
        ),
        d_in=d_in,
        d_out=groups * d_out,
        dims=len(kernel),
        kernel=kernel,
        guess="stride, padding",
    )


def _groups(d_out: int, d_in: int, kernel: tuple[int, ...], flow: Flow) -> int:
    """How many groups a convolution has that sees `d_in` channels in each.

    Grouped ones usually keep the width that comes in, and are wider than 1×1.
    """
    width = flow.d_out or 1
    if d_in == 1 and width > 1:
        return width if d_out % width == 0 else d_out
    if width == d_out and width > d_in and width % d_in == 0 and math.prod(kernel) > 1:
        return width // d_in
    return 1


def _looks_transposed(d_out: int, d_in: int, kernel: tuple[int, ...]) -> bool:
    """Kernels of even size are rare but for upsampling, and the bias does not tell."""
    return d_in > 1 and all(size % 2 == 0 for size in kernel)


def _norm(what: str, built: Call, size: int, guess: str = "", *, dims: int = 0) -> Layer:
    return Layer(kind="norm", what=what, call=built, d_in=size, d_out=size, dims=dims, guess=guess)


def _norm_over(shape: tuple[int, ...]) -> Layer:
    sizes = Call("", tuple(call("", ("size", size)).arguments[0] for size in shape))
    built = call("nn.LayerNorm", ("normalized_shape", sizes))
    return Layer(kind="norm", what=f"layer norm {_times(shape)}", call=built)


def _lone_vector(size: int, flow: Flow) -> Layer:
    if size == 1 or (ACTIVATION.search(flow.own_name) and not NORM.search(flow.own_name)):
        built = call("nn.PReLU", ("num_parameters", size))
        return Layer(kind="activation", what=f"PReLU {size}", call=built)
    built = call("nn.RMSNorm", ("normalized_shape", size))
    return _norm(f"RMS norm {size}", built, size, "or LayerNorm without bias")


def _conv(kernel: tuple[int, ...]) -> str:
    return f"conv {_times(kernel)}" if len(kernel) > 1 else f"conv1d {kernel[0]}"


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
