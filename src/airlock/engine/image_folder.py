"""An image of a registry as a folder that skopeo reads (containers-transports(5), ``dir:``): links to its files.

An OCI layout would not do: it cannot hold Docker's manifests as they are, and so not their digests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from airlock.core.errors import IntegrityError
from airlock.core.files import write_file
from airlock.engine.image_manifest import ImageFiles, Reference


def lay_out(folder: Path, image: ImageFiles, file: Callable[[str], Path]) -> None:
    """Make ``folder``, with links; nothing is copied.

    Args:
        file: sha256 → where the file is.
    """
    folder.mkdir(parents=True)
    write_file(folder / "version", b"Directory Transport Version: 1.1\n", durable=False)
    (folder / "manifest.json").symlink_to(file(image.manifest.sha256).absolute())
    for blob in (image.config, *image.layers):
        with contextlib.suppress(FileExistsError):  # two layers may be the same
            (folder / blob.sha256).symlink_to(file(blob.sha256).absolute())


def file_of(files: Mapping[str, Path], reference: Reference, sha256: str) -> Path:
    """One file of an image.

    Raises:
        IntegrityError: it is not there.
    """
    if sha256 not in files or not files[sha256].is_file():
        raise IntegrityError(
            f"{reference}: sha256:{sha256} is not among the bundle's files", remedy="Import the bundle again."
        )
    return files[sha256]
