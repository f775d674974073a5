"""Images by digest from a registry into a pool, by skopeo(1): registry v2 over http or https, with or without login."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from airlock.core.digest import sha256_file
from airlock.core.errors import AirlockError, GoneError, IntegrityError, UpstreamError
from airlock.core.files import require_space, sync_filesystem
from airlock.core.process import find_tool, last_lines, run
from airlock.core.settings import FetchTable
from airlock.engine.image_manifest import MAX_DOCUMENT, Blob, ImageFiles, Reference, image_files
from airlock.engine.skopeo import own_environment, write_authfile
from airlock.store.pool import Pool

_RETRIES = 3  # at most: skopeo doubles the pause each time
_SLOWEST = 50_000  # bytes a second, below which a download counts as stalled
_GONE = re.compile(
    r"manifest unknown|name unknown|blob unknown|\b404\b|not found in repository|repository name not known"
)
_LOGIN = re.compile(r"unauthorized|authentication required|\b40[13]\b|denied")
_WRONG = re.compile(r"[Dd]igest (did|does) not match|does not match (provided|expected)|unexpected digest")


def pool_files(pool: Pool, reference: Reference, architecture: str) -> ImageFiles:
    """An image's files as a pool has them; lists, manifest and configuration are read, layers not.

    Raises:
        IntegrityError: one of those three is missing or has changed.
        FormatError, ResolutionError: see ``image_files``.
    """

    def read(sha256: str, manifest: str) -> bytes:
        return _bounded(pool, reference, sha256)

    return image_files(reference, architecture, read)


def fetch_image(pool: Pool, reference: Reference, architecture: str, address: str, settings: FetchTable) -> ImageFiles:
    """Bring into the pool what it lacks of an image; every file is checked by its sha256. Blocking.

    Killed at any moment, the same call again fetches only the layers that had not arrived.

    Args:
        architecture: OCI's name.
        address: http(s) address that stands for the reference's registry; a path is a prefix of the repository.

    Raises:
        GoneError: the registry has no such image.
        IntegrityError: it serves other bytes than the digests name.
        UpstreamError: it cannot be reached, keeps breaking off, or wants a login.
        FormatError, ResolutionError: see ``image_files``.
        SpaceError: the disk is too small.
        ToolError: skopeo is not installed.
    """
    folder = pool.root / "incoming" / f"image-{reference.digest[:12]}-{architecture}"
    registry = _Registry(reference, address, settings, folder)
    try:

        def read(sha256: str, manifest: str) -> bytes:
            if not pool.has(sha256) or sha256_file(pool.path(sha256))[0] != sha256:
                pool.add_bytes(registry.document(sha256, manifest))
            return _bounded(pool, reference, sha256)

        files = image_files(reference, architecture, read)
        missing = [blob for blob in files.layers if not pool.has(blob.sha256, blob.size)]
        if missing:
            require_space(pool.root, sum(blob.size for blob in missing), f"fetching {reference}")
            registry.layers(pool, files, missing)
    finally:
        registry.close()
    shutil.rmtree(folder, ignore_errors=True)
    sync_filesystem(pool.root)
    return files


def _bounded(pool: Pool, reference: Reference, sha256: str) -> bytes:
    if pool.has(sha256) and pool.path(sha256).stat().st_size > MAX_DOCUMENT:
        raise IntegrityError(f"{reference}: sha256:{sha256} is larger than any manifest may be")
    return pool.read(sha256)


class _Registry:
    """skopeo on one repository. ``folder`` is for this image alone; what is complete in it is used again."""

    def __init__(self, reference: Reference, address: str, settings: FetchTable, folder: Path) -> None:
        parts = urlsplit(address)
        prefix = parts.path.strip("/")
        host = parts.netloc.rpartition("@")[2]
        self._reference, self._settings, self._folder = reference, settings, folder
        self._repository = f"docker://{host}/{prefix}{'/' * bool(prefix)}{reference.repository}"
        self._shown = f"{parts.scheme}://{host}"
        self._verify = "true" if parts.scheme == "https" else "false"
        self._retries = min(settings.retries, _RETRIES)
        self._skopeo = find_tool("skopeo", "skopeo")
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = own_environment(folder) | _logins()
        self._login: list[str] = []
        if parts.username:
            write_authfile(folder / "auth.json", host, unquote(parts.username), unquote(parts.password or ""))
            self._login = [f"--authfile={folder / 'auth.json'}"]

    def close(self) -> None:
        """Remove the credentials."""
        (self._folder / "auth.json").unlink(missing_ok=True)

    def document(self, sha256: str, manifest: str) -> bytes:
        """The bytes of a list or manifest, or of the configuration that ``manifest`` names. Not checked."""
        what = ["--config", "--raw"] if manifest else ["--raw"]
        patience = self._settings.timeout * (self._retries + 1)
        place = f"{self._repository}@sha256:{manifest or sha256}"
        result = self._run(["inspect", *what, f"--tls-verify={self._verify}"], [place], patience)
        if len(result.stdout) > MAX_DOCUMENT:
            raise IntegrityError(f"{self._reference}: sha256:{sha256} is larger than any manifest may be")
        return result.stdout

    def layers(self, pool: Pool, files: ImageFiles, missing: Sequence[Blob]) -> None:
        """Fetch layers. skopeo passes by those that lie in its folder already."""
        blobs = self._folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        wanted = {blob.sha256 for blob in missing}
        for blob in files.layers:
            if blob.sha256 not in wanted:
                (blobs / blob.sha256).unlink(missing_ok=True)
                (blobs / blob.sha256).hardlink_to(pool.path(blob.sha256))
        options = [f"--src-tls-verify={self._verify}", f"--dest-shared-blob-dir={blobs.parent}"]
        options += ["--dest-oci-accept-uncompressed-layers", "--quiet"]
        patience = self._settings.timeout * (self._retries + 1) + sum(blob.size for blob in missing) / _SLOWEST
        source = f"{self._repository}@sha256:{files.manifest.sha256}"
        self._run(["copy", *options], [source, f"oci:{self._folder / 'layout'}:image"], patience)
        for blob in missing:
            _adopt(pool, blob, blobs / blob.sha256, self._reference)

    def _run(
        self, command: Sequence[str], operands: Sequence[str], patience: float
    ) -> subprocess.CompletedProcess[bytes]:
        words = [self._skopeo, "--insecure-policy", *command, f"--retry-times={self._retries}"]
        try:
            result = run([*words, *self._login, *operands], env=self._environment, timeout=patience)
        except subprocess.TimeoutExpired:
            raise UpstreamError(
                f"{self._reference}: the registry {self._shown} is too slow or hangs: given up after {patience:.0f} s"
            ) from None
        if result.returncode != 0:
            raise self._error(last_lines(result, 1))
        return result

    def _error(self, said: str) -> AirlockError:
        said = re.sub(r'^time="[^"]*" level=\w+ msg="(.*)"$', r"\1", said, flags=re.MULTILINE)
        message = f"{self._reference} cannot be fetched from {self._shown}: {said}"
        if _WRONG.search(said):
            return IntegrityError(message, remedy="Do not trust this registry: name another one in factory.toml.")
        if _LOGIN.search(said):
            remedy = (
                "Log in where the factory runs: `skopeo login`, or name a containers-auth.json in REGISTRY_AUTH_FILE."
            )
            return UpstreamError(message, remedy=remedy)
        if _GONE.search(said):
            return GoneError(message, remedy="See which digests the registry has (skopeo inspect); correct base.image.")
        registry = self._reference.registry
        remedy = f'See that it is up, or name another: [upstreams."{registry}"] address = … in factory.toml.'
        return UpstreamError(message, remedy=remedy)


def _adopt(pool: Pool, blob: Blob, path: Path, reference: Reference) -> None:
    found = sha256_file(path) if path.is_file() else ("", 0)
    if found != (blob.sha256, blob.size):
        path.unlink(missing_ok=True)
        raise IntegrityError(
            f"{reference}: layer sha256:{blob.sha256} of {blob.size} bytes arrived as sha256:{found[0]}, "
            f"{found[1]} bytes",
            remedy="Run the same command again; if it stays so, do not trust this registry.",
        )
    target = pool.path(blob.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.chmod(0o644)
    path.replace(target)


def _logins() -> dict[str, str]:
    """Where skopeo looks for logins (containers-auth.json(5))."""
    return {key: os.environ[key] for key in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "HOME") if key in os.environ}
