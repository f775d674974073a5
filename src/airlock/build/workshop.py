"""What a build and a rehearsal do alike in a sealed room: canary, root image, wheels, Kolla."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from pathlib import Path

from airlock.build.base_image import BaseWant, base_content, base_want, provide_base
from airlock.build.materials import local_files
from airlock.build.mirror import BundleMirror
from airlock.build.prepare import Prepared, image_wheels
from airlock.build.wheel_cache import CachedWheel, WheelCache
from airlock.build.wheels import WheelBuilder
from airlock.bundle.stored import StoredBundle
from airlock.core.errors import AirlockError, BuildError, ToolError
from airlock.core.process import last_lines
from airlock.core.progress import Reporter
from airlock.evidence.record import UsedWheel
from airlock.kolla.render import RenderedTree
from airlock.kolla.run_build import BuildOutcome, Event, Finished, Started, run_build
from airlock.room.report import CanaryResult
from airlock.room.sealed import SealedRoom

ROOT_IMAGE = "(base image)"
"""Stands in records where an image's name would."""


class Workshop:
    """A room with a bundle's files, for the images of one architecture, which is the machine's.

    Args:
        mirror: what the room's gateway serves.
        wheels: kept wheels; the mirror serves from the same.
        build_id: names who made a wheel.
        fresh: take nothing that is kept: no wheel, no base image.
        logs: folder for logs; ``work`` for what goes with the build.

    Attributes:
        used: wheels that images took so far.
    """

    def __init__(
        self,
        room: SealedRoom,
        bundle: StoredBundle,
        prepared: Prepared,
        mirror: BundleMirror,
        wheels: WheelCache,
        *,
        build_id: str,
        fresh: bool,
        logs: Path,
        work: Path,
        reporter: Reporter,
    ) -> None:
        self._room, self._bundle, self._prepared, self._mirror = room, bundle, prepared, mirror
        self._fresh, self._logs, self._work, self._reporter = fresh, logs, work, reporter
        self._builder = WheelBuilder(
            room.engine, wheels, build_id=build_id, fresh=fresh, logs=logs, work=work / "wheels", reporter=reporter
        )
        self.used: list[UsedWheel] = []

    async def canary(self) -> CanaryResult:
        """Try every way out.

        Raises:
            RoomError: see ``SealedRoom.run_canary``.
        """
        found = await self._room.run_canary()
        self._reporter.say(
            f"canary: {len(found.attempts)} ways out tried, all refused, {found.packets_counted} packets counted"
        )
        return found

    @property
    def base(self) -> BaseWant:
        """What the root image is made of."""
        release, arch = self._prepared.loaded.definition.base.release, platform.machine()
        sources_list = self._prepared.sources_list[arch]
        return base_want(self._bundle.lock, arch, release, sources_list, self._prepared.times[""])

    async def provide_root(self, cache: Path) -> str:
        """Put the root image into the room's engine; returns its id.

        Args:
            cache: folder of root file systems that are kept.

        Raises:
            BuildError, IntegrityError: see ``provide_base``.
        """
        self._room.image = ROOT_IMAGE
        want, lock = self.base, self._bundle.lock
        with local_files(self._bundle, self._work / "base image") as content:
            files = await asyncio.to_thread(base_content, lock, want, content)
            return await provide_base(self._room, want, files, cache, fresh=self._fresh, reporter=self._reporter)

    async def build(self, tree: RenderedTree) -> BuildOutcome:
        """Have Kolla build all images of a tree (or of a part of one, whose other parents the engine has).

        Raises:
            AirlockError: see ``run_build`` and ``WheelBuilder.build``. That an image fails is told by the outcome.
        """
        times = self._prepared.times

        async def ready(image: str) -> int:
            self._room.image = image
            offered: list[CachedWheel] = []
            before, wants = image_wheels(self._bundle.lock, tree, image)
            self._mirror.offer([])
            for line in sorted(before):
                of_line = [want for want in wants if want.line == line]
                if of_line:
                    folder = tree.by_name[image].folder
                    offered += await self._builder.build(folder, before[line], of_line, times[image])
                    self._mirror.offer(offered)
            self._use(image, offered)
            return times[image]

        def follow(event: Event) -> None:
            if isinstance(event, Started):
                self._reporter.say(f"{event.image}: building")
            elif isinstance(event, Finished):
                self._reporter.say(f"{event.image}: {event.status} in {event.seconds:.0f} s")

        return await run_build(
            self._prepared.environment,
            tree,
            socket=self._room.engine.url,
            logs=self._logs,
            threads=1,
            prepare=ready,
            follow=follow,
            enter=self._room.command,
        )

    def _use(self, image: str, wheels: Sequence[CachedWheel]) -> None:
        self.used += [
            UsedWheel(
                file=wheel.file, sha256=wheel.sha256, key=wheel.key, sdist=wheel.sdist, build=wheel.build, image=image
            )
            for wheel in wheels
        ]


def own_tree(bundle: StoredBundle, prepared: Prepared) -> RenderedTree:
    """The tree of this machine's architecture.

    Raises:
        ToolError: the bundle is for other architectures.
    """
    machine = platform.machine()
    if machine not in prepared.trees:
        raise ToolError(
            f"bundle {bundle.id} is for {', '.join(prepared.trees)}; this machine is {machine}",
            remedy="Build on a machine of that architecture.",
        )
    return prepared.trees[machine]


def blamed(error: BuildError, failures: Sequence[AirlockError]) -> AirlockError:
    """A build's failure, laid to the store where the gateway could not have files from it.

    Args:
        failures: the gateway's.
    """
    if not failures:
        return error
    first = failures[0]
    return type(first)(f"{first.message}; so {error.message}", remedy=f"{first.remedy} {error.remedy}".strip())


async def engine_facts(room: SealedRoom) -> dict[str, str]:
    """Versions of the engine, its runtime and its storage driver, and of the machine."""
    result = await room.engine.podman(
        "info", "--format", "{{.Version.Version}} {{.Store.GraphDriverName}} {{.Host.OCIRuntime.Name}}", check=True
    )
    version, driver, runtime = result.stdout.decode().split()
    runc = await room.engine.tool("runc", "--version")
    if runc.returncode != 0:
        raise ToolError(
            f"runc does not work: {last_lines(runc, 2)}", remedy="apt-get install --no-install-recommends runc"
        )
    return {
        "podman": version,
        "storage_driver": driver,
        "runtime": runtime,
        "runc": runc.stdout.decode().split("\n")[0].removeprefix("runc version ").strip(),
        "architecture": platform.machine(),
        "kernel": platform.release(),
    }
