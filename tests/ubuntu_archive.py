"""A stand-in for Ubuntu 22.04's archives: the layout is Ubuntu's, a package is made up for every name asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.apt_upstream import ARCHES, Keys, Repository, Upstreams

from airlock.lock.apt_words import parse_words
from airlock.lock.gather import Gathered

ESSENTIAL = ("base-files", "bash", "coreutils", "dpkg", "libc6", "perl-base", "sed", "tar")
REQUIRED = ("adduser-base", "debconf", "passwd")
SUITES = ("jammy", "jammy-updates", "jammy-security", "jammy-backports")


def asked_names(gathered: Iterable[Gathered]) -> set[str]:
    """Every package that an apt command of these renderings names; of a glob, what it means on either architecture."""
    names: set[str] = set()
    for one in gathered:
        for demand in one.demands:
            words = parse_words(("apt-get", *demand.spec.split()), demand.where) if demand.kind == "apt" else None
            for name in words.named if words else ():
                names |= {name.replace("*64", arch) for arch in ARCHES} if "*" in name else {name}
    return names


class UbuntuArchive:
    """``ubuntu`` (amd64), ``ports-ubuntu-com`` (arm64) and ``ubuntu-cloud``, below one folder, signed by two keys."""

    def __init__(self, upstreams: Upstreams, folder: Path, names: Iterable[str]) -> None:
        self.upstreams = upstreams
        self.keys: Keys = upstreams.keys
        self.suites: dict[str, list[Repository]] = {}
        for signer in ("ubuntu", "cloud"):
            self.keys.make(signer)
        for place, arch in (("ubuntu", "amd64"), ("ports-ubuntu-com", "arm64")):
            made = [Repository(upstreams.root / place, suite, "main universe") for suite in SUITES]
            for repository in made:
                codename = {"Codename": "jammy", "NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"}
                repository.fields |= codename if repository.suite.endswith("backports") else {"Codename": "jammy"}
            self._fill(made[0], names, arch)
            made[1].add("libc6", "2", arch, Essential="yes", Priority="required")
            made[2].add("libc6", "1.5", arch, Essential="yes", Priority="required")
            made[3].add("haproxy", "9", arch)
            self.suites[place] = made
        cloud = Repository(upstreams.root / "ubuntu-cloud", "jammy-updates/caracal")
        for arch in ARCHES:
            cloud.add("qemu-system", "1:8.2", arch)
        self.suites["ubuntu-cloud"] = [cloud]
        for place, made in self.suites.items():
            signer = "cloud" if place == "ubuntu-cloud" else "ubuntu"
            arches = {"ubuntu": ["amd64"], "ports-ubuntu-com": ["arm64"]}.get(place, list(ARCHES))
            for repository in made:
                repository.publish(self.keys, signer, arches=arches)
        self.keyrings = [folder / f"{signer}.gpg" for signer in ("ubuntu", "cloud")]
        for path in self.keyrings:
            path.write_bytes(self.keys.public(path.stem, armored=False))

    def _fill(self, archive: Repository, names: Iterable[str], arch: str) -> None:
        for name in ESSENTIAL:
            archive.add(name, "1", arch, Essential="yes", Priority="required")
        for name in REQUIRED:
            archive.add(name, "1", listed=[arch], Priority="required")
        archive.add("apt", "2.4.13", arch, Priority="important", Depends="libapt-pkg6.0")
        archive.add("libapt-pkg6.0", "2.4.13", arch)
        for name in sorted(set(names) - {*ESSENTIAL, *REQUIRED, "apt"}):
            recommends = {"Recommends": "not-wanted"} if name == "memcached" else {}
            archive.add(name, "1", arch, Depends="lib-of-all", **recommends)
        archive.add("lib-of-all", "1", arch)
        archive.add("not-wanted", "1", arch)

    @property
    def settings(self) -> str:
        """factory.toml."""
        address = self.upstreams.address
        tables = [f'[upstreams.{name}]\naddress = "{address}/{name}"\nstand_in = true\n' for name in self.suites]
        return "".join(tables) + f"[apt]\nkeyrings = {[str(path) for path in self.keyrings]}\n[fetch]\nretries = 1\n"
