"""The command group: loads only the command that is asked for, and turns errors into one clear message."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Sequence
from typing import Any

import click

from harness.cli.streams import visible, visible_streams
from harness.errors import HarnessError, choices

# Command → its one-line help: a listing needs no import of the commands. A test compares it with their own.
COMMANDS = {
    "run": "Run a suite; what is already stored is reused.",
    "plan": "Show the cells and trials of a suite; nothing is run.",
    "preflight": "Build every cell and take its step on tiny data, before a training is paid for.",
    "validate": "Check suite files; every problem with its place.",
    "report": "Write the HTML site of suites.",
    "browse": "Serve the report on this machine and follow a run.",
    "sweep": "Tune arms at equal budgets and compare what was chosen.",
    "init": "Write a first suite of your own, for a script or a folder of images; for a table, say the command.",
    "judge": "Judge a table of results: one method against another, no suite.",
    "import": "Take results from elsewhere as trials of a suite, labelled so.",
    "claims": "Judge a suite's claims from the stored trials.",
    "simulate": "Judge a suite on drawn scores in which nothing is true, and count false words.",
    "list": "List suites, benchmarks, methods, tasks, data, models, runs or trials.",
    "show": "Show one trial: its content, results and artifacts.",
    "diff": "Compare two runs: recipe, code and environment, then arms, paired.",
    "tag": "Give a run names.",
    "forget": "Delete stored trials, or restore them; the event log keeps them.",
    "query": "Ask the database in SQL, read-only.",
    "export": "Export tables of one plan, the whole store, or trials for a tracker.",
    "verify": "Run stored trials again and compare every number to the last bit.",
    "db": "Rebuild or check the database.",
    "data": "Where data sets come from, and whether they are here.",
    "conformance": "Check the methods against reference vectors.",
    "doctor": "Versions, devices, Ray, data, database: what works here.",
}
# Where it stands; one that is not listed has a module of its name.
MODULES = {
    "import": "importing",
    **dict.fromkeys(("plan", "verify"), "run"),
    **dict.fromkeys(("claims", "browse"), "report"),
    **dict.fromkeys(("list", "show"), "stored"),
    **dict.fromkeys(("validate", "conformance", "doctor"), "check"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"harness.cli.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest commands where there is none of that name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"no command '{args[0]}'; {choices(list(COMMANDS), args[0], most=20)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: harness run suites/adamp.yaml",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="paper-harness", prog_name="harness")
def harness(debug: bool) -> None:
    """Find out whether a paper's method really beats its baseline."""


def run_main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code: 0 done, 1 some trials failed, 2 wrong usage or invalid file."""
    with visible_streams():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments or bool(os.environ.get("HARNESS_DEBUG"))
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        outcome: Any = harness.main(args=rest, prog_name="harness", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what had finished is stored, and the same command goes on from there", err=True)
        return 1
    except HarnessError as error:
        if debug:
            raise
        click.echo(f"error: {visible(str(error))}", err=True)  # click leaves out what looks like colours
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output went away
        return 0
    except Exception as error:
        if debug:
            raise
        if (told := _of_the_machine(error)) is not None:
            click.echo(f"error: {told}\nrun again with --debug to see where", err=True)
            return 2
        click.echo(f"internal error: {type(error).__name__}: {error}\nrun again with --debug to see where", err=True)
        return 1


def _of_the_machine(error: BaseException | None) -> str | None:
    """What the machine refused, whoever of us asked for it: a file, space, memory. None: the error is our own."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    if isinstance(error, OSError) and error.strerror and (error.filename is not None or error.errno in _WITHOUT_PLACE):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}{_ADVICE.get(error.errno or 0, '')}"
    return None


_WITHOUT_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_ADVICE = {
    errno.ENOSPC: "; free space there and give the same command again: what had finished is stored",
    errno.EDQUOT: "; free space there and give the same command again: what had finished is stored",
    errno.EFBIG: "; a limit on the size of files (ulimit -f) is too low",
    errno.EMFILE: "; a limit on open files (ulimit -n) is too low",
}
