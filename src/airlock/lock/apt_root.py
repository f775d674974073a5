"""A private root for apt: nothing of the host's apt is read, nothing of the host is written, root is not needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec

from airlock.core.errors import AirlockError, ResolutionError, ToolError, UsageError
from airlock.core.process import clean_environment, find_tool, run
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_refusal import distrusts, refusal, refusals
from airlock.lock.apt_state import AptState


class Target(msgspec.Struct, frozen=True):
    """One Packages file that apt has.

    Attributes:
        source: the source that names it.
        component: ``main`` …
        packages: the file; apt keeps no empty ones.
        release: the Release or InRelease file it was checked against.
    """

    source: AptSource
    component: str
    packages: Path
    release: Path


class AptRoot:
    """A folder with apt's configuration, lists and state.

    Args:
        root: the folder; made, and owned by this object.
        sources: every source that may ever be in force.
        addresses: upstream's name → the address that apt is to use for it.
        keyrings: files whose keys may sign a Release of the distribution.
        keys: path in the image (``AptSource.keyring``) → file of the keys that alone may sign what names it.
        debian_arch: Debian's name of the architecture.
        check_valid_until: refuse a Release past its Valid-Until.
        trusted: take indexes unsigned and expired: for bytes that were checked otherwise (a lock's own).
        dated: upstreams whose indexes a lock has kept: they may have expired since.

    Attributes:
        refused: upstream → why its indexes were not taken the last time that they were asked for.
    """

    def __init__(
        self,
        root: Path,
        *,
        sources: Sequence[AptSource],
        addresses: Callable[[str], str],
        keyrings: Sequence[Path] = (),
        keys: Mapping[str, Path] | None = None,
        debian_arch: str,
        check_valid_until: bool = True,
        trusted: bool = False,
        dated: Container[str] = (),
    ) -> None:
        self.root = root.absolute()
        self.sources = merge_sources(sources)
        self.refused: dict[str, AirlockError] = {}
        self.debian_arch = debian_arch
        self._trusted, self._dated = trusted, dated
        self._address = {source.upstream: addresses(source.upstream).rstrip("/") for source in self.sources}
        if '"' in str(self.root) or "\n" in str(self.root):
            raise UsageError(f"{self.root}: apt cannot work in a folder with quotes in its name")
        for folder in (
            "lists/partial",
            "cache/archives/partial",
            "cache-base",
            "log",
            "state",
            "keys",
            "vendor-keys",
            "preferences.d",
            "conf.d",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self._take_keys([] if trusted else keyrings)
        self._signed_by = {} if trusted else self._vendor_keys(keys or {})
        (self.root / "apt.conf").write_text(self._configuration(check_valid_until), encoding="utf-8")
        find_tool("apt-get", "apt")

    def _take_keys(self, keyrings: Sequence[Path]) -> None:
        for number, keyring in enumerate(keyrings):
            if not keyring.is_file():
                raise ToolError(
                    f"the keyring {keyring} does not exist",
                    remedy=f"apt-get install {keyring.stem}, or name keyrings under [apt] in factory.toml.",
                )
            suffix = ".asc" if keyring.suffix == ".asc" else ".gpg"
            shutil.copyfile(keyring, self.root / "keys" / f"{number:02}{suffix}")

    def _vendor_keys(self, keys: Mapping[str, Path]) -> dict[str, Path]:
        """Keyring in the image → a copy whose name tells apt whether it is armored."""
        copies: dict[str, Path] = {}
        for number, keyring in enumerate(dict.fromkeys(one.keyring for one in self.sources if one.keyring)):
            if keyring not in keys:
                names = ", ".join(one.upstream for one in self.sources if one.keyring == keyring)
                raise ResolutionError(
                    f"the vendor repository {names} is signed by {keyring}, which no command of an image fetches",
                    remedy="Have base fetch that key (base_apt_keys_append or base_remote_apt_keys_append).",
                )
            data = keys[keyring].read_bytes()
            copies[keyring] = self.root / "vendor-keys" / f"{number:02}{'.asc' if data[:5] == b'-----' else '.gpg'}"
            copies[keyring].write_bytes(data)
        return copies

    def _configuration(self, check_valid_until: bool) -> str:
        """apt.conf(5). APT_CONFIG is read before any option of the command line, so the host's files never are."""
        root = self.root
        settings = {
            "Dir": "/",
            "Dir::Etc": f"{root}",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": f"{root}/conf.d",
            "Dir::Etc::netrc": "/dev/null",
            "Dir::Etc::netrcparts": "/dev/null",
            "Dir::Etc::sourcelist": f"{root}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": f"{root}/preferences",
            "Dir::Etc::preferencesparts": f"{root}/preferences.d",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": f"{root}/keys",
            "Dir::State": f"{root}/state",
            "Dir::State::status": f"{root}/state/status",
            "Dir::State::extended_states": f"{root}/state/extended_states",
            "Dir::State::lists": f"{root}/lists",
            "Dir::Cache": f"{root}/cache",
            # Only the cache of the lists is worth writing: the other one holds the status, which each command changes.
            "Dir::Cache::pkgcache": "",
            "Dir::Log": f"{root}/log",
            "Dir::Bin::dpkg": "/bin/false",
            "APT::Architecture": self.debian_arch,
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Check-Valid-Until": str(check_valid_until and not self._trusted).lower(),
            # The witness waits before it asks an upstream again; apt 2.6 that waits as well may wait for ever.
            "Acquire::Retries": "3",
            "Acquire::Retries::Delay": "false",
            # The lists are ours alone; without this apt as root would want them to be _apt's.
            "APT::Sandbox::User": "root",
        }
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        return "".join([*lines, f'APT::Architectures {{ "{self.debian_arch}"; }};\n'])

    def _sources_list(self, sources: Sequence[AptSource]) -> str:
        return "".join(
            f"deb {self._options(source)}{self._address[source.upstream]} {source.words}\n"
            for source in merge_sources(sources)
        )

    def _options(self, source: AptSource) -> str:
        options = ["trusted=yes"] if self._trusted else []
        if not self._trusted and source.upstream in self._dated:
            options.append("check-valid-until=no")
        if source.keyring in self._signed_by:
            options.append(f"signed-by={self._signed_by[source.keyring]}")
        if source.arches:
            options.append(f"arch={','.join(source.arches)}")
        return f"[{' '.join(options)}] " if options else ""

    def enter(
        self,
        state: AptState,
        sources: Sequence[AptSource],
        preferences: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Put the root into a state.

        Args:
            sources: those in force.
            preferences: name (``preferences`` or ``preferences.d/NAME``) → text.
            settings: name → text of the image's own settings, none of which may be about files or commands.
        """
        (self.root / "state/status").write_text(state.status, encoding="utf-8")
        marks = state.extended_states(self.debian_arch)
        (self.root / "state/extended_states").write_text(marks, encoding="utf-8")
        listing, text = self.root / "sources.list", self._sources_list(sources)
        # A source list younger than apt's cache of the lists makes apt read them all again: two seconds a command.
        if not listing.exists() or listing.read_text(encoding="utf-8") != text:
            listing.write_text(text, encoding="utf-8")
        (self.root / "preferences").unlink(missing_ok=True)
        for old in [*(self.root / "preferences.d").iterdir(), *(self.root / "conf.d").iterdir()]:
            old.unlink()
        for name, text in (settings or {}).items():
            (self.root / "conf.d" / name).write_text(text, encoding="utf-8")
        for name, text in preferences.items():
            (self.root / name).write_text(text, encoding="utf-8")

    @property
    def mmdebstrap_options(self) -> tuple[str, ...]:
        """What mmdebstrap sets for apt: no Recommends, and apt itself not taken for Essential.

        The second is baked into apt's cache without being part of what makes it valid, hence a cache of its own.
        """
        cache = f"Dir::Cache={self.root}/cache-base"
        return ("-o", "APT::Install-Recommends=false", "-o", "pkgCacheGen::ForceEssential=,", "-o", cache)

    def apt(self, words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        """Run one of apt's programs in this root. ``words[0]`` is the program."""
        environment = clean_environment(self.root, network=True, APT_CONFIG=str(self.root / "apt.conf"), LC_ALL="C")
        if all(address.startswith(("http://127.", "http://localhost", "file:")) for address in self._address.values()):
            environment = {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}
        environment["TMPDIR"] = str(self.root / "cache")
        return run(words, env=environment, cwd=self.root)

    def update(self) -> None:
        """Fetch every source's indexes, checking signatures.

        Raises:
            IntegrityError: unsigned, wrongly signed, expired, or not what the Release says; in apt's words.
            UpstreamError: not to be reached.
            ResolutionError: the suite or component does not exist there.
        """
        self.refused = {}
        self.enter(AptState(), self.sources, {})
        result = self.apt(["apt-get", "--error-on=any", "-o", "quiet=1", "update"])
        text = result.stderr.decode("utf-8", "replace")
        # Where former lists exist, apt keeps them and only warns of a wrong signature: here that is an error too.
        if result.returncode != 0 or (not self._trusted and distrusts(text)):
            self.refused = refusals(text, self.sources, self._address)
            raise refusal(text, self.sources, self._address)

    def leave_out(self, upstreams: Container[str]) -> None:
        """Go on without the sources of these upstreams."""
        self.sources = [source for source in self.sources if source.upstream not in upstreams]

    def targets(self) -> list[Target]:
        """The Packages files of every source, in the order of the sources.

        Raises:
            ResolutionError: a source has none for this architecture.
        """
        self.enter(AptState(), self.sources, {})
        form = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(METAKEY)\t$(FILENAME)"
        # With release info apt leaves out empty files, which are as good as others here.
        command = ["apt-get", "indextargets", "--no-release-info", "--format", form, "Created-By: Packages"]
        # apt tells the suite of a flat repository without its slash.
        by_address = {
            (unquote(self._address[source.upstream]), source.suite.rstrip("/")): source for source in self.sources
        }
        found: list[Target] = []
        for line in self.apt(command).stdout.decode().splitlines():
            address, suite, component, key, name = line.split("\t")
            source = by_address[unquote(address).rstrip("/"), suite]
            target = Target(source, component if source.components else "", Path(name), _release_of(name, key))
            if target.packages.exists() or _lists(target.release, key):
                found.append(target)
            elif not key.endswith("/binary-all/Packages"):
                error = ResolutionError(
                    f"{source.upstream} {source.place(component)} has no packages for {self.debian_arch}",
                    remedy=f"Take {source.upstream} out of vendor_repositories, and leave out the images that need it."
                    if source.keyring
                    else "Leave the source out of Kolla's sources.list for this architecture.",
                )
                self.refused = {source.upstream: error}
                raise error
        return found


def _release_of(packages: str, key: str) -> Path:
    """The Release that apt keeps beside a Packages file, signed inside or not."""
    stem = packages.removesuffix(key.replace("/", "_"))
    inside = Path(stem + "InRelease")
    return inside if inside.exists() else Path(stem + "Release")


def _lists(release: Path, key: str) -> bool:
    pattern = re.compile(rb"^ \S+ +\d+ " + re.escape(key.encode()) + rb"(\.\w+)?$", re.MULTILINE)
    return release.exists() and bool(pattern.search(release.read_bytes()))


def merge_sources(sources: Sequence[AptSource]) -> list[AptSource]:
    """One source per upstream and suite, in order of first mention, with the components of all of them."""
    merged: dict[tuple[str, str], AptSource] = {}
    for source in sources:
        key = (source.upstream, source.suite)
        known = merged.get(key)
        if known is None:
            merged[key] = source
            continue
        components = tuple(dict.fromkeys((*known.components, *source.components)))
        arches = tuple(dict.fromkeys((*known.arches, *source.arches)))
        merged[key] = msgspec.structs.replace(known, components=components, arches=arches)
    return list(merged.values())
