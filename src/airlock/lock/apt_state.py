"""What one image's dpkg and apt hold between two commands: packages, marks, the files of /etc/apt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import FormatError
from airlock.lock.apt_text import fields


class Installed(msgspec.Struct, frozen=True):
    """One installed package.

    Attributes:
        artifact: id of the .deb; empty for a package that came with a base image from a registry.
        stanza: its stanza of dpkg's status.
    """

    artifact: str
    stanza: str


class AptState(msgspec.Struct, frozen=True):
    """The state that a command finds, and that it leaves.

    Attributes:
        packages: name (``name:arch`` for a foreign architecture) → what is installed.
        auto: names that apt may remove again by ``autoremove``, sorted.
        etc: container path below ``/etc/apt`` → text, for source lists, preferences, and of a base image's
            configuration what counts for the solver (``apt_conf``).
        python: distributions in dist-packages that came with a base image, project → version.
    """

    packages: dict[str, Installed] = {}
    auto: tuple[str, ...] = ()
    etc: dict[str, str] = {}
    python: dict[str, str] = {}

    @property
    def status(self) -> str:
        """Text of dpkg's status file."""
        return "".join(f"{installed.stanza}\n" for _, installed in sorted(self.packages.items()))

    def extended_states(self, debian_arch: str) -> str:
        """Text of apt's extended_states (apt-mark(8)); native packages and ``all`` carry the native architecture."""
        lines = []
        for key in self.auto:
            name, _, arch = key.partition(":")
            lines.append(f"Package: {name}\nArchitecture: {arch or debian_arch}\nAuto-Installed: 1\n\n")
        return "".join(lines)

    @property
    def versions(self) -> dict[str, str]:
        """Name → version of everything installed."""
        return {name: fields(installed.stanza)["version"] for name, installed in self.packages.items()}

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Ids of the .debs of everything installed, sorted; what came with a base image has none."""
        return tuple(sorted(filter(None, (installed.artifact for installed in self.packages.values()))))

    def replace(
        self,
        packages: Mapping[str, Installed] | None = None,
        auto: Iterable[str] | None = None,
        etc: Mapping[str, str] | None = None,
    ) -> AptState:
        """A copy with some of it changed, in canonical order; marks of what is not installed are dropped."""
        new = dict(sorted((self.packages if packages is None else packages).items()))
        marks = sorted(set(self.auto if auto is None else auto) & new.keys())
        return AptState(new, tuple(marks), dict(sorted((self.etc if etc is None else etc).items())), self.python)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> AptState:
        """The inverse of ``to_bytes``.

        Raises:
            FormatError: not such a state.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise FormatError(f"a state of apt does not parse: {error}") from None
