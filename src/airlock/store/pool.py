"""The factory's pool: content-addressed files, ``<aa>/<sha256>``, each written once and never changed."""

from __future__ import annotations

from pathlib import Path

from airlock.core.digest import sha256_bytes, sha256_file
from airlock.core.errors import IntegrityError
from airlock.core.files import FileWriter, write_file


class Pool:
    """A directory of files named by their sha256.

    Args:
        root: the directory; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the file of that sha256 is or would be."""
        return self.root / sha256[:2] / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether it is there (and has that size). Content is checked when it is read, and by ``check``."""
        try:
            found = self.path(sha256).stat().st_size
        except OSError:
            return False
        return size is None or found == size

    def check(self, sha256: str, size: int) -> str:
        """Nothing if the file is there and whole, else what is wrong (``missing``, ``wrong size`` …)."""
        path = self.path(sha256)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            return "missing"
        if found != size:
            return f"wrong size: {found} bytes, {size} expected"
        digest, _ = sha256_file(path)
        return "" if digest == sha256 else f"wrong content: sha256 is {digest}"

    def read(self, sha256: str) -> bytes:
        """A whole (small) file, checked.

        Raises:
            IntegrityError: missing, or its bytes changed.
        """
        try:
            data = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise IntegrityError(f"{sha256} is not in the pool {self.root}", remedy="Run `airlock refresh`.") from None
        if sha256_bytes(data) != sha256:
            raise IntegrityError(
                f"{self.path(sha256)} has changed since it was written",
                remedy="Remove the file and run `airlock refresh`; check the disk.",
            )
        return data

    def add_bytes(self, data: bytes, *, durable: bool = False) -> str:
        """Put ``data`` in; returns its sha256."""
        sha256 = sha256_bytes(data)
        if not self.has(sha256, len(data)):
            write_file(self.path(sha256), data, durable=durable)
        return sha256

    def add_file(self, source: Path) -> tuple[str, int]:
        """Copy a file in; returns (sha256, size)."""
        sha256, size = sha256_file(source)
        if not self.has(sha256, size):
            with FileWriter(self.path(sha256), durable=False) as writer, source.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    writer.write(chunk)
                if writer.sha256 != sha256:
                    raise IntegrityError(f"{source} changed while it was read")
        return sha256, size
