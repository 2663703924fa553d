"""The options of ``condcli probe``: types, names and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from condcli.completion import complete_arch, complete_data
from condcli.errors import UsageError

OUTPUT = "stats.h5"
SAVE_EVERY = 300.0  # seconds


def _option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **settings)


def _model(text: str, *names: str, **settings: Any) -> Any:
    return _option("The model", text, *names, show_default=False, **settings)


def _data(text: str, *names: str, **settings: Any) -> Any:
    return _option("The data", text, *names, **settings)


def _measured(text: str, *names: str, **settings: Any) -> Any:
    return _option("What is measured", text, *names, **settings)


def _run(text: str, *names: str, **settings: Any) -> Any:
    return _option("A long run", text, *names, **settings)


Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint: a file, or the folder of a sharded one.",
        readable=False,
    ),
]
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
FixedBatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Examples a batch.")]
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
Fisher = Annotated[
    Literal["empirical", "mc", "exact"],
    _measured(
        "Gradients of Σ∇h: at the true labels; at labels drawn from the network's own prediction; "
        "or for all labels, by a backward pass for each output."
    ),
]
ProbeMcSamples = Annotated[
    int,
    _measured("Labels drawn for each example of --fisher mc.", "--mc-samples", metavar="K", min=1),
]
Conv = Annotated[
    Literal["channels", "patches", "reduce"],
    _measured(
        "A convolution's rows: locations (the paper's view) or k×k patches (KFC); reduce: one row "
        "an example, of all layers, summed over positions (KFAC-reduce)."
    ),
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
MaxDim = Annotated[
    int,
    _measured(
        "The most inputs or outputs of a layer whose moment is stored whole; of wider ones the "
        "rows are kept, or a sketch where there are more rows than this too.",
        metavar="D",
        min=1,
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
SaveEvery = Annotated[
    float | None,
    _run(
        "Seconds between two states of the run, which are saved beside the output; 0: after every "
        "batch.",
        metavar="SECONDS",
        min=0,
        show_default=f"{SAVE_EVERY:.0f}",
    ),
]
Resume = Annotated[
    bool, _run("Go on with an interrupted probe of the same output, to the same bits.", "--resume")
]


def number_or(option: str, text: str, *, word: str) -> int | None:
    """The number that the option gives; None for the ``word`` that stands for no number."""
    if text == word:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} {text} is no number of examples", f"pass 1, 2, … or {word}")
    return int(text)
