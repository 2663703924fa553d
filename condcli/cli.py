"""The ``condcli`` command: its subcommands, and the one place that turns errors to exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from condcli import __version__, machine
from condcli.commands import (
    arch,
    compare,
    data,
    diagnose,
    domination,
    dynamics,
    exact,
    export,
    inspect,
    merge,
    neurons,
    plot,
    probe,
    report,
    scale_law,
    spectrum,
    verify,
)
from condcli.completion import COMPLETE, complete
from condcli.errors import CondcliError, Interrupted, Terminated, Told, is_out_of_memory, text_of
from condcli.output.terminal import be_quiet, complain, discard_stdout, show_traceback
from condcli.signals import forget, received

app = typer.Typer(
    name="condcli",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(probe.probe)
app.command(epilog=merge.EXAMPLES)(merge.merge)
app.command(epilog=diagnose.EXAMPLES)(diagnose.diagnose)
app.command(epilog=compare.EXAMPLES)(compare.compare)
app.command(epilog=spectrum.EXAMPLES)(spectrum.spectrum)
app.command(epilog=domination.EXAMPLES)(domination.domination)
app.command(epilog=neurons.EXAMPLES)(neurons.neurons)
app.command(epilog=dynamics.EXAMPLES)(dynamics.dynamics)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=exact.EXAMPLES)(exact.exact)
app.command("scale-law", epilog=scale_law.EXAMPLES)(scale_law.scale_law)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=report.EXAMPLES)(report.report)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.command(epilog=plot.EXAMPLES)(plot.plot)
app.add_typer(arch.app, name="arch")
app.add_typer(data.app, name="data")

NO_ROOM = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EMFILE", "ENFILE", "EAGAIN", "ENOBUFS")
    if hasattr(errno, name)
)

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


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Errors are reported on stderr in one line each."""
    debug, code = False, 0
    forget()
    try:
        command = typer.main.get_command(app)
        try:
            if COMPLETE in os.environ:
                complete(command)
            else:
                with _parsed(command, arguments) as context:
                    debug = context.params["debug"]
                    command.invoke(context)
        except (typer.Exit, Told) as leaving:
            code = leaving.exit_code
        if sys.stdout is not None:  # closed by the caller: there is nobody to tell
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
    except Interrupted as stop:
        complain(str(stop))
        return stop.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except Terminated as stop:
        return stop.exit_code
    except BaseException as error:  # libraries in Rust raise no Exception when they panic
        return _failed(error, debug=debug)
    return code


def _parsed(command: Any, arguments: Sequence[str]) -> Any:
    try:
        return command.make_context("condcli", list(arguments))
    except SystemExit as leaving:
        if leaving.code != 0:
            raise
        raise typer.Exit from None  # Typer's way out of --show-completion


def _interrupted() -> int:
    complain("interrupted")
    return 130


def _failed(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        return 0  # Rich's way to say that the reader has gone
    if number := received():
        return _interrupted() if number == signal.SIGINT else 128 + number
    if debug:
        show_traceback(error)
    code, line = _explained(error)
    complain("error: " + " ".join(line.split()))
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """The exit code, and what is wrong and what to do about it."""
    if isinstance(error, CondcliError):
        return error.exit_code, str(error)
    if isinstance(error, _UsageError):
        path = error.ctx.command_path if error.ctx else "condcli"
        return 2, f"{error.format_message().rstrip('.')}; see {path} --help"
    if is_out_of_memory(error):
        probing = "torch" in sys.modules  # what only reads a file has no batches
        way_out = "pass a smaller --batch-size, or" if probing else "allow more, or look at"
        return 5, f"memory is too short; {way_out} only some --layers{machine.left()}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in NO_ROOM:
            return 5, f"{where}{error.strerror}; make room, or choose another place"
        # What is written fails with an error of its own: this is of something that was read.
        return 3, f"{where}{error.strerror}; see that it stays there and readable, then run again"
    what = f"{type(error).__name__}: {text_of(error)}"[:300]
    return 70, f"a bug in condcli ({what}); run condcli --debug … and report what it says"
