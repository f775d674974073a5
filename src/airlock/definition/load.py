"""Read a release definition and the files it names."""

from __future__ import annotations

import re
from pathlib import Path

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import DefinitionError, IntegrityError
from airlock.core.paths import rooted
from airlock.core.toml import parse_toml
from airlock.definition.model import Definition, LoadedDefinition

MAX_FILE = 16 << 20  # bytes; upper-constraints is 20 kB
# An image's tag (OCI distribution-spec 1.0) has 128 characters, and holds the serial and a build's time besides.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_REPOSITORY = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")


def load_definition(path: Path) -> LoadedDefinition:
    """Load ``path`` (a TOML file, or a folder that holds ``release.toml``).

    Raises:
        DefinitionError: missing, malformed, or naming a file that is missing or outside its folder.
    """
    if path.is_dir():
        path = path / "release.toml"
    files = {path.name: _read(path, f"release definition {path}")}
    definition = parse_toml(files[path.name], Definition, str(path), DefinitionError)
    _check(definition, path)
    for name in [definition.sources.constraints, *definition.kolla.template_overrides]:
        try:
            place = rooted(path.parent, name)
        except IntegrityError as error:
            raise DefinitionError(f"{path}: {name!r} must lie beside the definition ({error.message})") from None
        files[name] = _read(place, f"{name}, named by {path}")
    return LoadedDefinition(definition, path, files, definition_digest(files))


def definition_digest(files: dict[str, bytes]) -> str:
    """sha256 of the canonical JSON of ``{name: sha256 of bytes}``."""
    return sha256_bytes(canonical({name: sha256_bytes(data) for name, data in files.items()}))


def _read(path: Path, what: str) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE:
            raise DefinitionError(f"{what} is larger than {MAX_FILE >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise DefinitionError(
            f"{what} does not exist", remedy="examples/keystone/release.toml is a definition to start from."
        ) from None
    except OSError as error:
        raise DefinitionError(f"{what} cannot be read: {error.strerror}") from None


def _check(definition: Definition, path: Path) -> None:
    if not _NAME.fullmatch(definition.name) or ".." in definition.name:
        raise DefinitionError(
            f"{path}: name {definition.name!r} cannot name a bundle folder, a branch and the tag of an image",
            remedy="Letters, digits, `_`, `.` (not two in a row) and `-`, at most 80, the first neither `.` nor `-`.",
        )
    if not definition.images and not definition.profile:
        raise DefinitionError(
            f"{path}: neither images nor profile names anything",
            remedy='For example images = ["keystone"], images = "all", or profile = ["main"].',
        )
    for image, reason in definition.leave_out.items():
        if not reason.strip() or "\n" in reason:
            raise DefinitionError(
                f"{path}: [leave_out] {image} wants a reason on one line",
                remedy="It is shown wherever the image is missed.",
            )
    if not definition.base.architectures:
        raise DefinitionError(f"{path}: base.architectures is empty", remedy='For example architectures = ["x86_64"].')
    kolla = definition.kolla
    if kolla.source == "pypi" and not kolla.version:
        raise DefinitionError(
            f'{path}: kolla.source = "pypi" wants kolla.version', remedy='For 2024.1: version = "18.8.0".'
        )
    if kolla.source == "git":
        _check_ref(kolla.ref, f"{path}: kolla.ref")
    for name, table in definition.git.items():
        if not _REPOSITORY.fullmatch(name) or ".." in name:
            raise DefinitionError(
                f"{path}: [git.{name}] cannot name a repository",
                remedy="Small letters, digits, `_`, `.` and `-`, at most 64 of them, a letter first.",
            )
        if name == "kolla" and kolla.source == "git":
            raise DefinitionError(
                f'{path}: [git.kolla] names the repository that kolla.source = "git" carries already',
                remedy="Leave it out; kolla.ref says which commit.",
            )
        _check_ref(table.ref, f"{path}: git.{name}.ref")


def _check_ref(ref: str, where: str) -> None:
    """That a ref can be one, and no option of git's nor an expression."""
    if not _REF.fullmatch(ref):
        raise DefinitionError(f"{where} = {ref!r} names no ref", remedy="Name a branch, a tag or a commit.")
