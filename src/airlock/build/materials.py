"""Files of a bundle as files of this machine, for what wants a path: in place where they lie here, else fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airlock.build.timestamps import file_time
from airlock.bundle.stored import StoredBundle
from airlock.core.errors import IncompleteError, IntegrityError
from airlock.core.progress import Reporter
from airlock.lock.model import Artifact
from airlock.store.artifacts import StoredFile, store_path


@contextmanager
def local_files(bundle: StoredBundle, folder: Path) -> Iterator[Callable[[Artifact], Path]]:
    """Tells where an artifact of the bundle's own lock lies; what it fetched for that goes when the context is left.

    Args:
        folder: for what has to be fetched. Only what is asked for is, checked while it arrives.
    """

    def find(artifact: Artifact) -> Path:
        file = bundle.content(artifact.sha256, artifact.file)
        assert file is not None, "an artifact of the lock is content"
        if (local := bundle.store.local(file.path)) is not None:
            return local
        target = folder / file.path
        if not target.exists():
            try:
                bundle.store.fetch(file.path, target, sha256=file.sha256, size=file.size)
            except FileNotFoundError:
                raise IncompleteError(
                    f"bundle {bundle.id} has lost {file.path} in {bundle.store.name}",
                    remedy="Import the same bundle again: that mends what lacks.",
                ) from None
        return target

    try:
        yield find
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_and_date(bundle: StoredBundle, arch: str, folder: Path, reporter: Reporter) -> dict[str, int]:
    """Hash everything that a store holds of a bundle; in the same reading, ask files how old they are.

    Args:
        arch: the architecture whose images' inputs are asked.
        folder: for files of another machine's store, a few at a time.

    Returns:
        Artifact id → seconds since the epoch, for all that goes into those images.

    Raises:
        IncompleteError, IntegrityError: see ``StoredBundle.check``; IntegrityError for a file that is not of its kind.
    """
    lock, store = bundle.lock, bundle.store
    wanted = {ident for one in lock.demands if one.arch == arch and one.kind != "tool" for ident in one.artifacts}
    dated: dict[str, list[Artifact]] = {}
    for artifact in lock.artifacts:
        if artifact.id in wanted:
            dated.setdefault(store_path(artifact.sha256, artifact.file), []).append(artifact)
    times: dict[str, int] = {}

    def read(file: StoredFile) -> tuple[str, int] | None:
        artifacts = dated.get(file.path, [])
        place = store.local(file.path) or folder / file.path
        if not artifacts or store.local(file.path) is not None:
            found = store.digest(file.path)
        else:
            found = _fetched(bundle, file, place)
        if found == (file.sha256, file.size):
            times.update({artifact.id: file_time(artifact, place) for artifact in artifacts})
        if place.is_relative_to(folder):
            place.unlink(missing_ok=True)
        return found

    bundle.check(reporter, read)
    return times


def _fetched(bundle: StoredBundle, file: StoredFile, target: Path) -> tuple[str, int] | None:
    """What ``digest`` would say, with the file fetched if it is right."""
    try:
        bundle.store.fetch(file.path, target, sha256=file.sha256, size=file.size)
    except FileNotFoundError:
        return None
    except IntegrityError:
        return bundle.store.digest(file.path)
    return file.sha256, file.size
