"""The ``condcli`` command: its subcommands, and the one place that turns errors to exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from condcli import __version__
from condcli.commands import (
    arch,
    data,
    domination,
    inspect,
    merge,
    neurons,
    probe,
    spectrum,
    verify,
)
from condcli.completion import COMPLETE, complete
from condcli.errors import CondcliError, Terminated, Told, is_out_of_memory
from condcli.output.terminal import be_quiet, complain, discard_stdout

app = typer.Typer(
    name="condcli",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(probe.probe)
app.command(epilog=merge.EXAMPLES)(merge.merge)
app.command(epilog=spectrum.EXAMPLES)(spectrum.spectrum)
app.command(epilog=domination.EXAMPLES)(domination.domination)
app.command(epilog=neurons.EXAMPLES)(neurons.neurons)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.add_typer(arch.app, name="arch")
app.add_typer(data.app, name="data")

# Typer's own usage errors; the class has moved between its versions.
_UsageError: Any = typer.BadParameter.__base__


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"condcli {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def condcli(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")
    ] = False,
) -> None:
    """Layer-wise conditioning analysis of trained PyTorch networks.

    Probe a checkpoint once; the other commands answer from the statistics file alone.
    """
    be_quiet(quiet)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main() -> NoReturn:
    """Run the command line and leave with its exit code (docs/commands.md)."""
    # NumPy's threads would fight torch's, and waiting for each other cost more than they gain.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _terminate)
    if COMPLETE in os.environ:
        sys.exit(complete(typer.main.get_command(app)))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Errors are reported on stderr in one line each."""
    debug = False
    try:
        command = typer.main.get_command(app)
        with _parsed(command, arguments) as context:
            debug = context.params["debug"]
            command.invoke(context)
        if sys.stdout is not None:  # closed by the caller: there is nobody to tell
            sys.stdout.flush()
    except (typer.Exit, Told) as leaving:
        return leaving.exit_code
    except BrokenPipeError:
        discard_stdout()
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except Terminated:
        return 128 + signal.SIGTERM
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, BrokenPipeError) and isinstance(error, SystemExit):
            return 0  # Rich's way to say that the reader has gone
        if debug:
            traceback.print_exc()
        code, line = _explained(error)
        complain("error: " + " ".join(line.split()))
        return code
    return 0


def _parsed(command: Any, arguments: Sequence[str]) -> Any:
    try:
        return command.make_context("condcli", list(arguments))
    except SystemExit as leaving:
        if leaving.code != 0:
            raise
        raise typer.Exit from None  # Typer's way out of --show-completion


def _explained(error: BaseException) -> tuple[int, str]:
    """The exit code, and what is wrong and what to do about it."""
    if isinstance(error, CondcliError):
        return error.exit_code, str(error)
    if isinstance(error, _UsageError):
        path = error.ctx.command_path if error.ctx else "condcli"
        return 2, f"{error.format_message().rstrip('.')}; see {path} --help"
    if is_out_of_memory(error):
        return 5, "memory is too short; pass a smaller --batch-size, or only some --layers"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return 5, f"{where}{error.strerror}; make room or give permission, or choose another place"
    what = f"{type(error).__name__}: {error}"[:300]
    return 70, f"a bug in condcli ({what}); run condcli --debug … and report what it says"


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that temporary files are cleaned up."""
    raise Terminated
