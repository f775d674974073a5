"""Debian's docker-registry with a login."""

from __future__ import annotations

from boxes.network import HOST
from boxes.registry import Registry
from boxes.rest import Rest
from tests.image_registry import Image, tar
from tests.image_registry import Registry as Client
from tests.integration.boxes.listening import addresses


def test_an_image_can_be_pushed_and_deleted(registry):
    client = Client(registry.ports[0], registry.storage)
    digest = client.push("boxes/deleted", [Image([tar({"a": b"a"})])])
    rest = Rest("registry", registry.network, f"{registry.address}/v2/boxes/deleted")
    assert rest.ask("GET", f"/manifests/{digest}").status in (200, 404)
    assert rest.ask("DELETE", f"/manifests/{digest}").status == 202
    assert rest.ask("GET", f"/manifests/{digest}").status == 404


def test_it_listens_on_loopback_only(registry):
    assert addresses(registry) == {"127.0.0.1"}


def test_only_its_user_gets_in_and_a_second_start_keeps_the_password(tmp_path):
    box = Registry(tmp_path, port=HOST.free_port(), user="airlock")
    for _ in range(2):
        with box:
            login = box.login
            assert login is not None
            statuses = [
                Rest("registry", HOST, box.address, user, password).ask("GET", "/v2/_catalog").status
                for user, password in (("airlock", login.password), ("airlock", "wrong"), ("", ""))
            ]
            assert statuses == [200, 401, 401]
    for secret in (login.password_file, tmp_path / "secrets/htpasswd"):
        assert secret.stat().st_mode & 0o777 == 0o600
