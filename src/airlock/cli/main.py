"""The command ``airlock``: every verb registered, nothing else. Each verb is a module of its own beside this one."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from airlock import __version__

# verb → (module, function). Listed in the order of the way, which is the order --help shows.
VERBS = {
    "lock": ("lock", "lock"),
    "refresh": ("refresh", "refresh"),
    "validate": ("validate", "validate"),
    "bundle": ("bundle", "bundle"),
    "verify": ("verify", "verify"),
    "import": ("import_", "import_"),
    "build": ("build", "build"),
    "status": ("status", "status"),
    "compare": ("compare", "compare"),
    "audit": ("audit", "audit"),
    "classify": ("classify", "classify"),
    "doctor": ("doctor", "doctor"),
}

app = typer.Typer(
    name="airlock",
    help="Build OpenStack container images with Kolla where there is no internet, and prove that nothing is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"airlock {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for name, (module, function) in VERBS.items():
    app.command(name)(getattr(import_module(f"airlock.cli.{module}"), function))


def main() -> None:
    """Entry point."""
    app()
