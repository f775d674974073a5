"""A real Nexus: who may do what, what a path takes, and what a second start keeps."""

from __future__ import annotations

import pytest
from boxes.logins import Login
from boxes.nexus import Nexus, Repository
from boxes.rest import Rest
from tests.integration.boxes.listening import addresses


@pytest.fixture(scope="module")
def site(nexus: Nexus) -> Repository:
    return nexus.make_repository("boxes-site")


@pytest.fixture(scope="module")
def factory(nexus: Nexus) -> Repository:
    return nexus.make_repository("boxes-factory")


def files(nexus: Nexus, repository: Repository, login: Login | None) -> Rest:
    if login is None:
        return Rest("nexus", nexus.network, repository.url)
    return Rest("nexus", nexus.network, repository.url, login.user, login.password)


def test_a_path_takes_one_file_of_any_kind_once(nexus, site):
    mine = files(nexus, site, site.importer)
    assert mine.ask("PUT", "pool/ab/once.deb", b"<html>no deb at all</html>").status == 201
    assert mine.ask("GET", "pool/ab/once.deb").data == b"<html>no deb at all</html>"
    assert mine.ask("PUT", "pool/ab/once.deb", b"other").status == 400
    assert mine.ask("GET", "pool/ab/once.deb").data == b"<html>no deb at all</html>"


def test_an_importer_may_neither_delete_nor_touch_another_repository(nexus, site, factory):
    mine, other = files(nexus, site, site.importer), files(nexus, factory, site.importer)
    assert mine.ask("PUT", "kept", b"kept").status == 201
    assert mine.ask("DELETE", "kept").status == 403
    assert other.ask("PUT", "foreign", b"foreign").status == 403
    assert files(nexus, factory, factory.importer).ask("PUT", "own", b"own").status == 201
    assert other.ask("GET", "own").status == 403
    assert (
        Rest("nexus", nexus.network, nexus.address, site.importer.user, site.importer.password)
        .ask("GET", "/service/rest/v1/security/users")
        .status
        == 403
    )


def test_a_reader_may_only_read(nexus, site):
    files(nexus, site, site.importer).call("PUT", "read-me", b"read")
    reader = files(nexus, site, nexus.make_user("boxes-reader", site.name))
    assert reader.ask("GET", "read-me").data == b"read"
    assert reader.ask("PUT", "by-reader", b"no").status == 403


@pytest.mark.parametrize("password", ["", "wrong", "admin123"])
def test_nobody_gets_in_without_the_password(nexus, site, password):
    user = "admin" if password else ""
    assert Rest("nexus", nexus.network, site.url, user, password).ask("GET", "read-me").status == 401
    assert Rest("nexus", nexus.network, nexus.address, user, password).ask(
        "GET", "/service/rest/v1/repositories/raw/hosted/boxes-site"
    ).status in (401, 403)


def test_secrets_are_for_their_owner_alone(nexus, site):
    assert nexus.admin.password != site.importer.password
    for login in (nexus.admin, site.importer):
        assert login.password_file.stat().st_mode & 0o777 == 0o600
        assert login.password.encode() not in nexus.log.read_bytes()


def test_it_listens_on_loopback_only(nexus):
    found = addresses(nexus)
    assert found
    assert found <= {"127.0.0.1"}
