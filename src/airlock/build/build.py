"""``build``: Kolla in a sealed room, from one bundle, with a record of everything.

The stages, in order: prove (at the site, against the lock), seal (room, canary), base image, build (with wheels),
look (packages, checks), publish, record. A build that fails leaves a record too.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.build.image_facts import run_check
from airlock.build.mirror import BundleMirror
from airlock.build.prepare import Prepared, prepare
from airlock.build.publish import Publisher
from airlock.build.record_parts import network_part, served_part
from airlock.build.wheel_cache import WheelCache
from airlock.build.workshop import Workshop, blamed, engine_facts, own_tree
from airlock.bundle.stored import StoredBundle
from airlock.core.digest import sha256_file
from airlock.core.errors import AirlockError, BuildError, SpaceError, StateError
from airlock.core.files import exclusive
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
from airlock.kolla.render import RenderedTree
from airlock.lock.stand_ins import require_real
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
        StateError: another build runs at this site, or the bundle does not name the commits that were asked for, or
            has stand-ins and the site takes none.
        AirlockError: the build failed; its record says how far it came, and the message names the folder.
    """
    _require_commits(bundle, request.git)
    if site.settings.build.stand_ins == "refuse":
        require_real(bundle.lock, f"bundle {bundle.id}")
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

    async def run(self) -> None:
        """Every stage; what is found goes into ``finding``."""
        self._logs.mkdir(parents=True, exist_ok=True)
        require_root()
        await require_registry(self._site)
        with TemporaryDirectory(prefix="airlock-build-") as name:
            work = Path(name)
            with self._finding.stage("prove"):
                prepared = await prepare(self._bundle, platform.machine(), self._site.cache, work, self._reporter)
            tree = own_tree(self._bundle, prepared)
            began = time.monotonic()
            async with SealedRoom.open(
                self._build_id, self._site.state / "room", mirror=self._mirror, reporter=self._reporter
            ) as room:
                self._finding.stages["seal"] = round(time.monotonic() - began, 3)
                workshop = Workshop(
                    room, self._bundle, prepared, self._mirror, self._cache, build_id=self._build_id,
                    fresh=self._request.fresh, logs=self._logs, work=work, reporter=self._reporter,
                )  # fmt: skip
                try:
                    await self._in_room(room, workshop, prepared, tree, work)
                except BuildError as error:
                    raise blamed(error, room.failures) from None
                finally:
                    self._finding.wheels += workshop.used
                    self._look_back(room)

    async def _in_room(
        self, room: SealedRoom, workshop: Workshop, prepared: Prepared, tree: RenderedTree, work: Path
    ) -> None:
        finding, reporter = self._finding, self._reporter
        await self._empty(room)
        finding.engine = await engine_facts(room)
        with finding.stage("canary"):
            await workshop.canary()
        with finding.stage("base image"):
            base = await workshop.provide_root(self._site.cache / "base")
        with finding.stage("build"):
            outcome = await workshop.build(tree)
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
                tree, finding.images, times=prepared.times, base=base, checks=checks,
                seconds={image.name: image.seconds for image in outcome.images}, reporter=reporter,
            )  # fmt: skip

    async def _empty(self, room: SealedRoom) -> None:
        """Images of earlier builds go: a layer taken from one would have other inputs under the same words."""
        await room.engine.podman("rmi", "--all", "--force", check=True)

    def _look_back(self, room: SealedRoom) -> None:
        report = room.report()
        self._finding.network = network_part(report)
        self._finding.served = served_part(report, self._mirror.origins, self._mirror.sizes)
