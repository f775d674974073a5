"""A certificate authority of a box's own, with one certificate for its server and one for its clients."""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.files import write_file
from airlock.core.process import find_tool, run

_DAYS = "3650"
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
_EXTENSIONS = b"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"


class Certificates(msgspec.Struct, frozen=True):
    """PEM files.

    Attributes:
        authority: what both sides trust.
        server: key and certificate in one file.
        client, client_key: of those who connect.
    """

    authority: Path
    server: Path
    client: Path
    client_key: Path


def certificates(folder: Path) -> Certificates:
    """The certificates in ``folder``, for localhost; made the first time.

    Raises:
        ToolError: openssl is missing or fails.
    """

    def openssl(*words: str | Path) -> None:
        run([find_tool("openssl", "openssl"), *words], check=True)

    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "client.pem", folder / "client.key")
    if not made.server.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        extensions = folder / "extensions"
        write_file(extensions, _EXTENSIONS, durable=False)
        authority = ("-CA", made.authority, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", _DAYS)
        openssl("req", *_KEY, "-x509", "-keyout", folder / "ca.key", "-out", made.authority, "-days", _DAYS,
                "-subj", "/CN=box authority")  # fmt: skip
        for name in ("client", "server"):
            request, key, certificate = (folder / f"{name}.{kind}" for kind in ("csr", "key", "crt"))
            openssl("req", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
            openssl("x509", "-req", "-in", request, *authority, "-extfile", extensions, "-out", certificate)
        write_file(made.client, (folder / "client.crt").read_bytes())
        write_file(made.server, (folder / "server.key").read_bytes() + (folder / "server.crt").read_bytes(), mode=0o600)
    return made
