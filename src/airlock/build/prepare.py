"""Before the room is sealed: the bundle's own words are proved at the site, and what the build needs is laid out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from airlock.build.materials import check_and_date, local_files
from airlock.build.timestamps import image_times
from airlock.build.wheel_keys import WheelWant, wheel_wants
from airlock.build.wheels import prefixes
from airlock.bundle.stored import StoredBundle
from airlock.core.errors import IncompleteError
from airlock.core.files import write_file
from airlock.core.paths import rooted
from airlock.core.progress import Reporter
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.render import RenderedTree
from airlock.lock.gather import expectation
from airlock.lock.model import Lock
from airlock.lock.proof import Gap, prove_lock
from airlock.lock.tools import required_tools, tool_artifacts, tools_environment


class Prepared(msgspec.Struct, frozen=True):
    """All that a build takes into the room.

    Attributes:
        trees: architecture → the sealed rendering, proved to have the digests the lock names.
        sources_list: architecture → the sealed /etc/apt/sources.list.
        times: the time that each image of this machine's architecture bears: see ``image_times``.
    """

    loaded: LoadedDefinition
    environment: KollaEnvironment
    trees: dict[str, RenderedTree]
    sources_list: dict[str, str]
    times: dict[str, int]


def lay_out_definition(bundle: StoredBundle, folder: Path) -> LoadedDefinition:
    """Write the bundle's definition files to ``folder`` and load them."""
    for name, data in bundle.definition_files.items():
        write_file(rooted(folder, name), data, durable=False)
    return load_definition(folder)


async def prepare(bundle: StoredBundle, arch: str, cache: Path, work: Path, reporter: Reporter) -> Prepared:
    """Render at the site, from the bundle alone, and prove it against the lock.

    Args:
        arch: this machine's architecture.
        cache: where Kolla's environments are kept.
        work: folder for this build.

    Raises:
        IncompleteError: what is rendered here is not what was locked, or the store lost a file; names each gap.
        IntegrityError: a file of the store has changed since it was imported.
    """
    lock = bundle.lock
    loaded = lay_out_definition(bundle, work / "definition")
    dates = await asyncio.to_thread(check_and_date, bundle, arch, work / "content", reporter)
    reporter.say("Kolla's environment, from the bundle's wheels")
    with local_files(bundle, work / "wheels of tools") as content:
        python = await tools_environment(tool_artifacts(lock), content, cache / "kolla")
    environment = KollaEnvironment(python)
    reporter.say("rendering, and proving it against the lock")
    expected, _, sealed = expectation(environment, loaded, lock, required_tools(loaded), work)
    gaps = prove_lock(lock, expected)
    if gaps:
        _refuse(bundle, gaps)
    lists = {arch: tree.apt.get("sources.list", b"").decode() for arch, tree in sealed.items()}
    return Prepared(loaded, environment, sealed, lists, image_times(lock, arch, dates))


def _refuse(bundle: StoredBundle, gaps: list[Gap]) -> None:
    lines = "\n".join(f"  {gap}" for gap in gaps[:20])
    raise IncompleteError(
        f"bundle {bundle.id} does not prove complete at this site ({len(gaps)} gaps):\n{lines}",
        remedy="Nothing was built. Is the bundle from another version of Airlock or Kolla? Bring a new one.",
    )


def image_wheels(lock: Lock, tree: RenderedTree, image: str) -> tuple[dict[int, str], list[WheelWant]]:
    """The sdists an image installs, and per line the Dockerfile before that instruction.

    Lines are those of the upstream Dockerfile; only ``base`` differs from its sealed rendering, and installs no sdist.
    """
    text = tree.by_name[image].dockerfile.decode()
    lines = sorted({d.line for d in lock.demands if (d.arch, d.image, d.kind) == (tree.arch, image, "python")})
    if not tree.by_name[image].parent:
        return {}, []
    before = prefixes(text, lines)
    return before, wheel_wants(lock, tree.arch, image, before)
