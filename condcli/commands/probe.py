"""``condcli probe MODEL --data DATA``: measure a checkpoint once, into a statistics file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from condcli.completion import complete_arch, complete_data

if TYPE_CHECKING:
    from condcli.capture.ranks import Ranks
    from condcli.stats import ProbeStats

OUTPUT = "stats.h5"


def _option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **settings)


def _model(text: str, *names: str, **settings: Any) -> Any:
    return _option("The model", text, *names, show_default=False, **settings)


def _data(text: str, *names: str, **settings: Any) -> Any:
    return _option("The data", text, *names, **settings)


def _measured(text: str, *names: str, **settings: Any) -> Any:
    return _option("What is measured", text, *names, **settings)


Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint: a file, or the folder of a sharded one; or several.",
        readable=False,
    ),
]
Data = Annotated[
    str | None,
    _data(
        "A data set by name, a file of arrays, a table or text, a folder of images, "
        "FILE.py:function or random:3x32x32 (condcli data list has them all); by default what the "
        "checkpoint says it was trained on.",
        show_default=False,
        autocompletion=complete_data,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Statistics file to write; of several checkpoints the folder for a file each, which "
        "is made where it is not there.",
        show_default=OUTPUT,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file.")]
Arch = Annotated[
    str | None,
    _model(
        "Zoo name, torchvision:NAME, timm:NAME, FILE.py:function or package.module:function "
        "(condcli arch list has them all); by default the checkpoint's own word, else the match "
        "of its names and shapes.",
        autocompletion=complete_arch,
    ),
]
ArchArg = Annotated[
    list[str] | None, _model("An argument of the architecture; repeatable.", metavar="KEY=VALUE")
]
Weights = Annotated[
    str | None,
    _model("Which weights of several in the file, such as model_ema.", metavar="KEY"),
]
Trust = Annotated[bool, _model("Unpickle a whole module: this runs code from the file.", "--trust")]
Root = Annotated[Path, _data("Folder of the data sets that have names.")]
Split = Annotated[str | None, _data("train, test, …; by default train.", show_default=False)]
Samples = Annotated[str, _data("Examples to probe on, or all.", metavar="N|all")]
BatchSize = Annotated[
    str,
    _data(
        "Examples a batch; with --norm batch those that share statistics. auto: as many as fit "
        "into memory, fewer when it runs out.",
        metavar="N|auto",
    ),
]
Seed = Annotated[int, _data("Seed of the drawn subset.", min=0)]
Normalize = Annotated[
    str | None,
    _data(
        "none, default (the data set's usual), or MEAN/STD such as 0.5/0.25 or "
        "0.49,0.48,0.45/0.25,0.24,0.26; if not given, the checkpoint's own word, else default.",
        show_default=False,
    ),
]
Transform = Annotated[
    str | None,
    _data(
        "What is done to each example instead of --normalize: "
        "torchvision:ResNet18_Weights.DEFAULT or FILE.py:function.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    _data("The column of a table that is predicted; several joined by commas.", metavar="COLUMN"),
]
Tokenizer = Annotated[
    str | None,
    _data("Of text: bytes, or a folder or tokenizer.json of Hugging Face; by default bytes."),
]
Length = Annotated[int, _data("Tokens in an example of text.", min=1)]
Download = Annotated[bool, _data("Let torchvision download missing data.", "--download")]
Conv = Annotated[
    Literal["channels", "patches"],
    _measured("A convolution's rows: locations (the paper's view) or k×k patches (KFC)."),
]
Norm = Annotated[
    Literal["batch", "running"],
    _measured("Batch normalisation by batch statistics, as in training, or by running ones."),
]
Loss = Annotated[
    str,
    _measured(
        "auto, cross-entropy, next-token, mse, bce or FILE.py:function; auto: mse for floats, bce "
        "for a 0 or 1 for each output, next-token for labels that repeat the tokens, else cross "
        "entropy."
    ),
]
IgnoreLabel = Annotated[int, _measured("The label of targets that have none.")]
PerExample = Annotated[
    Literal["auto", "all", "none"],
    _measured(
        "Layers whose per-example weight gradients are measured; auto: those with one row per "
        "example; all: slower, and memory grows with examples × weights."
    ),
]
Dtype = Annotated[
    Literal["float32", "float64"], _measured("Precision of the network and the products.")
]
Autocast = Annotated[
    Literal["none", "bfloat16"],
    _measured("Lower precision of the network itself; the moments stay in float32."),
]
Device = Annotated[str, _measured("auto, cpu, cuda, cuda:N or mps.")]
Layers = Annotated[
    list[str] | None,
    _measured("Only layers with such names; repeatable.", metavar="GLOB", show_default=False),
]
Exclude = Annotated[
    list[str] | None,
    _measured("No layers with such names; repeatable.", metavar="GLOB", show_default=False),
]
AllowNonfinite = Annotated[
    bool,
    _measured(
        "Keep layers with NaN or infinity, flagged, instead of stopping.", "--allow-nonfinite"
    ),
]
Shard = Annotated[
    str | None,
    _data(
        "Only every N-th batch from the I-th on, for condcli merge to put together.",
        metavar="I/N",
        show_default=False,
    ),
]


def probe(
    models: Checkpoints,
    data: Data = None,
    output: Output = None,
    force: Force = False,
    arch: Arch = None,
    arch_arg: ArchArg = None,
    weights: Weights = None,
    trust: Trust = False,
    root: Root = Path("data"),
    split: Split = None,
    samples: Samples = "1024",
    batch_size: BatchSize = "128",
    seed: Seed = 0,
    normalize: Normalize = None,
    transform: Transform = None,
    target: Target = None,
    tokenizer: Tokenizer = None,
    length: Length = 128,
    download: Download = False,
    conv: Conv = "channels",
    norm: Norm = "batch",
    loss: Loss = "auto",
    ignore_label: IgnoreLabel = -100,
    per_example: PerExample = "auto",
    dtype: Dtype = "float32",
    autocast: Autocast = "none",
    device: Device = "auto",
    layers: Layers = None,
    exclude: Exclude = None,
    allow_nonfinite: AllowNonfinite = False,
    shard: Shard = None,
) -> None:
    """Measure a checkpoint in one forward and backward pass; store what every layer saw.

    The other commands answer from the file that it writes, without model or data. Several
    checkpoints are measured one after the other; one that cannot be does not stop the others.
    """
    from condcli.machine import require_to_start

    require_to_start()
    from condcli import api, series, statsfile
    from condcli.capture.ranks import ALONE, joined
    from condcli.models import load, parse_arch_args
    from condcli.names import paths_in
    from condcli.output.progress import examples_progress
    from condcli.output.summary import remarks, summary_panel
    from condcli.output.terminal import emit, is_quiet, notice

    inputs = paths_in(data, root, arch, loss, transform, tokenizer)

    def measured(
        model: Path, file: Path, data: Any, *, ranks: Ranks = ALONE, title: str = "probing"
    ) -> tuple[ProbeStats, list[str]]:
        first = ranks.number == 0
        loaded = load(
            model,
            arch=arch,
            arch_args=parse_arch_args(arch_arg or []),
            weights=weights,
            trust=trust,
        )
        if first:  # shards beside an index may have been read, too
            statsfile.check_output(file, force=force, inputs=loaded.checkpoint.files)
        with examples_progress(title, quiet=is_quiet() or not first) as progress:
            stats = api.probe(
                loaded,
                data,
                root=root,
                split=split,
                samples=_number("--samples", samples, word="all"),
                normalize=normalize,
                transform=transform,
                target=target,
                tokenizer=tokenizer,
                length=length,
                download=download,
                loss=loss,
                ignore_label=ignore_label,
                conv=conv,
                norm=norm,
                per_example=per_example,
                dtype=dtype,
                device=device,
                batch_size=_number("--batch-size", batch_size, word="auto") or "auto",
                autocast=autocast,
                seed=seed,
                layers=layers or (),
                exclude=exclude or (),
                allow_nonfinite=allow_nonfinite,
                shard=shard,
                distributed=ranks.of > 1,
                command=shlex.join(["condcli", *sys.argv[1:]]),
                progress=progress,
            )
        if first:
            statsfile.write(stats, file, force=force)
        return stats, remarks(stats, loaded.notes, found_size=batch_size == "auto")

    if series.is_wanted(models, output):
        series.probe_each(models, output, measured, data=data, force=force, inputs=inputs)
        return
    file = Path(output or OUTPUT)
    with joined(device) as ranks:
        if ranks.number == 0:
            statsfile.check_output(file, force=force, inputs=[*models, *inputs])
        stats, told = measured(models[0], file, data, ranks=ranks)
    if ranks.number > 0:
        return
    if not is_quiet():
        emit(summary_panel(stats, file, file_bytes=file.stat().st_size))
    for remark in told:
        notice(remark)


def _number(option: str, text: str, *, word: str) -> int | None:
    """The number that the option gives; None for the ``word`` that stands for no number."""
    from condcli.errors import UsageError

    if text == word:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} {text} is no number of examples", f"pass 1, 2, … or {word}")
    return int(text)
