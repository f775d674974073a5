"""``python -m boxes``: real servers for a person to try Airlock with (docs/boxes.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from airlock.cli.common import answer, verb
from airlock.core.errors import UsageError
from boxes.box import STARTED, Box, Started, read_started, stop_started
from boxes.gerrit import Gerrit
from boxes.gerrit_war import gerrit_war
from boxes.java import java_17, java_21
from boxes.network import Network
from boxes.nexus import Nexus, nexus_tree
from boxes.registry import Registry
from boxes.together import start_all

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
FolderArgument = Annotated[Path, typer.Argument(help="Where the servers keep their data, a folder each.")]


class Kind(msgspec.Struct, frozen=True):
    """A kind of server: the ports that its makers chose, and how one is made."""

    ports: tuple[int, ...]
    make: Callable[[Path, Sequence[int], Network], Box]


KINDS = {
    "nexus": Kind((8081,), lambda at, ports, where: Nexus(at, port=ports[0], repositories=["airlock"], network=where)),
    "gerrit": Kind((8080, 29418), lambda at, ports, where: Gerrit(at, port=ports[0], ssh_port=ports[1], network=where)),
    "registry": Kind((5000,), lambda at, ports, where: Registry(at, port=ports[0], network=where)),
}


@app.command()
@verb
def fetch() -> None:
    """Fetch and unpack what servers are made of; nothing that is there already. `make boxes` does this."""
    made = [java_17(), java_21(), nexus_tree(), gerrit_war()]
    answer(False, None, [str(path) for path in made])


@app.command()
@verb
def up(
    folder: FolderArgument,
    servers: Annotated[list[str], typer.Argument(help="nexus[:PORT] gerrit[:PORT,SSH_PORT] registry[:PORT]")],
    network: Annotated[str, typer.Option(help="Network namespace to start them in; default: the machine's own.")] = "",
) -> None:
    """Start servers and leave them running; all of them or none."""
    start_all([_make(folder, server, Network(network)) for server in servers])
    answer(False, None, _lines(folder))


@app.command()
@verb
def status(folder: FolderArgument) -> None:
    """Which servers run, on which ports, and where their logs are."""
    answer(False, None, _lines(folder))


@app.command()
@verb
def down(folder: FolderArgument) -> None:
    """Stop all servers, of every kind, the last one that was started first. Their data is kept."""
    for place, _ in reversed(_started(folder)):
        stop_started(place)


def _make(folder: Path, server: str, network: Network) -> Box:
    name, _, numbers = server.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(f"there is no server {name}", remedy=f"There are: {', '.join(KINDS)}.")
    ports = numbers.split(",") if numbers else [str(port) for port in kind.ports]
    if len(ports) != len(kind.ports) or not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise UsageError(
            f"{server}: {name} takes {len(kind.ports)} port(s)",
            remedy=f"As in {name}:{','.join(str(port) for port in kind.ports)}",
        )
    return kind.make(folder / name, [int(port) for port in ports], network)


def _started(folder: Path) -> list[tuple[Path, Started]]:
    found = [(path.parent, started) for path in folder.glob(f"*/{STARTED}") if (started := read_started(path.parent))]
    return sorted(found, key=lambda pair: pair[1].process.began)


def _lines(folder: Path) -> list[str]:
    lines = []
    for _, started in _started(folder):
        state = f"process {started.process.pid}" if started.process.alive else "ended by itself"
        where = f" in {started.network}" if started.network else ""
        ports = ", ".join(f"127.0.0.1:{port}" for port in started.ports)
        lines.append(f"{started.name:<12} {ports}{where}  {state}  {started.log}")
    return lines or [f"no server was started in {folder}"]


if __name__ == "__main__":
    app(prog_name="python -m boxes")
