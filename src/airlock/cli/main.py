"""The command ``airlock``: every verb registered, nothing else. Each verb is a module of its own beside this one."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from airlock import __version__

# verb → (module, function or group of them, what it does). Listed in the order of the way, which is the order --help
# shows; click cuts what it finds longer than 64 characters.
VERBS = {
    "lock": ("lock", "lock", "Derive from Kolla all that a build takes from outside."),
    "refresh": ("refresh", "refresh", "Fetch exactly what the lock names."),
    "window": ("window", "window", "Open, close, prove and report the firewall's windows."),
    "validate": ("validate", "validate", "Prove that nothing is missing."),
    "bundle": ("bundle", "bundle", "Write the bundle to the media."),
    "verify": ("verify", "verify", "Check every byte of a bundle, which is hostile until then."),
    "import": ("import_", "import_", "Take a verified bundle into the site's store."),
    "build": ("build", "build", "Build a bundle's images with Kolla in a sealed room."),
    "trigger": ("trigger", "app", "Have the site's Zuul build a bundle; follow or cancel it."),
    "status": ("status", "status", "Show what a site holds and what it built."),
    "compare": ("compare", "compare", "Name the first difference between two builds."),
    "audit": ("audit", "audit", "Verify the ledger; say which images hold a file."),
    "classify": ("classify", "classify", "Show how each command of a Dockerfile is read."),
    "doctor": ("doctor", "doctor", "Say what this machine lacks, and how to get it."),
}

HELP = "Build OpenStack container images with Kolla where there is no internet, and prove that nothing is missing."


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"airlock {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def make_app(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The command with those verbs."""
    app = typer.Typer(
        name="airlock",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name in verbs:
        module, function, does = VERBS[name]
        found = getattr(import_module(f"airlock.cli.{module}"), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, short_help=does)
        else:
            app.command(name, short_help=does)(found)
    return app


def main() -> None:
    """Entry point. Only the verb that is asked for is imported: the others take half a second."""
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    make_app([asked] if asked in VERBS else VERBS)()
