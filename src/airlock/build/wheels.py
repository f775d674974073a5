"""Wheels from locked sdists, built in the room before the image that installs them.

pip builds an sdist in a folder with a random name, which ends up in compiled objects, and throws the wheel away. Here
each sdist is built once, in a container of the very image that will install it (its Dockerfile up to that pip command,
whose layers the image's own build then takes from the engine), in a folder with a constant name, at a constant time.
What comes out is kept by a key over everything that went in, and offered by the gateway beside the sdist.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path

from airlock.build.wheel_cache import CachedWheel, WheelCache
from airlock.build.wheel_keys import WheelWant
from airlock.core.errors import BuildError
from airlock.core.progress import Reporter
from airlock.engine.podman import Podman
from airlock.kolla.apt_sources import MIRROR
from airlock.kolla.dockerfile import parse
from airlock.lock.model import Artifact

PARALLEL = 2
TIMEOUT = 1800.0  # seconds a wheel

# The sdist is unpacked to a constant folder; CFLAGS without debug information, which would name pip's random one.
_RECIPE = """set -eu
cd /run/airlock
python3 - "$1" "$2" <<'FETCH'
import hashlib, io, sys, tarfile, urllib.request, zipfile
data = urllib.request.urlopen(sys.argv[1]).read()
assert hashlib.sha256(data).hexdigest() == sys.argv[2], "the gateway served other bytes"
if zipfile.is_zipfile(io.BytesIO(data)):
    zipfile.ZipFile(io.BytesIO(data)).extractall("source")
else:
    tarfile.open(fileobj=io.BytesIO(data)).extractall("source")
FETCH
exec python3 -m pip --no-cache-dir wheel --no-deps --wheel-dir /out /run/airlock/source/*
"""


def prefixes(text: str, lines: Sequence[int]) -> dict[int, str]:
    """Per line, the text of a Dockerfile before the instruction that holds it."""
    source = text.splitlines(keepends=True)
    starts = [instruction.line for instruction in parse(text)]
    return {line: "".join(source[: max(start for start in starts if start <= line) - 1]) for line in lines}


class WheelBuilder:
    """Builds and keeps wheels for one build of a site.

    Args:
        podman: the engine in the room.
        cache: where wheels are kept.
        build_id: of the build that is running.
        fresh: build again what is kept already.
        logs: folder for the logs of wheel builds.
    """

    def __init__(
        self,
        podman: Podman,
        cache: WheelCache,
        *,
        build_id: str,
        fresh: bool,
        logs: Path,
        work: Path,
        reporter: Reporter,
    ) -> None:
        self._podman = podman
        self._cache = cache
        self._build_id = build_id
        self._fresh = fresh
        self._logs = logs
        self._work = work
        self._reporter = reporter

    def kept(self, wants: Sequence[WheelWant]) -> list[CachedWheel]:
        """Those of ``wants`` that can be used again."""
        found = [self._cache.get(want.key) for want in wants]
        return [wheel for wheel in found if wheel is not None and (not self._fresh or wheel.build == self._build_id)]

    async def build(self, folder: Path, text: str, wants: Sequence[WheelWant], timestamp: int) -> list[CachedWheel]:
        """Build every wheel of one pip command that is not kept; returns all of them, in no order.

        Args:
            folder: the image's rendered folder, archives included.
            text: its Dockerfile before the instruction.
            wants: the sdists of that command.
            timestamp: the image's own, in seconds; also SOURCE_DATE_EPOCH.

        Raises:
            BuildError: the image up to that command, or a wheel, does not build; names the log.
        """
        kept = {wheel.key: wheel for wheel in self.kept(wants)}
        missing = [want for want in wants if want.key not in kept]
        if missing:
            image = await self._prefix_image(folder, text, missing[0], timestamp)
            limit = asyncio.Semaphore(PARALLEL)

            async def one(want: WheelWant) -> CachedWheel:
                async with limit:
                    return await self._wheel(image, want, timestamp)

            built = await asyncio.gather(*(one(want) for want in missing))
            kept |= {wheel.key: wheel for wheel in built}
        return list(kept.values())

    async def _prefix_image(self, folder: Path, text: str, want: WheelWant, timestamp: int) -> str:
        # No tag: the engine would write it into the history of the images that go on from these layers.
        identity = self._work / f"{want.image}-{want.line}.id"
        self._work.mkdir(parents=True, exist_ok=True)
        file = self._work / f"{want.image}-{want.line}.Dockerfile"
        file.write_text(text)
        result = await self._podman.podman(
            "build",
            "--layers",
            "--network=host",
            f"--timestamp={timestamp}",
            f"--iidfile={identity}",
            f"--file={file}",
            folder,
        )
        log = self._logs / f"{want.image}-before-line-{want.line}.log"
        log.write_bytes(result.stdout + result.stderr)
        if result.returncode != 0:
            raise BuildError(f"image {want.image} does not build up to line {want.line}", remedy=f"Its log is {log}.")
        return identity.read_text().strip()

    async def _wheel(self, image: str, want: WheelWant, timestamp: int) -> CachedWheel:
        self._reporter.say(f"  {want.image}: building a wheel from {want.sdist.file}")
        out = self._work / want.key
        out.mkdir(parents=True, exist_ok=True)
        result = await self._podman.podman(
            "run", "--rm", "--network=host", "--user=0", "--entrypoint=/bin/sh", f"--volume={out}:/out",
            "--tmpfs=/run/airlock:rw,exec,mode=755", "--env=CFLAGS=-g0 -O2", "--env=LC_ALL=C.UTF-8",
            f"--env=SOURCE_DATE_EPOCH={max(timestamp, 315532800)}", "--env=PYTHONHASHSEED=0",
            image, "-c", _RECIPE, "sh", sdist_url(want.sdist), want.sdist.sha256, timeout=TIMEOUT,
        )  # fmt: skip
        log = self._logs / f"wheel-{want.sdist.file}.log"
        log.write_bytes(result.stdout + result.stderr)
        made = sorted(out.glob("*.whl"))
        if result.returncode != 0 or len(made) != 1:
            raise BuildError(
                f"image {want.image}, line {want.line}: no wheel could be built from {want.sdist.file}",
                remedy=f"Its log is {log}.",
            )
        return self._cache.put(
            want.key, made[0], project=want.sdist.name, sdist=want.sdist.sha256, build=self._build_id
        )


def sdist_url(sdist: Artifact) -> str:
    """Where the room's gateway serves an artifact."""
    return f"{MIRROR}/pool/{sdist.sha256[:2]}/{sdist.sha256}/{shlex.quote(sdist.file)}"
