"""What apt says it would do, followed."""

import pytest

from airlock.core.errors import FormatError, UnclassifiedError
from airlock.lock.apt_catalogue import Offer, release_fields
from airlock.lock.apt_plan import follow, parse_plan
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.apt_words import parse_words
from airlock.lock.model import Artifact

OUTPUT = """\
Reading package lists... Done
Note, selecting 'zlib1g-dev' instead of 'libz-dev'
Note, selecting 'grub-efi-amd64-signed' for glob 'grub-efi-*64-signed'
adduser set to manually installed.
The following additional packages will be installed:
  libc6
Inst libc6 [2.36-8] (2.36-9 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst zlib1g-dev (1:1.2.13 Debian:12.15/oldstable [amd64])
Inst gone:i386 (1.0 Debian:12.15/oldstable [i386])
Remv extrepo [0.11]
Purg extrepo-data [1.0]
Conf libc6 (2.36-9 Debian:12.15/oldstable [amd64])
"""


def offer(name: str, version: str, arch: str) -> Offer:
    file = f"{name}_{version.split(':')[-1]}_{arch}.deb"
    artifact = Artifact(
        id=f"deb/{file}", kind="deb", name=name, version=version, arch=arch, file=file, sha256="0" * 64, size=1,
        upstream="debian", path=f"pool/{file}", trust="signed-index", suite="bookworm/main",
    )  # fmt: skip
    return Offer(artifact, f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nFilename: pool/{file}\n")


def state(*names: str, auto: tuple[str, ...] = ()) -> AptState:
    return AptState().replace(
        {name: Installed(f"deb/{name}", f"Package: {name}\nVersion: 1\n") for name in names}, auto
    )


def test_installs_removals_selections_and_marks_are_read() -> None:
    plan = parse_plan(OUTPUT)
    steps = [(step.action, step.name, step.version, step.arch) for step in plan.steps]
    assert steps == [
        ("install", "libc6", "2.36-9", "amd64"),
        ("install", "zlib1g-dev", "1:1.2.13", "amd64"),
        ("install", "gone:i386", "1.0", "i386"),
        ("remove", "extrepo", "", ""),
        ("remove", "extrepo-data", "", ""),
    ]
    assert plan.selected == {"zlib1g-dev", "grub-efi-amd64-signed"}
    assert plan.manual == {"adduser"}


def test_an_unforeseen_line_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="Inst libc6"):
        parse_plan("Inst libc6\n")


def test_marks_follow_what_was_named_and_what_was_selected() -> None:
    before = state("adduser", "libc6", "extrepo", "extrepo-data", auto=("adduser", "libc6", "extrepo-data"))
    after, installed = follow(before, parse_plan(OUTPUT), {"libz-dev"}, offer)
    assert after.auto == ("gone:i386", "libc6")
    assert set(after.packages) == {"adduser", "libc6", "zlib1g-dev", "gone:i386"}
    assert [found.artifact.name for found in installed] == ["libc6", "zlib1g-dev", "gone"]
    assert "Status: install ok installed" in after.packages["libc6"].stanza
    assert "Filename" not in after.packages["libc6"].stanza


def test_naming_an_upgraded_package_clears_its_mark() -> None:
    after, _ = follow(state("libc6", auto=("libc6",)), parse_plan(OUTPUT), {"libc6"}, offer)
    assert "libc6" not in after.auto


def test_a_state_survives_its_serialisation() -> None:
    before = state("b", "a", auto=("b",)).replace(etc={"/etc/apt/preferences": "Package: *\n"})
    assert AptState.from_bytes(before.to_bytes()) == before
    with pytest.raises(FormatError):
        AptState.from_bytes(b'{"packages": 3}')


def test_marks_are_written_as_apt_reads_them() -> None:
    text = state("a", "b:i386", auto=("a", "b:i386")).extended_states("amd64")
    assert text == (
        "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nArchitecture: i386\nAuto-Installed: 1\n\n"
    )


@pytest.mark.parametrize(
    ("command", "verb", "operands", "options"),
    [
        ("apt-get -y install --no-install-recommends curl", "install", ("curl",), ("--no-install-recommends",)),
        ("apt --purge autoremove -y", "autoremove", (), ("--purge",)),
        ("apt-get --error-on=any update", "update", (), ()),
        ("apt-get install -qq -t backports a=1 b/sid", "install", ("a=1", "b/sid"), ("-t", "backports")),
        ("apt-get -o Dpkg::Options::=--force-confold install a", "install", ("a",), ()),
        ("apt-get -oAPT::Get::Purge=1 remove a", "remove", ("a",), ("-o", "APT::Get::Purge=1")),
    ],
)  # fmt: skip
def test_commands_are_taken_apart(command: str, verb: str, operands: tuple[str, ...], options: tuple[str, ...]) -> None:
    words = parse_words(command.split(), "here")
    assert (words.verb, words.operands, words.options) == (verb, operands, options)


def test_names_are_seen_through_versions_suites_and_signs() -> None:
    words = parse_words(["apt-get", "install", "a=1", "b/sid", "c+", "d-", "grub-efi-*64-signed", "g++"], "here")
    assert words.named >= {"a", "b", "c", "grub-efi-*64-signed", "g++"}
    assert "d" not in words.named


@pytest.mark.parametrize(
    "command",
    [
        "apt-get -c /tmp/evil install a",
        "apt-get -o Dir::Etc=/tmp install a",
        "apt-get install -o APT::Update::Pre-Invoke::=x a",
        "apt-get install --root=/ a",
        "apt-get install ./local.deb",
        "apt-get install /tmp/local.deb",
        "apt-get install ?essential",
        "apt-get install ~nkernel",
        "apt-get install task^",
        "apt-get source a",
        "apt-get",
        "aptitude install a",
    ],
)
def test_a_command_whose_effect_is_not_known_is_refused(command: str) -> None:
    with pytest.raises(UnclassifiedError, match="image x, line 3"):
        parse_words(command.split(), "image x, line 3")


def test_fields_of_a_release_are_not_those_of_its_signature() -> None:
    text = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nSuite: stable\nVersion: 12.1\n"
        "NotAutomatic: yes\nSHA256:\n 00 1 main/x\n-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG v2\n\nxx\n"
    )
    assert release_fields(text.encode()) == {
        "Origin": "Debian", "Suite": "stable", "Version": "12.1", "NotAutomatic": "yes",
    }  # fmt: skip
