"""apt's solver in its private root, on a small signed archive: signatures, order, marks, errors."""

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from airlock.core.errors import IntegrityError, ResolutionError, UnclassifiedError, UpstreamError
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_index import apt_indexes
from airlock.lock.apt_resolver import AptCommand, AptFile, AptResolver, AptStep
from airlock.lock.apt_state import AptState
from airlock.lock.apt_verify import solve_from_index

Release = Callable[[str], str]

# name: fields; what is not said is version 1, architecture all.
PACKAGES: dict[str, dict[str, dict[str, str]]] = {
    "stable": {
        "core": {"Essential": "yes", "Priority": "required", "Depends": "libcore"},
        "libcore": {},
        "apt": {"Priority": "important", "Depends": "libapt"},
        "libapt": {},
        "needed": {"Priority": "required"},
        "tool": {"Depends": "libtool", "Recommends": "tool-doc"},
        "tool-doc": {},
        "libtool": {},
        "zlib1g-dev": {"Provides": "libz-dev"},
        "grub-a-signed": {},
        "grub-b-signed": {},
        "left": {"Conflicts": "right"},
        "right": {},
        "twice": {"Architecture": "amd64"},
    },
    "backports": {"libtool": {"Version": "2"}},
}
RELEASE = {"stable": "Codename: stable\nSuite: stable\n", "backports": "Codename: backports\nSuite: backports\n"}


def packages_text(suite: str) -> str:
    stanzas = []
    for number, (name, more) in enumerate(PACKAGES[suite].items()):
        values = {"Package": name, "Version": "1", "Architecture": "all", "Maintainer": "A <a@example.org>"} | more
        file = f"{name}_{values['Version']}_{values['Architecture']}.deb"
        values |= {
            "Filename": f"pool/{file}",
            "Size": "10",
            "SHA256": f"{number:02x}{values['Version']}".rjust(64, "0"),
        }
        values["Description"] = "none"
        stanzas.append("".join(f"{key}: {value}\n" for key, value in values.items()))
    return "\n".join(stanzas)


