"""``python -m boxes zuul``: a real Zuul on the Gerrit of the same folder (docs/boxes.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import answer, verb
from airlock.core.errors import UsageError
from airlock.core.files import write_file
from airlock.core.secrets import read_secret
from boxes.box import STARTED, Started, read_started, stop_started
from boxes.gerrit import Gerrit
from boxes.network import Network
from boxes.zuul import Zuul, ZuulPorts
from boxes.zuul_config import TEMPLATES, Place, configure
from boxes.zuul_tokens import LIFETIME, make_token

app = typer.Typer(no_args_is_help=True, help=__doc__)
FolderArgument = Annotated[Path, typer.Argument(help="The folder of `python -m boxes up`, whose Gerrit runs.")]
NAME = "zuul"


@app.command()
@verb
def up(
    folder: FolderArgument,
    place: Annotated[list[str], typer.Argument(metavar="PROJECT=TEMPLATE…", help="What Zuul runs for which project.")],
    label: Annotated[list[str], typer.Option(help="Of a node, which is this machine; repeatable.")],
    variables: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A variable of the jobs; repeatable.")
    ] = [],  # noqa: B006 - typer's default; never changed
    seeded: Annotated[
        bool, typer.Option("--seeded", help="project-config holds zuul/ already, from a bundle: add this place's own.")
    ] = False,
    tenant: Annotated[str, typer.Option(help="Zuul's tenant.")] = "airlock",
    port: Annotated[int, typer.Option(help="The first of six ports: web, logs, node, and three of its own.")] = 9000,
    network: Annotated[str, typer.Option(help="Network namespace; the one of the Gerrit.")] = "",
) -> None:
    """Put zuul/ of this checkout into Gerrit's project-config, and start a Zuul there; all of it or nothing."""
    started = read_started(folder / "gerrit")
    if started is None or not started.process.alive:
        raise UsageError(f"no Gerrit runs in {folder}", remedy=f"Start one: python -m boxes up {folder} gerrit")
    where = Network(network)
    review = Gerrit(folder / "gerrit", port=started.ports[0], ssh_port=started.ports[1], network=where)
    told = dict(_pair(word, "KEY=VALUE") for word in variables)
    pairs = [_pair(word, "PROJECT=TEMPLATE") for word in place]
    if unknown := sorted({template for _, template in pairs} - set(TEMPLATES)):
        raise UsageError(f"zuul/ has no template {unknown[0]}", remedy=f"There are: {', '.join(TEMPLATES)}.")
    places = [Place(project, template, told) for project, template in pairs]
    zuul = Zuul(
        folder / NAME, review.access, ports=ZuulPorts.following(port), projects=[one.project for one in places],
        labels=label, tenant=tenant, network=where,
    )  # fmt: skip
    configure(zuul, *places, seeded=seeded)
    zuul.start()
    answer(False, None, [f"zuul   {zuul.address}/t/{tenant}/status", f"logs   {zuul.logs.address}"])


@app.command()
@verb
def token(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(help="Where it goes, for its owner alone.")],
    user: Annotated[str, typer.Option(help="Whom Zuul writes down.")],
    hours: Annotated[float, typer.Option(min=0.01, max=LIFETIME / 3600, help="How long it is valid.")] = 12,
) -> None:
    """Make a token that lets a person trigger and cancel builds."""
    secret = read_secret(folder / NAME / "secrets/operators")
    tenants = [one["tenant"]["name"] for one in json.loads((folder / NAME / "tenants.yaml").read_text("utf-8"))]
    write_file(file, f"{make_token(secret, user, tenants, hours * 3600)}\n".encode(), mode=0o600)


def started_below(folder: Path) -> list[tuple[Path, Started]]:
    """What was started of a Zuul in ``folder``: its services first, then what they need."""
    found = [(path.parent, one) for path in folder.glob(f"{NAME}/*/{STARTED}") if (one := read_started(path.parent))]
    return sorted(found, key=lambda pair: (not _is_service(pair[1]), pair[1].process.began))


def stop_below(folder: Path) -> None:
    """Stop a Zuul in ``folder``, if there is one.

    Raises:
        StateError: someone else is starting or stopping a part of it.
    """
    found = started_below(folder)
    for parts in (
        [one for one, told in found if _is_service(told)],
        [one for one, told in found if not _is_service(told)],
    ):
        _stop(parts)


def _stop(places: Sequence[Path]) -> None:
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        for stop in [pool.submit(stop_started, place) for place in places]:
            stop.result()


def _is_service(started: Started) -> bool:
    return started.name.startswith("zuul-")


def _pair(word: str, form: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise UsageError(f"{word} is not {form}")
    return name, value
