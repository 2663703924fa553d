"""What ``condcli probe`` says at the end: one panel, and a warning when the network guesses."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.box import ASCII, ROUNDED
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from condcli.analysis.diagnosis.accuracy import no_better_than_chance
from condcli.output.cells import number
from condcli.output.escaping import escaped
from condcli.output.headline import fisher, shard
from condcli.output.terminal import showable, width
from condcli.stats import ProbeStats, Provenance


def summary_panel(stats: ProbeStats, file: Path, *, file_bytes: int, title: str = "probed") -> str:
    """The summary in a box, no wider than the terminal."""
    console = Console(file=sys.stdout, width=width(), highlight=False, markup=False, emoji=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    for heading, text in summary(stats, file, file_bytes=file_bytes).items():
        table.add_row(Text(heading, style="dim"), Text(showable(text)))
    ascii_only = showable("╭") != "╭"
    box = ASCII if ascii_only else ROUNDED
    with console.capture() as capture:
        console.print(Panel(table, title=title, box=box, expand=False))
    return capture.get()


def summary(stats: ProbeStats, file: Path, *, file_bytes: int) -> dict[str, str]:
    """Model, data, loss and accuracy, layers probed and skipped, time and file, by title."""
    p = stats.provenance
    step = "" if p.step is None else f", step {p.step}"
    lines = {
        "model": f"{p.model_source} ({p.arch}{step})",
        "data": f"{p.data_source}, {p.examples} examples{shard(p)}, normalize {p.normalize}",
        "loss": f"{p.loss_name} {number(p.loss)}",
        "probed": f"{len(stats.layers)} linear maps, {len(stats.activations)} activations",
        "skipped": _skipped(stats),
        "views": f"{fisher(p)}, conv {p.conv}, norm {p.norm}, {_precision(p)} on {p.device}",
        "pass": f"{p.pass_seconds:.2f} s, peak memory {p.peak_memory_bytes / 2**20:.0f} MiB",
        "file": f"{file}, {_size(file_bytes)}",
    }
    if p.accuracy is not None and p.chance is not None:
        lines["loss"] += f", accuracy {_percent(p.accuracy)}"
    return {title: escaped(text) for title, text in lines.items() if text}


def summary_line(stats: ProbeStats, file: Path) -> str:
    """The same in one line, of one checkpoint among several."""
    p = stats.provenance
    accuracy = "" if p.accuracy is None else f", accuracy {_percent(p.accuracy)}"
    text = f"{file}: {p.loss_name} {number(p.loss)}{accuracy}, {len(stats.layers)} linear maps"
    return f"{escaped(text)}, {p.pass_seconds:.2f} s\n"


def remarks(stats: ProbeStats, notes: Sequence[str], *, found_size: bool) -> list[str]:
    """The notes, and what else a person should know of the result before using it.

    ``found_size``: the batch size is what there was room for.
    """
    p = stats.provenance
    lines = [f"note: {note}" for note in notes]
    if warning := guessing(p):
        lines.append(f"warning: {warning}")
    if warning := not_finite(stats):
        lines.append(f"warning: {warning}")
    if note := wide(stats):
        lines.append(f"note: {note}")
    if found_size and p.norm == "batch":
        lines.append(
            f"note: batch statistics are those of {p.batch_size} examples, as --batch-size auto "
            f"found room for; pass --batch-size {p.batch_size} to repeat them elsewhere, or --norm "
            "running"
        )
    if not stats.layers:
        lines.append("warning: the network has no linear map that could be probed")
    return lines


def _precision(provenance: Provenance) -> str:
    network = provenance.autocast
    return provenance.dtype if network == "none" else f"{provenance.dtype}, network {network}"


def guessing(provenance: Provenance) -> str:
    """A warning when the accuracy on real data is no better than chance; else empty."""
    accuracy, chance = provenance.accuracy, provenance.chance
    if accuracy is None or chance is None or not no_better_than_chance(provenance):
        return ""
    return (
        f"accuracy {_percent(accuracy)} is no better than always naming the commonest label "
        f"({_percent(chance)}): unless the network is untrained or collapsed, the inputs are not "
        "what it was trained on; check --split and how they are prepared (--normalize, "
        "--transform, --tokenizer)"
    )


def not_finite(stats: ProbeStats) -> str:
    """A warning that names the layers which were kept though not finite; else empty."""
    broken = [f"{n} ({layer.nonfinite})" for n, layer in stats.layers.items() if layer.nonfinite]
    if not broken:
        return ""
    return f"not finite, and kept: {_listed(broken)}"


def wide(stats: ProbeStats) -> str:
    """Which layers are wider than max_dim, and what is stored of them; empty where none is."""
    forms: dict[str, list[str]] = {"their rows are kept": [], "only a sketch is kept": []}
    kept, sketched = forms.values()
    for name, layer in stats.layers.items():
        errors = [e for e in (layer.input_error, layer.grad_error) if e is not None]
        if errors:
            (sketched if any(errors) else kept).append(name)
    parts = [f"of {_listed(names)} {form}" for form, names in forms.items() if names]
    return f"wider than --max-dim {stats.provenance.max_dim}: {'; '.join(parts)}" if parts else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _skipped(stats: ProbeStats) -> str:
    """How many weights were skipped, by reason; vectors, which are none, are not told."""
    reasons = Counter(item.reason for item in stats.skipped.values() if len(item.shape) > 1)
    return "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
