"""What every verb shares: options, the console, errors as one message and one exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import msgspec
import typer
from rich.console import Console

from airlock.core.errors import AirlockError, SpaceError
from airlock.core.progress import ConsoleReporter, Reporter, SilentReporter
from airlock.core.space import FULL
from airlock.core.text import printable

P = ParamSpec("P")
R = TypeVar("R")

FactoryOption = Annotated[
    Path, typer.Option("--factory", envvar="AIRLOCK_FACTORY", help="The factory's folder (pool, ledger, factory.toml).")
]
SiteOption = Annotated[
    Path, typer.Option("--site", envvar="AIRLOCK_SITE", help="site.toml, or the folder that holds it.")
]
DefinitionArgument = Annotated[Path, typer.Argument(help="release.toml, or the folder that holds it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as one JSON document on standard output.")]

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; goes into the ledger and the record of the firewall window.")
]

DEFAULT_FACTORY = Path("factory")
DEFAULT_SITE = Path("site.toml")
DEFAULT_DEFINITION = Path("release.toml")

INTERNAL = 70
"""Exit code of a fault of Airlock's own (EX_SOFTWARE)."""

errors = Console(stderr=True, highlight=False)


def reporter(as_json: bool) -> Reporter:
    """Progress on standard error; silence with ``--json``."""
    return SilentReporter() if as_json else ConsoleReporter(errors)


def answer(as_json: bool, value: Any, lines: list[str]) -> None:
    """Print a verb's answer on standard output: the value as JSON, or the lines for a person."""
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2, sort_keys=True) + "\n")
    else:
        sys.stdout.write("".join(printable(line) + "\n" for line in lines))
    sys.stdout.flush()


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function a verb: an AirlockError becomes message, remedy and exit code; Ctrl-C is said quietly."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        as_json = bool(kwargs.get("as_json"))
        try:
            return function(*args, **kwargs)
        except typer.Exit:
            raise
        except AirlockError as error:
            show_error(error, as_json)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            errors.print("interrupted; what is done is kept, the same command goes on from here")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise typer.Exit(141) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            if error.errno in FULL:
                full = SpaceError(f"{place}the disk is full")
                show_error(full, as_json)
                raise typer.Exit(full.exit_code) from None
            show_error(AirlockError(f"{place}{error.strerror or error}", remedy=_remedy_for(error)), as_json)
            raise typer.Exit(1) from None
        except Exception:
            errors.print("a fault in airlock itself; please report it with the text below", style="red")
            errors.print(printable(traceback.format_exc()), markup=False)
            raise typer.Exit(INTERNAL) from None

    return run


def _remedy_for(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "Run it as a user who may (building and importing want root)."
    return "Check the disk and the path, then run the same command again."


def show_error(error: AirlockError, as_json: bool) -> None:
    """One clear message: what happened, and what to do."""
    if as_json:
        document = {
            "error": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    errors.print(f"error: {printable(error.message)}", style="red", markup=False, soft_wrap=True)
    if error.remedy:
        errors.print(f"  → {printable(error.remedy)}", markup=False, soft_wrap=True)
