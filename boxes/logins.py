"""Who may log in to a box: passwords and keys, drawn once, kept beside its data, for their owner alone to read."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from airlock.core.files import write_file
from airlock.core.process import find_tool, run
from airlock.core.secrets import read_secret

_PASSWORD_BYTES = 24


class Login(msgspec.Struct, frozen=True):
    """A user of a box.

    Attributes:
        user: the name.
        password_file: holds the password, one line, mode 0600.
        key: an ssh private key (``.pub`` beside it), where the server takes one; else None.
    """

    user: str
    password_file: Path
    key: Path | None = None

    @property
    def password(self) -> str:
        """The password. Keep it out of messages, logs and command lines."""
        return read_secret(self.password_file)

    @property
    def public_key(self) -> str:
        """The public half of ``key``, as a line of an authorized_keys file."""
        assert self.key is not None
        return self.key.with_name(self.key.name + ".pub").read_text("utf-8").strip()


def draw_login(folder: Path, user: str, *, key: bool = False) -> Login:
    """The login of ``user`` whose secrets lie in ``folder``; they are drawn the first time.

    Args:
        folder: ``USER.password``, ``USER.key`` and ``USER.key.pub`` go there.
        user: the name.
        key: whether an ssh key is drawn, too.

    Raises:
        ToolError: ssh-keygen is missing or fails.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_file = folder / f"{user}.password"
    if not password_file.exists():
        write_file(password_file, f"{secrets.token_urlsafe(_PASSWORD_BYTES)}\n".encode(), mode=0o600)
    return Login(user, password_file, draw_key(folder / f"{user}.key", user) if key else None)


def draw_key(path: Path, comment: str) -> Path:
    """An ed25519 ssh key without a passphrase at ``path``, drawn the first time; its public half at ``path.pub``.

    Raises:
        ToolError: ssh-keygen is missing or fails.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(path.name + ".part")
        public = part.with_name(part.name + ".pub")
        part.unlink(missing_ok=True)
        run([find_tool("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", part],
            check=True)  # fmt: skip
        public.replace(path.with_name(path.name + ".pub"))
        part.replace(path)
    return path
