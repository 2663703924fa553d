"""``condcli merge FILE… -o FILE``: shards of one probe set become one statistics file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
condcli merge part1.h5 part2.h5 part3.h5 -o stats.h5
"""

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="All that condcli probe --shard I/N wrote, once each.", readable=False
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Statistics file to write.", readable=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file.")]


def merge(files: Files, output: Output = Path("stats.h5"), force: Force = False) -> None:
    """Put the shards of one probe set together: what one process would have measured.

    The shards must be of the same model and data, probed with the same options and versions.
    """
    from condcli import statsfile
    from condcli.analysis.merge import merge as merged
    from condcli.output.summary import summary_panel
    from condcli.output.terminal import emit, is_quiet

    statsfile.check_output(output, force=force, inputs=files)
    shards = {str(file): statsfile.read(file) for file in _each_once(files)}
    statsfile.check_room(output, max(map(statsfile.size_of, shards.values())))
    stats = merged(shards, command=shlex.join(["condcli", *sys.argv[1:]]))
    statsfile.write(stats, output, force=force)
    if not is_quiet():
        emit(summary_panel(stats, output, file_bytes=output.stat().st_size, title="merged"))


def _each_once(files: list[Path]) -> list[Path]:
    from condcli.errors import UsageError

    for number, file in enumerate(files):
        if file in files[:number]:
            raise UsageError(f"{file} is given twice", "pass each shard once")
    return files
