from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airlock
from airlock.core.errors import UsageError
from airlock.site import doctor, probes
from airlock.site.doctor import Check, Examination, configured_keyrings, examine, lacking
from airlock.site.probes import LackingError, UnsureError

SOURCE = Path(airlock.__file__).parent


def look(probe, **more):
    return doctor._look(Examination("thing", ("site",), probe, "get it", **more))


def raising(error):
    def probe():
        raise error

    return probe


def test_what_works_is_ok_and_needs_no_remedy():
    assert look(lambda: "1.0") == Check("thing", ("site",), "ok", "1.0")


def test_what_is_lacking_is_missing_and_says_how_to_get_it():
    assert look(raising(LackingError("gone"))) == Check("thing", ("site",), "missing", "gone", "get it")


def test_what_is_optional_or_cannot_be_checked_is_a_warning_never_ok():
    assert look(raising(LackingError("gone")), optional=True).state == "warning"
    for error in (UnsureError("not root"), PermissionError(13, "Permission denied")):
        found = look(raising(error))
        assert found.state == "warning"
        assert found.remedy in ("get it", "Run `airlock doctor` as root to know.")
        assert found.found.startswith("could not be checked")


def test_only_the_environment_that_needs_a_thing_lacks_it():
    check = look(raising(LackingError("gone")))
    assert lacking([check], "site") == [check]
    assert lacking([check], "factory") == []


def test_a_program_that_is_not_there_is_lacking():
    with pytest.raises(LackingError, match="airlock-no-such-program is not installed"):
        probes.program("airlock-no-such-program", "none")


def test_a_program_that_is_too_old_is_lacking():
    with pytest.raises(LackingError, match=r"99\.0 is the oldest"):
        probes.program("python3", "python3-minimal", ("--version",), "99.0")
    assert probes.program("python3", "python3-minimal", ("--version",), "3.9")


def test_versions_are_compared_as_numbers():
    assert probes._numbers("1.10.0") > probes._numbers("1.9")


def test_a_program_that_fails_or_says_nonsense_is_lacking():
    with pytest.raises(LackingError):
        probes.program("false", "coreutils", ("--version-that-fails-nowhere",), "1")
    with pytest.raises(LackingError, match="names no version"):
        probes.program("echo", "coreutils", ("no", "number"))


@pytest.mark.parametrize("data", [None, b"", b"not a key", b"\x00" * 40])
def test_a_keyring_without_a_key_is_lacking(tmp_path, data):
    path = tmp_path / "keyring.gpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(LackingError):
        probes.keyring(path)


def test_space_is_measured_where_the_environment_will_lie(tmp_path):
    assert str(tmp_path) in probes.space(tmp_path / "not" / "yet", 1)
    with pytest.raises(LackingError):
        probes.space(tmp_path, 1 << 60)


def test_the_factorys_own_keyrings_are_looked_at(tmp_path):
    assert configured_keyrings(tmp_path) == [doctor.KEYRING]
    (tmp_path / "factory.toml").write_text('[apt]\nkeyrings = ["ours.gpg", "/etc/theirs.gpg"]\n')
    assert configured_keyrings(tmp_path) == [tmp_path / "ours.gpg", Path("/etc/theirs.gpg")]
    (tmp_path / "factory.toml").write_text("[apt]\nkeyring = 1\n")
    with pytest.raises(UsageError, match="keyrings"):
        configured_keyrings(tmp_path)


def test_a_factory_is_not_asked_for_a_sites_programs(tmp_path):
    names = {check.name for check in examine(["factory"], tmp_path)}
    assert "bwrap" in names
    assert names.isdisjoint({"root", "podman", "runc", "mmdebstrap"})


def test_every_program_that_the_code_looks_for_is_looked_at_with_the_same_package():
    known = {(program.name, program.package) for program in doctor.PROGRAMS} | {("shfmt", "shfmt")}
    wanted = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "find_tool":
                arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                if len(arguments) == 2:
                    wanted.add(tuple(arguments))
    assert wanted, "no call of find_tool was found: this test no longer sees what it is for"
    assert wanted <= known


def test_every_remedy_names_something_to_do(tmp_path):
    for examination in doctor.examinations(tmp_path):
        assert examination.remedy.strip(), examination.name
