"""How skopeo(1) is run: nothing of the machine's own configuration counts, logins lie in a file that is removed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.files import write_file
from airlock.core.process import clean_environment
from airlock.core.secrets import read_secret
from airlock.core.settings import Site


class Access(msgspec.Struct, frozen=True):
    """How a registry is spoken to.

    Attributes:
        verify_tls: whether it must have a valid certificate.
        authfile: containers-auth.json(5) with the login, None where it asks for none.
    """

    verify_tls: bool = True
    authfile: Path | None = None

    def options(self, side: str = "") -> list[str]:
        """Options of a skopeo command; ``side`` is ``src``, ``dest``, or nothing where there is but one."""
        prefix = f"--{side}-" if side else "--"
        login = [f"{prefix}authfile={self.authfile}"] if self.authfile else []
        return [f"{prefix}tls-verify={'true' if self.verify_tls else 'false'}", *login]


@contextmanager
def site_access(site: Site) -> Iterator[Access]:
    """Access to the site's Images registry, for as long as the context lasts.

    Raises:
        UsageError: the password file cannot be read, or others may read it.
    """
    images = site.settings.images
    scheme, _, host = images.registry.rpartition("://")
    verify = scheme != "http"
    if not images.user:
        yield Access(verify)
        return
    with TemporaryDirectory(prefix="airlock-login-") as name:
        authfile = Path(name) / "auth.json"
        write_authfile(authfile, host.rstrip("/"), images.user, read_secret(site.root / images.password_file))
        yield Access(verify, authfile)


def write_authfile(path: Path, host: str, user: str, password: str) -> None:
    """A containers-auth.json(5) for one registry, readable by its owner alone."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    write_file(path, json.dumps({"auths": {host: {"auth": pair}}}).encode(), durable=False, mode=0o600)


def own_environment(folder: Path) -> dict[str, str]:
    """The network as the machine is configured, but registries as our own settings alone name them.

    Args:
        folder: takes a registries.conf(5) without mirrors, and skopeo's temporary files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "registries.conf", b"unqualified-search-registries = []\n", durable=False)
    return clean_environment(network=True) | {
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "TMPDIR": str(folder),
    }
