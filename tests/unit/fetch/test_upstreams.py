"""Where addresses come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from airlock.core.errors import UsageError
from airlock.core.settings import UpstreamTable
from airlock.fetch import upstreams
from airlock.fetch.upstreams import addresses, python_index


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where nothing is configured but what the test writes."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(upstreams, "ETC", tmp_path / "etc")
    return tmp_path


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), **more}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_settings_win_over_defaults():
    found = addresses(
        {"debian": UpstreamTable(address="http://mirror.example.org/debian/")},
        {"debian": "http://x/debian", "security": "http://x/security/", "pypi": "http://x/simple"},
    )
    assert found == {
        "debian": "http://mirror.example.org/debian",
        "security": "http://x/security",
        "pypi": "http://x/simple",
    }


@pytest.mark.parametrize("address", ["file:///etc", "mirror.example.org", "http://", ""])
def test_an_address_that_is_none_is_refused_by_name(address):
    with pytest.raises(UsageError, match="debian") as raised:
        addresses({"debian": UpstreamTable(address=address)}, {"pypi": "http://x/simple"})
    assert "[upstreams.debian]" in raised.value.remedy


def test_a_refused_address_does_not_show_its_password():
    with pytest.raises(UsageError) as raised:
        addresses({"debian": UpstreamTable(address="ftp://u:secret@x/debian")}, {"pypi": "http://x/simple"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"PIP_INDEX_URL": "http://pip/s/"}, "http://pip/s"),
        ({"PIP_INDEX_URL": "http://pip/s", "UV_INDEX_URL": "http://old/s"}, "http://old/s"),
        ({"UV_INDEX_URL": "http://old/s", "UV_DEFAULT_INDEX": "http://uv/s"}, "http://uv/s"),
        ({"UV_DEFAULT_INDEX": "name=http://uv/s?a=b"}, "http://uv/s?a=b"),
    ],
)
def test_the_environment_of_uv_and_pip_is_honoured(home, variables, wanted):
    write(home / ".config/pip/pip.conf", "[global]\nindex-url = http://file/s\n")
    assert python_index(environment(home, **variables)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        '[[index]]\nurl = "http://other/s"\n[[index]]\nurl = "http://uv/s"\ndefault = true\n',
        'index-url = "http://uv/s"\n',
        '[pip]\nindex-url = "http://uv/s"\n',
    ],
)
def test_uvs_configuration_file_is_honoured(home, text):
    write(home / ".config/uv/uv.toml", text)
    assert python_index(environment(home)) == "http://uv/s"
    named = write(home / "named.toml", 'index-url = "http://named/s"')
    assert python_index(environment(home, UV_CONFIG_FILE=str(named))) == "http://named/s"


def test_pips_configuration_files_win_in_pips_order(home):
    order = [
        write(home / "xdg/pip/pip.conf", "[global]\nindex_url = http://xdg/s\n"),
        write(home / ".pip/pip.conf", "[global]\nindex-url = http://legacy/s\n"),
        write(
            home / ".config/pip/pip.conf",
            "[global]\nindex-url = http://user/s\n[install]\nindex-url=http://install/s\n",
        ),
        write(home / "venv/pip.conf", "[global]\nindex-url = http://venv/s\n"),
    ]
    named = write(home / "named.conf", "[global]\nindex-url = http://named/s\n")
    assert python_index(environment(home, PIP_CONFIG_FILE=str(named))) == "http://named/s"
    found = []
    while order:
        found.append(python_index(environment(home)))
        order.pop().unlink()
    assert found == ["http://venv/s", "http://install/s", "http://legacy/s", "http://xdg/s"]


def test_a_broken_configuration_file_is_named(home):
    path = write(home / ".config/uv/uv.toml", "index-url = [")
    with pytest.raises(UsageError, match=str(path)):
        python_index(environment(home))
    path.unlink()
    path = write(home / ".config/pip/pip.conf", "index-url without a section\n")
    with pytest.raises(UsageError, match=str(path)):
        python_index(environment(home))


def test_pip_and_uv_agree_on_the_default_and_each_is_enough(home, monkeypatch):
    quiet = environment(home, PIP_CONFIG_FILE="/dev/null")
    from_pip, from_uv = upstreams._pip_default(), upstreams._uv_default()
    assert from_pip in (from_uv, "")  # pip need not be installed beside this program
    assert from_uv.startswith("https://")
    assert python_index(quiet) == from_uv
    monkeypatch.setattr(upstreams, "_pip_default", lambda: "")
    assert python_index(quiet) == from_uv
    monkeypatch.setattr(upstreams, "_uv_default", lambda: "")
    with pytest.raises(UsageError) as raised:
        python_index(quiet)
    assert "[upstreams.pypi]" in raised.value.remedy
