"""What extrepo reads and writes: its configuration, the index of repositories, the source that it makes of an entry.

Follows ``Debian::ExtRepo`` of extrepo 0.11 (``Data.pm``, ``Commands/Enable.pm``); pure functions.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import yaml  # type: ignore[import-untyped]

from airlock.core.errors import FormatError, IntegrityError, ResolutionError
from airlock.core.process import clean_environment, find_tool, run

CONFIG = "/etc/extrepo/config.yaml"
KEYRING = "/etc/extrepo/keyring.gpg"
MAX_INDEX = 16 << 20  # bytes; the index of 2023 has 0.1 MB
_FIRST = ("Types", "URIs", "Suites", "Components", "Architectures")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# apt prints no character that would end a value; of the rest a source has no need.
_VALUE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
T = TypeVar("T", bound=msgspec.Struct)


class Config(msgspec.Struct, frozen=True):
    """``/etc/extrepo/config.yaml``: where the index is, and repositories under which policies may be enabled."""

    url: str
    dist: str
    version: str
    enabled_policies: list[str] = []

    def path(self, name: str) -> str:
        """Where a file of extrepo's data is, below ``url``."""
        return f"{self.dist}/{self.version}/{name}"


class Entry(msgspec.Struct, frozen=True):
    """One repository of the index.

    Attributes:
        source: fields of the source; ``<COMPONENTS>`` in them stands for the components that are enabled.
        key_file: name of the key beside the index; ``key_checksum`` its sha256 by that name, and others.
        policy: of the whole repository; ``policies``: component → policy, and then ``policy`` does not count.
    """

    source: dict[str, str]
    key_file: str = msgspec.field(name="gpg-key-file")
    key_checksum: dict[str, str] = msgspec.field(name="gpg-key-checksum")
    policy: str = ""
    policies: dict[str, str] | None = None


def read_config(data: bytes, what: str) -> Config:
    """extrepo's configuration.

    Args:
        what: names it in messages.

    Raises:
        FormatError: it is none.
    """
    config = _convert(_yaml(data, what), Config, what)
    if not config.url.startswith(("http://", "https://")):
        raise FormatError(
            f"{what} names {config.url!r} as the place of extrepo's data, which is neither http nor https"
        )
    if not _PLAIN.fullmatch(config.dist) or not _PLAIN.fullmatch(config.version):
        raise FormatError(f"{what} names no distribution and version of extrepo's data")
    return config


def read_entry(data: bytes, name: str, what: str) -> Entry:
    """One repository's entry of the index.

    Raises:
        ResolutionError: there is none of that name.
        FormatError: no index, or an entry that is malformed.
    """
    index = _yaml(data, what)
    if not isinstance(index, dict):
        raise FormatError(f"{what} is no index of repositories")
    if name not in index:
        raise ResolutionError(
            f"{what} knows no repository {name}",
            remedy="Take it out of vendor_repositories; see whether a newer Kolla enables one that exists.",
        )
    entry = _convert(index[name], Entry, f"{what}: {name}")
    if not _PLAIN.fullmatch(entry.key_file):
        raise FormatError(f"{what}: {name}: {entry.key_file!r} is no plain name of a key's file")
    return entry


def source_text(name: str, entry: Entry, config: Config, keyring: str) -> str:
    """The source that ``extrepo enable`` writes; Perl's hashes have no order, so the fields are put into one here.

    Args:
        keyring: path in the image of the repository's key.

    Raises:
        ResolutionError: its policy is not enabled.
        FormatError: a field that is no line of a source.
    """
    enabled = set(config.enabled_policies)
    if entry.policies is None:
        components = ""
        allowed = entry.policy in enabled
        policies = {entry.policy}
    else:
        components = " ".join(sorted(one for one, policy in entry.policies.items() if policy in enabled))
        allowed = bool(components)
        policies = set(entry.policies.values())
    if not allowed:
        raise ResolutionError(
            f"extrepo refuses to enable {name}: its policy is {', '.join(sorted(policies)) or 'not stated'}, and "
            f"{CONFIG} enables {', '.join(sorted(enabled)) or 'none'}",
            remedy="Take it out of vendor_repositories: Kolla's own build would fail here, too.",
        )
    fields = {field: value.replace("<COMPONENTS>", components).strip() for field, value in entry.source.items()}
    fields = {field: value for field, value in fields.items() if field.lower() != "signed-by"} | {"Signed-By": keyring}
    for field, value in fields.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", field) or (value and not _VALUE.fullmatch(value)):
            raise FormatError(
                f"the repository {name} of extrepo has the field {field}: {value!r}, which is none of apt"
            )
    order = {field.lower(): number for number, field in enumerate(_FIRST)} | {"signed-by": 99}
    ordered = sorted(fields, key=lambda field: (order.get(field.lower(), len(_FIRST)), field))
    return "".join(f"{field}: {fields[field]}\n" for field in ordered)


def verify_index(index: bytes, signature: bytes, keyring: bytes, what: str) -> None:
    """See that a signature is valid and by a key of extrepo's keyring: as extrepo itself does, by gpgv.

    As with extrepo, a key or signature that has expired since still counts (nothing here depends on the date), one that
    is revoked does not.

    Raises:
        IntegrityError: it is not.
    """
    with TemporaryDirectory(prefix="airlock-extrepo-") as name:
        folder = Path(name)
        for file, data in (("keyring.gpg", keyring), ("index.yaml.asc", signature), ("index.yaml", index)):
            (folder / file).write_bytes(data)
        command = [find_tool("gpgv", "gpgv"), "--homedir", "/dev/null", "--keyring", str(folder / "keyring.gpg")]
        words = ["--status-fd", "1", str(folder / "index.yaml.asc"), str(folder / "index.yaml")]
        result = run([*command, *words], env=clean_environment(folder))
    said = {line.split(" ")[1] for line in result.stdout.decode("utf-8", "replace").splitlines() if " " in line}
    if "VALIDSIG" not in said or said & {"REVKEYSIG", "BADSIG", "ERRSIG"}:
        last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise IntegrityError(
            f"{what} is not signed by a key of {KEYRING} in the package extrepo; gpgv said: {'; '.join(last)}",
            remedy="Do not trust these data. Where [upstreams.extrepo] names a mirror, see that it holds index and "
            "signature of one state; `airlock lock --update extrepo` asks for both anew.",
        )


def _yaml(data: bytes, what: str) -> Any:
    """A document whose scalars are all text, as YAML::XS has them: a suite ``1.10`` is no number."""
    try:
        return yaml.load(data, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 (texts alone)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{what} is no YAML: {str(error)[:300]}") from None


def _convert(value: Any, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise FormatError(f"{what} is not understood: {error}") from None