class Archive:
    """A signed archive on disk, with the key that signs it."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home
        self.keyring = home / "archive.gpg"
        self.gpg("--quick-generate-key", "archive@example.org", "ed25519", "sign", "never")
        self.gpg("--output", str(self.keyring), "--export", "archive@example.org")

    def gpg(self, *words: str) -> None:
        command = ["gpg", "--batch", "--yes", "--quiet", "--passphrase", "", *words]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"GNUPGHOME": str(self.home)})

    def write(self, suite: str, *, extra: str = "", sign: bool = True, packages: str = "", served: str = "") -> None:
        """``packages`` is what Release lists, ``served`` what is there instead."""
        data = (packages or packages_text(suite)).encode()
        folder = self.root / "dists" / suite
        file = folder / "main/binary-amd64/Packages"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(served.encode() or data)
        text = (
            f"{RELEASE[suite]}Date: Sat, 01 Jan 2022 00:00:00 UTC\n{extra}Architectures: amd64\nComponents: main\n"
            f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages\n"
        )
        (folder / "Release").write_text(text)
        (folder / "InRelease").unlink(missing_ok=True)
        if sign:
            self.gpg("--output", str(folder / "InRelease"), "--clearsign", str(folder / "Release"))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    # gpg-agent's socket needs a short path.
    with TemporaryDirectory(prefix="gpg") as home:
        made = Archive(tmp_path / "archive", Path(home))
        for suite in PACKAGES:
            made.write(suite)
        yield made
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


SOURCES = [AptSource("debian", "http://mirror.example.org/debian", suite, ("main",)) for suite in PACKAGES]


def resolver(archive: Archive, root: Path, **changes: object) -> AptResolver:
    values: dict[str, object] = {
        "root": root,
        "sources": SOURCES,
        "addresses": lambda _: f"copy:{archive.root}",
        "keyrings": [archive.keyring],
        "debian_arch": "amd64",
    }
    return AptResolver(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def apt(archive: Archive, tmp_path: Path) -> AptResolver:
    made = resolver(archive, tmp_path / "apt")
    made.update()
    return made


def steps(*lines: str) -> list[AptStep]:
    return [AptCommand(tuple(line.split()), number) for number, line in enumerate(lines, 1)]


def run(apt: AptResolver, *lines: str, state: AptState | None = None) -> AptState:
    return apt.resolve("image", "x86_64", steps(*lines), state or apt.base().state).state


def test_the_base_is_essential_then_apt_and_required(apt: AptResolver) -> None:
    base = apt.base("x86_64")
    assert set(base.state.packages) == {"core", "libcore", "apt", "libapt", "needed"}
    assert base.state.auto == ("libapt",)
    assert [demand.kind for demand in base.demands] == ["base-image"]
    assert apt.base("x86_64") == base


def test_commands_are_followed_one_by_one(apt: AptResolver) -> None:
    result = apt.resolve(
        "image",
        "x86_64",
        steps("apt-get update", "apt-get -y install --no-install-recommends tool", "apt-get purge -y tool",
              "apt-get autoremove -y", "apt-get clean"),
        apt.base().state,
    )  # fmt: skip
    assert [demand.artifacts for demand in result.demands] == [
        (), ("deb/libtool_2_all.deb", "deb/tool_1_all.deb"), (), (), (),
    ]  # fmt: skip
    assert result.state == apt.base().state
    assert result.demands[1].spec == "-y install --no-install-recommends tool"
    assert {artifact.suite for artifact in result.artifacts} == {"stable/main", "backports/main"}


def test_recommends_come_unless_refused(apt: AptResolver) -> None:
    assert "tool-doc" in run(apt, "apt-get install tool").packages


def test_virtual_names_and_globs_are_manual(apt: AptResolver) -> None:
    after = run(apt, "apt-get install libz-dev grub-*-signed tool", "apt-get autoremove")
    assert {"zlib1g-dev", "grub-a-signed", "grub-b-signed"} <= set(after.packages) - set(after.auto)
    assert after.auto == ("libapt", "libtool", "tool-doc")


def test_naming_what_is_there_makes_it_manual(apt: AptResolver) -> None:
    first = run(apt, "apt-get install --no-install-recommends tool")
    after = run(apt, "apt-get install libtool", "apt-get purge tool", "apt-get autoremove", state=first)
    assert "libtool" in after.packages
    assert "libtool" not in after.auto


def test_a_preference_written_by_the_dockerfile_counts_from_then_on(apt: AptResolver) -> None:
    pin = AptFile("/etc/apt/preferences", b"Package: *\nPin: release n=backports\nPin-Priority: -1000\n")
    base = apt.base().state
    line = "apt-get install --no-install-recommends tool"
    assert apt.resolve("i", "x", [pin, *steps(line)], base).state.versions["libtool"] == "1"
    assert apt.resolve("i", "x", steps(line), base).state.versions["libtool"] == "2"
    unpinned = [pin, AptFile(pin.path, None), *steps(line)]
    assert apt.resolve("i", "x", unpinned, base).state.versions["libtool"] == "2"


def test_only_sources_in_force_are_seen(apt: AptResolver) -> None:
    listing = AptFile("/etc/apt/sources.list", b"deb http://mirror.example.org/debian stable main\n")
    line = "apt-get install --no-install-recommends tool"
    assert apt.resolve("i", "x", [listing, *steps(line)], apt.base().state).state.versions["libtool"] == "1"
    vendor = AptFile("/etc/apt/sources.list.d/v.list", b"deb http://vendor.example.org/x stable main\n")
    with pytest.raises(ResolutionError, match=r"image i .*vendor\.example\.org"):
        apt.resolve("i", "x", [vendor, *steps(line)], apt.base().state)


def test_a_file_that_could_change_what_apt_does_is_refused(apt: AptResolver) -> None:
    with pytest.raises(UnclassifiedError, match=r"/etc/apt/apt\.conf\.d/99x"):
        apt.resolve("i", "x", [AptFile("/etc/apt/apt.conf.d/99x", b'APT::Get::X "1";')], AptState())


def test_an_unknown_package_is_named_with_image_line_and_neighbours(apt: AptResolver) -> None:
    with pytest.raises(ResolutionError) as caught:
        run(apt, "apt-get update", "apt-get install libtoool")
    assert "image image (x86_64), line 2" in caught.value.message
    assert "Unable to locate package libtoool" in caught.value.message
    assert "libtool" in caught.value.remedy.split("libtoool", 1)[1]


def test_a_conflict_is_told_in_apts_words(apt: AptResolver) -> None:
    with pytest.raises(ResolutionError, match=r"line 1.*(?s:.)*left : Conflicts: right"):
        run(apt, "apt-get install left right")


def test_a_version_that_is_not_there_is_an_error(apt: AptResolver) -> None:
    with pytest.raises(ResolutionError, match="Version '9' for 'tool' was not found"):
        run(apt, "apt-get install tool=9")


def test_the_same_version_with_other_bytes_elsewhere_is_refused(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "other", archive.home)
    text = packages_text("stable")
    other.write("stable", packages=re.sub(r"(?m)^SHA256: .", "SHA256: f", text))
    sources = [SOURCES[0], AptSource("vendor", "http://mirror.example.org/vendor", "stable", ("main",))]
    places = {"debian": f"copy:{archive.root}", "vendor": f"copy:{other.root}"}
    made = resolver(archive, tmp_path / "apt2", sources=sources, addresses=places.__getitem__)
    made.update()
    with pytest.raises(ResolutionError, match="different files"):
        made.base()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unsigned", "not signed"),
        ("stranger", "NO_PUBKEY"),
        ("expired", "expired"),
        ("changed", "Hash Sum mismatch|unexpected size"),
        ("edited", "BADSIG|invalid"),
    ],
)
def test_an_index_that_cannot_be_trusted_is_refused(archive: Archive, tmp_path: Path, fault: str, words: str) -> None:
    keyring = archive.keyring
    if fault == "unsigned":
        archive.write("stable", sign=False)
    elif fault == "stranger":
        keyring = tmp_path / "other.gpg"
        archive.gpg("--quick-generate-key", "other@example.org", "ed25519", "sign", "never")
        archive.gpg("--output", str(keyring), "--export", "other@example.org")
    elif fault == "expired":
        archive.write("stable", extra="Valid-Until: Sun, 02 Jan 2022 00:00:00 UTC\n")
    elif fault == "changed":
        archive.write("stable", served=packages_text("stable").replace("Package: tool\n", "Package: t00l\n"))
    else:
        file = archive.root / "dists/stable/InRelease"
        file.write_text(file.read_text().replace("Suite: stable", "Suite: unstable"))
    with pytest.raises(IntegrityError, match=words):
        resolver(archive, tmp_path / "apt", keyrings=[keyring]).update()


def test_an_index_that_went_bad_is_refused_although_an_older_one_is_there(
    archive: Archive, apt: AptResolver, tmp_path: Path
) -> None:
    archive.write("stable", extra="Label: new\n", sign=False)
    with pytest.raises(IntegrityError):
        resolver(archive, tmp_path / "apt").update()


def test_a_mirror_that_lags_is_taken_when_the_settings_say_so(archive: Archive, tmp_path: Path) -> None:
    archive.write("stable", extra="Valid-Until: Sun, 02 Jan 2022 00:00:00 UTC\n")
    made = resolver(archive, tmp_path / "apt", check_valid_until=False)
    made.update()
    assert made.base().artifacts


def test_recorded_indexes_can_be_solved_again_when_they_have_expired(archive: Archive, tmp_path: Path) -> None:
    fresh = resolver(archive, tmp_path / "then")
    fresh.update()
    archive.write("stable", extra="Valid-Until: Sun, 02 Jan 2022 00:00:00 UTC\n")
    later = resolver(archive, tmp_path / "later", keyrings=[], trusted=True)
    later.update()
    assert later.base() == fresh.base()
    archive.write("stable", served=packages_text("stable").replace("Package: tool\n", "Package: t00l\n"))
    with pytest.raises(IntegrityError, match="Hash Sum mismatch|unexpected size"):
        resolver(archive, tmp_path / "changed", keyrings=[], trusted=True).update()


def test_an_upstream_that_is_down_is_no_question_of_trust(archive: Archive, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamError):
        resolver(archive, tmp_path / "apt", addresses=lambda _: f"http://127.0.0.1:{port}").update()


def test_a_suite_that_does_not_exist_is_named(archive: Archive, tmp_path: Path) -> None:
    sources = [AptSource("debian", "http://mirror.example.org/debian", "nosuch", ("main",))]
    with pytest.raises(ResolutionError, match="nosuch"):
        resolver(archive, tmp_path / "apt", sources=sources).update()
    sources = [AptSource("debian", "http://mirror.example.org/debian", "stable", ("main", "nosuch"))]
    with pytest.raises(ResolutionError, match="stable/nosuch has no packages"):
        resolver(archive, tmp_path / "apt", sources=sources).update()
    with pytest.raises(ResolutionError, match="s390x"):
        resolver(archive, tmp_path / "apt3", debian_arch="s390x").update()


def test_nothing_of_the_host_counts(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = tmp_path / "evil.conf"
    evil.write_text('APT::Install-Recommends "false"; Dir::State::status "/var/lib/dpkg/status";')
    monkeypatch.setenv("APT_CONFIG", str(evil))
    made = resolver(archive, tmp_path / "a folder with spaces")
    made.update()
    assert "tool-doc" in run(made, "apt-get install tool").packages


def test_the_index_alone_leads_to_the_same_plans(archive: Archive, apt: AptResolver, tmp_path: Path) -> None:
    base = apt.base()
    lines = steps("apt-get install tool libz-dev", "apt-get purge tool", "apt-get autoremove", "apt-get install tool")
    first = apt.resolve("image", "x86_64", lines, base.state)
    artifacts = {found.id: found for found in (*base.artifacts, *first.artifacts)}
    stanzas = base.stanzas | first.stanzas
    indexes = apt_indexes(artifacts.values(), stanzas, apt.sources, apt.releases, ["amd64"])
    again = solve_from_index(
        indexes, root=tmp_path / "again", sources=SOURCES, debian_arch="amd64", artifacts=artifacts.values()
    )
    assert (again.base().plan, again.base().state) == (base.plan, base.state)
    second = again.resolve("image", "x86_64", lines, base.state)
    assert (second.plan, second.state) == (first.plan, first.state)


def test_taking_any_locked_package_out_of_the_index_is_noticed(
    archive: Archive, apt: AptResolver, tmp_path: Path
) -> None:
    base = apt.base()
    lines = steps("apt-get install tool libz-dev left")
    first = apt.resolve("image", "x86_64", lines, base.state)
    artifacts = {found.id: found for found in (*base.artifacts, *first.artifacts)}
    stanzas = base.stanzas | first.stanzas
    for number, missing in enumerate(sorted(artifacts)):
        rest = [found for found in artifacts.values() if found.id != missing]
        indexes = apt_indexes(rest, stanzas, apt.sources, apt.releases, ["amd64"])
        try:
            again = solve_from_index(
                indexes, root=tmp_path / f"{number}", sources=SOURCES, debian_arch="amd64", artifacts=artifacts.values()
            )
            found = again.base()
            same = (found.plan, again.resolve("image", "x86_64", lines, found.state).plan) == (base.plan, first.plan)
        except ResolutionError:
            same = False
        assert not same, missing
