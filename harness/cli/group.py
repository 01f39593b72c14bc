"""The command group: imports only the requested command and turns errors into one clear message."""

import errno
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from harness.cli.streams import visible, visible_streams
from harness.errors import HarnessError, choices


@dataclass(frozen=True, slots=True)
class Command:
    """A listed command.

    Attributes:
        place: ``module:attribute`` in `harness.cli`, imported when the command is called.
    """

    help: str
    place: str
    section: str = "Commands"


_MEASURE, _CONCLUDE, _READ, _PREPARE, _STORE = "Measure", "Conclude", "Read results", "Prepare", "Manage the store"
# A listing imports no command; a test compares each help text with the command's own.
COMMANDS = {
    "run": Command("Run a suite; stored trials are reused.", "run:run_command", _MEASURE),
    "plan": Command("Show the trials of a suite and their cost; nothing is run.", "run:plan_command", _MEASURE),
    "sweep": Command("Tune arms at equal budgets and compare the chosen settings.", "sweep:sweep_command", _MEASURE),
    "verify": Command("Run stored trials again and compare every number.", "run:verify_command", _MEASURE),
    "claims": Command("Judge the claims of a suite from stored trials.", "report:claims_command", _CONCLUDE),
    "judge": Command("Compare two methods in a table of results; no suite needed.", "judge:judge_command", _CONCLUDE),
    "report": Command("Write the HTML report, or serve it (--serve).", "report:report_command", _CONCLUDE),
    "list": Command("List suites, benchmarks, methods, data, runs, trials and more.", "read:list_command", _READ),
    "query": Command("Query the database in SQL, read-only.", "read:query_command", _READ),
    "diff": Command("Compare two runs: settings, code, environment and scores.", "read:diff_command", _READ),
    "export": Command("Export tables for a paper, data frames or trackers.", "read:export_command", _READ),
    "init": Command("Create a suite file for your script or images.", "importing:init_command", _PREPARE),
    "validate": Command("Check suite files and show every problem with its place.", "check:validate_command", _PREPARE),
    "preflight": Command(
        "Build every configuration and take one step on tiny data.", "check:preflight_command", _PREPARE
    ),
    "data": Command("List, fetch and verify data sets.", "check:data_command", _PREPARE),
    "doctor": Command("Check versions, devices, Ray, data and database.", "check:doctor_command", _PREPARE),
    "import": Command("Import external results as trials of a suite.", "importing:import_command", _STORE),
    "db": Command("Tag runs; delete and restore trials; check the database.", "db:db_command", _STORE),
}
# Commands without a line in the listing; the last field names the command that they belong to.
UNLISTED = {
    "show": Command("Show one trial: its content, results and artifacts.", "read:show_command", "list"),
    "conformance": Command("Check the methods against reference vectors.", "check:conformance_command", "doctor"),
}
FORMER_NAMES = {
    "browse": ("report", "--serve"),
    "simulate": ("plan", "--simulate"),
    "tag": ("db", "tag"),
    "forget": ("db", "delete"),
}


class LazyGroup(click.Group):
    """A group that imports its commands lazily and accepts their former names."""

    def __init__(
        self,
        entries: Mapping[str, Command],
        unlisted: Mapping[str, Command] | None = None,
        former_names: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.entries, self.former_names = entries, former_names or {}
        self.all_entries = {**entries, **(unlisted or {})}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.all_entries:
            return None
        module, _, attribute = self.all_entries[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"harness.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.entries))
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            with formatter.section(section):
                entries = [(name, entry) for name, entry in self.entries.items() if entry.section == section]
                formatter.write_dl([(name.ljust(width), entry.help) for name, entry in entries])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Replace former names, and suggest the nearest commands for an unknown one."""
        if args and args[0] in self.former_names:
            name, present = args[0], self.former_names[args[0]]
            args = [*present, *args[1:]]
            hint = f"'{ctx.command_path} {name}' is now '{ctx.command_path} {' '.join(present)}'"
            click.echo(f"hint: {hint}; the former name works in this version", err=True)
        if args and not args[0].startswith("-") and args[0] not in self.all_entries:
            valid = choices(list(self.all_entries), args[0], most=20)
            raise click.UsageError(f"unknown command '{args[0]}'; {valid}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    unlisted=UNLISTED,
    former_names=FORMER_NAMES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    epilog="Example: harness run suites/adamp.yaml\n\n'harness COMMAND -h' shows the options of a command.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.version_option(package_name="paper-harness", prog_name="harness")
def harness(debug: bool) -> None:
    """Test whether a paper's method really beats its baseline."""


def run_main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    0: done. 1: some trials or checks failed. 2: wrong usage or an invalid file.
    """
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
        click.echo("interrupted; finished trials are stored, and the same command continues from there", err=True)
        return 1
    except HarnessError as error:
        if debug:
            raise
        click.echo(f"error: {visible(str(error))}", err=True)  # click removes color codes
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output has closed the pipe
        return 0
    except Exception as error:
        if debug:
            raise
        if (message := _system_error(error)) is not None:
            click.echo(f"error: {message}\nrun again with --debug to see where", err=True)
            return 2
        click.echo(f"internal error: {type(error).__name__}: {error}\nrun again with --debug to see where", err=True)
        return 1


def _system_error(error: BaseException | None) -> str | None:
    """Describe an error of the operating system: a file, space or memory. None for a bug in the harness."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror and (error.filename is not None or error.errno in _WITHOUT_PLACE):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}{_ADVICE.get(error.errno or 0, '')}"
    return None


_WITHOUT_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_ADVICE = {
    errno.ENOSPC: "; free some space and run the same command again: finished trials are stored",
    errno.EDQUOT: "; free some space and run the same command again: finished trials are stored",
    errno.EFBIG: "; a limit on the size of files (ulimit -f) is too low",
    errno.EMFILE: "; a limit on open files (ulimit -n) is too low",
}
