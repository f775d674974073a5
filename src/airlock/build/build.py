"""``build``: Kolla in a sealed room, from one bundle, with a record of everything.

The stages, in order: prove (at the site, against the lock), seal (room, canary), base image, build (with wheels),
look (packages, checks), publish, record. A build that fails leaves a record too.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.build.base_image import base_content, base_want, provide_base
from airlock.build.image_facts import run_check
from airlock.build.materials import local_files
from airlock.build.mirror import BundleMirror
from airlock.build.prepare import Prepared, image_wheels, prepare
from airlock.build.publish import Publisher
from airlock.build.record_parts import network_part, served_part
from airlock.build.wheel_cache import CachedWheel, WheelCache
from airlock.build.wheels import WheelBuilder
from airlock.bundle.stored import StoredBundle
from airlock.core.digest import sha256_file
from airlock.core.errors import AirlockError, BuildError, SpaceError, StateError, ToolError
from airlock.core.files import exclusive
from airlock.core.process import last_lines
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.core.space import FULL
from airlock.engine.destination import require_registry
from airlock.engine.skopeo import site_access
from airlock.evidence import ledger
from airlock.evidence.record import (
    FORMAT,
    BuiltImage,
    BundleRef,
    Check,
    Network,
    Record,
    Served,
    Trigger,
    UsedWheel,
    write_record,
)
from airlock.kolla.run_build import BuildOutcome, Event, Finished, Started, run_build
from airlock.room.namespace import require_root
from airlock.room.report import CANNOT_PROVE
from airlock.room.sealed import SealedRoom

_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"


class Request(msgspec.Struct, frozen=True):
    """What is asked for.

    Attributes:
        fresh: take nothing from earlier builds (wheels, base image).
        through: the system that starts it.
        requester: who asked, where that system knows; else the user who runs this.
        git: repository → commit that the bundle must name.
    """

    reason: str
    fresh: bool = False
    through: str = "command line"
    requester: str = ""
    details: dict[str, str] = {}
    git: dict[str, str] = {}


class Finding(msgspec.Struct):
    """What a build has found out so far; becomes the record, whole or not."""

    stages: dict[str, float]
    images: list[BuiltImage]
    wheels: list[UsedWheel]
    engine: dict[str, str]
    network: Network | None = None
    served: list[Served] = []
    kolla: dict[str, str] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, also when it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(time.monotonic() - began, 3)


async def build(bundle: StoredBundle, site: Site, request: Request, reporter: Reporter) -> tuple[Path, Record]:
    """Build every image of a bundle and return (folder of the record, record).

    Raises:
        StateError: another build runs at this site, or the bundle does not name the commits that were asked for.
        AirlockError: the build failed; its record says how far it came, and the message names the folder.
    """
    _require_commits(bundle, request.git)
    started = datetime.now(UTC)
    build_id = f"{bundle.id}-{started:%Y%m%dT%H%M%SZ}"
    folder = site.records / build_id
    account = ledger.current_user()
    trigger = Trigger(
        user=request.requester or account,
        account=account,
        host=os.uname().nodename,
        time=f"{started:{_RFC3339}}",
        reason=request.reason,
        through=request.through,
        details=request.details,
    )
    finding = Finding({}, [], [], {})
    error: AirlockError | None = None
    interrupted = False
    with exclusive(site.state / "build.lock", f"the site {site.settings.name}"):
        asked = {
            "build": build_id,
            "bundle": bundle.id,
            "digest": bundle.manifest.content_digest,
            "git": dict(bundle.manifest.git),
            "requester": trigger.user,
            "reason": trigger.reason,
            "through": trigger.through,
            "details": trigger.details,
        }
        ledger.append(site.ledger, "build-begin", asked)
        try:
            await _Build(bundle, site, request, build_id, folder, finding, reporter).run()
        except AirlockError as raised:
            error = raised
        except OSError as raised:
            said = f"{raised.filename or 'the build'}: {raised.strerror or raised}"
            error = SpaceError(said) if raised.errno in FULL else BuildError(said, remedy="Check the disk.")
        except (asyncio.CancelledError, KeyboardInterrupt):
            interrupted = True
            error = BuildError("the build was interrupted", remedy="The same command builds again.")
        record = _record(bundle, build_id, trigger, started, finding, error)
        path = write_record(folder, record)
        images = {image.name: image.digest for image in record.images}
        ended = {"state": record.state, "images": images, "record": sha256_file(path)[0]}
        ledger.append(site.ledger, "build-end", asked | ended)
    if interrupted:
        raise KeyboardInterrupt
    if error is not None:
        error.remedy = f"{error.remedy} The record is {path}.".strip()
        raise error
    return folder, record


def _require_commits(bundle: StoredBundle, git: dict[str, str]) -> None:
    for name, commit in git.items():
        named = bundle.manifest.git.get(name)
        if named != commit:
            raise StateError(
                f"bundle {bundle.id} names {f'commit {named}' if named else 'no commit'} of {name}; "
                f"the build was asked for with {commit}",
                remedy="Ask for the commit that the bundle was made from, or for the bundle of that commit.",
            )


def _record(
    bundle: StoredBundle,
    build_id: str,
    trigger: Trigger,
    started: datetime,
    finding: Finding,
    error: AirlockError | None,
) -> Record:
    unsealed = Network(
        room="none: the build ended before its room was sealed", cannot_prove=list(CANNOT_PROVE), refused_packets=0,
        refused=[], refused_names=[], expected_names=[], refused_sockets=[], missing=[], canary_packets=0, canary=[],
    )  # fmt: skip
    return Record(
        format=FORMAT,
        build_id=build_id,
        state="failure" if error else "success",
        error=error.message if error else "",
        trigger=trigger,
        bundle=BundleRef(
            id=bundle.id,
            digest=bundle.manifest.content_digest,
            manifest=bundle.manifest_digest,
            lock=bundle.lock.digest,
            definition=bundle.lock.header.definition,
        ),
        kolla=dict(bundle.lock.header.kolla),
        git=dict(bundle.manifest.git),
        engine=finding.engine,
        started=f"{started:{_RFC3339}}",
        ended=ledger.utc_now(),
        stages=finding.stages,
        images=finding.images,
        wheels=finding.wheels,
        network=finding.network or unsealed,
        served=finding.served,
        store=bundle.store.name,
    )


class _Build:
    """One build of one architecture, which is the machine's."""

    def __init__(
        self, bundle: StoredBundle, site: Site, request: Request, build_id: str, folder: Path, finding: Finding,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._bundle = bundle
        self._site = site
        self._request = request
        self._build_id = build_id
        self._logs = folder / "logs"
        self._finding = finding
        self._reporter = reporter
        self._cache = WheelCache(site.wheels)
        self._mirror = BundleMirror(bundle, self._cache)
        self._arch = platform.machine()

    async def run(self) -> None:
        """Every stage; what is found goes into ``finding``."""
        self._logs.mkdir(parents=True, exist_ok=True)
        require_root()
        await require_registry(self._site)
        with TemporaryDirectory(prefix="airlock-build-") as name:
            work = Path(name)
            with self._finding.stage("prove"):
                prepared = await prepare(self._bundle, self._arch, self._site.cache, work, self._reporter)
            if self._arch not in prepared.trees:
                raise ToolError(
                    f"bundle {self._bundle.id} is for {', '.join(prepared.trees)}; this machine is {self._arch}",
                    remedy="Build on a machine of that architecture.",
                )
            began = time.monotonic()
            async with SealedRoom.open(
                self._build_id, self._site.state / "room", mirror=self._mirror, reporter=self._reporter
            ) as room:
                self._finding.stages["seal"] = round(time.monotonic() - began, 3)
                try:
                    await self._in_room(room, prepared, work)
                except BuildError as error:
                    raise blamed(error, room.failures) from None
                finally:
                    self._look_back(room)

    async def _in_room(self, room: SealedRoom, prepared: Prepared, work: Path) -> None:
        finding, reporter, times = self._finding, self._reporter, prepared.times
        await self._empty(room)
        finding.engine = await _engine_facts(room)
        with finding.stage("canary"):
            canary = await room.run_canary()
        reporter.say(
            f"canary: {len(canary.attempts)} ways out tried, all refused, {canary.packets_counted} packets counted"
        )
        tree = prepared.trees[self._arch]
        with finding.stage("base image"):
            room.image = "(base image)"
            release = prepared.loaded.definition.base.release
            want = base_want(self._bundle.lock, self._arch, release, prepared.sources_list[self._arch], times[""])
            cache = self._site.cache / "base"
            with local_files(self._bundle, work / "base image") as content:
                files = await asyncio.to_thread(base_content, self._bundle.lock, want, content)
                base = await provide_base(room, want, files, cache, fresh=self._request.fresh, reporter=reporter)
        with finding.stage("build"):
            outcome = await self._kolla(room, prepared, work)
        checks: dict[str, list[Check]] = {}
        with finding.stage("check"):
            outcome.check()
            for name, command in prepared.loaded.definition.checks.items():
                if name not in tree.by_name:
                    reporter.say(f"{name}: not of this bundle, so its check is not run")
                else:
                    room.image = name
                    checks[name] = [await run_check(room.engine, tree.by_name[name].reference, name, command)]
                    said = checks[name][0].output.splitlines()
                    reporter.say(f"{name}: `{' '.join(command)}` → {said[-1] if said else 'succeeds'}")
        with finding.stage("publish"), site_access(self._site) as access:
            publisher = Publisher(room, self._site, self._bundle, self._build_id, access, work / "skopeo")
            # Kolla has put archives into the proved folders since, so the lock tells their digests.
            await publisher.run(
                tree, finding.images, times=times, base=base, checks=checks,
                seconds={image.name: image.seconds for image in outcome.images}, reporter=reporter,
            )  # fmt: skip

    async def _empty(self, room: SealedRoom) -> None:
        """Images of earlier builds go: a layer taken from one would have other inputs under the same words."""
        await room.engine.podman("rmi", "--all", "--force", check=True)

    async def _kolla(self, room: SealedRoom, prepared: Prepared, work: Path) -> BuildOutcome:
        tree, times = prepared.trees[self._arch], prepared.times
        builder = WheelBuilder(
            room.engine, self._cache, build_id=self._build_id, fresh=self._request.fresh, logs=self._logs,
            work=work / "wheels", reporter=self._reporter,
        )  # fmt: skip

        async def ready(image: str) -> int:
            room.image = image
            offered: list[CachedWheel] = []
            before, wants = image_wheels(self._bundle.lock, tree, image)
            self._mirror.offer([])
            for line in sorted(before):
                of_line = [want for want in wants if want.line == line]
                if of_line:
                    folder = tree.by_name[image].folder
                    offered += await builder.build(folder, before[line], of_line, times[image])
                    self._mirror.offer(offered)
            self._used(image, offered)
            return times[image]

        def follow(event: Event) -> None:
            if isinstance(event, Started):
                self._reporter.say(f"{event.image}: building")
            elif isinstance(event, Finished):
                self._reporter.say(f"{event.image}: {event.status} in {event.seconds:.0f} s")

        return await run_build(
            prepared.environment,
            tree,
            socket=room.engine.url,
            logs=self._logs,
            threads=1,
            prepare=ready,
            follow=follow,
            enter=room.command,
        )

    def _used(self, image: str, wheels: Sequence[CachedWheel]) -> None:
        self._finding.wheels += [
            UsedWheel(
                file=wheel.file, sha256=wheel.sha256, key=wheel.key, sdist=wheel.sdist, build=wheel.build, image=image
            )
            for wheel in wheels
        ]

    def _look_back(self, room: SealedRoom) -> None:
        report = room.report()
        self._finding.network = network_part(report)
        self._finding.served = served_part(report, self._mirror.origins, self._mirror.sizes)


def blamed(error: BuildError, failures: Sequence[AirlockError]) -> AirlockError:
    """A build's failure, laid to the store where the gateway could not have files from it.

    Args:
        failures: the gateway's.
    """
    if not failures:
        return error
    first = failures[0]
    return type(first)(f"{first.message}; so {error.message}", remedy=f"{first.remedy} {error.remedy}".strip())


async def _engine_facts(room: SealedRoom) -> dict[str, str]:
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
