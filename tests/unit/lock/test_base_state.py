"""What a base image says to apt, and what of it is not followed."""

import pytest

from airlock.core.errors import ResolutionError
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_conf import parse_conf
from airlock.lock.apt_files import AptFile, settings_in_force, written
from airlock.lock.base_state import base_state, wanted

SOURCES = [
    AptSource("debian", "http://mirror.example.org/debian", "bookworm", ("main",)),
    AptSource("debian-security", "http://mirror.example.org/debian-security", "bookworm-security", ("main",)),
]
STATUS = b"""Package: apt
Status: install ok installed
Architecture: amd64
Version: 2.6.1

Package: tzdata
Status: hold ok installed
Architecture: all
Version: 2024a

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

"""
MARKS = b"""Package: tzdata
Architecture: amd64
Auto-Installed: 1

Package: apt
Architecture: amd64
Auto-Installed: 0

"""


def state(**files: bytes | None):
    found: dict[str, bytes | None] = {"var/lib/dpkg/status": STATUS, "var/lib/apt/extended_states": MARKS}
    found |= {name.replace("__", "/").replace("_dot_", "."): data for name, data in files.items()}
    assert all(wanted(name) for name in found)
    return base_state(found, "amd64", SOURCES, "registry.example.org/debian")


def test_installed_packages_marks_and_preferences_are_taken_over():
    found = state(etc__apt__preferences=b"Package: *\nPin: release a=x\nPin-Priority: 1\n")
    assert found.versions == {"apt": "2.6.1", "tzdata": "2024a"}
    assert found.auto == ("tzdata",)
    assert found.artifacts == ()
    assert set(found.etc) == {"/etc/apt/preferences", "/etc/apt/sources.list"}
    assert found.etc["/etc/apt/sources.list"].splitlines()[0] == "deb http://mirror.example.org/debian bookworm main"
    assert "Status: hold ok installed\n" in found.status
    assert "gone" not in found.status


def test_settings_that_count_for_the_solver_are_kept_and_nothing_else():
    text = (
        b'APT::Install-Recommends "false";\nDPkg::Post-Invoke { "rm -rf /"; };\nDir::Etc "/tmp";\n'
        b'Apt::AutoRemove::SuggestsImportant "false";\nAPT::NeverAutoRemove { "^linux-.*"; };\n'
    )
    found = state(etc__apt__apt_dot_conf_dot_d__10x=text, etc__apt__apt_dot_conf_dot_d__harmless=b'APT::Color "0";\n')
    assert set(found.etc) == {"/etc/apt/apt.conf.d/10x", "/etc/apt/sources.list"}
    assert found.etc["/etc/apt/apt.conf.d/10x"].lower().splitlines() == [
        'apt::install-recommends "false";',
        'apt::autoremove::suggestsimportant "false";',
        'apt::neverautoremove:: "^linux-.*";',
    ]
    assert list(settings_in_force(found)) == ["10x"]
    assert settings_in_force(written(found, AptFile("/etc/apt/apt.conf.d/10x", None), "base")) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Acquire::http::Proxy "http://proxy.example.org:3128";', "Acquire::http::Proxy"),
        ("#include /etc/shadow", "includes other files"),
        ('APT::Install-Recommends "false', "not in apt's format"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(text, words):
    with pytest.raises(ResolutionError, match=words):
        parse_conf(text, "image")


def test_projects_in_dist_packages_are_found():
    metadata = b"Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0\n\n"
    newer = metadata.replace(b"6.0", b"6.1")
    found = state(**{
        "usr__lib__python3__dist-packages__PyYAML-6.0.dist-info__METADATA": metadata,
        "usr__local__lib__python3.11__dist-packages__PyYAML-6.1.dist-info__METADATA": newer,
        "usr__lib__python3__dist-packages__linked.egg-info": None,
    })  # fmt: skip
    assert found.python == {"pyyaml": "6.1"}
    assert found.replace(auto=()).python == found.python


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"var__lib__dpkg__status": b""}, "holds no apt"),
        ({"var__lib__dpkg__status": STATUS.replace(b"ok installed", b"ok half-configured")}, "apt is `inst"),
        ({"var__lib__dpkg__status": STATUS.replace(b"Architecture: all", b"Architecture: i386")}, "tzdata is for i386"),
        ({"var__lib__dpkg__arch": b"amd64\ni386\n"}, "foreign architectures .i386"),
        ({"usr__lib__os-release": b'ID=debian\nVERSION_CODENAME=trixie\n'}, "trixie; Kolla's .* bookworm"),
        ({"etc__apt": None}, "/etc/apt is no regular file"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_followed_is_refused(files, words):
    with pytest.raises(ResolutionError, match=words):
        state(**files)


def test_only_files_that_apt_itself_reads_are_wanted():
    assert not wanted("etc/apt/apt.conf.d/10x.dpkg-old")
    assert not wanted("etc/apt/preferences.d/pin.bak")
    assert not wanted("etc/apt/preferences.d/sub/pin")
    assert not wanted("etc/passwd")
    assert wanted("etc/apt/preferences.d/pin.pref")
