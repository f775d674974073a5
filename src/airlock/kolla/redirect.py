"""Lead what a Dockerfile fetches by ``curl``, ``wget`` or ``gpg --recv-keys`` to the mirror: Kolla has no knob for it.

The address stands in the Dockerfile in full, or in an ``ARG`` that is put together of others. It is replaced there, in
the sealed rendering alone; the upstream rendering, which is read for demands, keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airlock.core.errors import UnclassifiedError

_ARGUMENT = re.compile(r"(?P<head>ARG[ \t]+(?P<name>[A-Za-z_]\w*)=)(?P<value>[^\s'\"\\]+)[ \t]*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<bare>[A-Za-z_]\w*))")
_END = r"(?=[\s'\"})]|\Z)"  # of an address in a shell command: what it begins is another one


def redirect(dockerfile: str, addresses: Mapping[str, str], image: str) -> str:
    """The Dockerfile with other addresses.

    Args:
        addresses: as the Dockerfile has them, variables put in → on the mirror. A keyserver with the ids of keys stands
            for the command that asks it.
        image: for the message.

    Raises:
        UnclassifiedError: an address stands neither in the text nor in an ARG.
    """
    found: set[str] = set()
    known: dict[str, str] = {}
    lines = dockerfile.split("\n")
    for number, line in enumerate(lines):
        if match := _ARGUMENT.fullmatch(line):
            value = known[match["name"]] = _expanded(match["value"], known)
            if value in addresses:
                lines[number] = match["head"] + addresses[value]
                found.add(value)
    text = "\n".join(lines)
    for url, address in addresses.items():
        by_keyserver = " " in url  # and the keys' ids
        pattern = _received(url) if by_keyserver else re.compile(re.escape(url) + _END)
        new = _taken(address) if by_keyserver else address
        text, count = pattern.subn(lambda _, new=new: new, text)  # type: ignore[misc]
        if count:
            found.add(url)
    if missing := sorted(addresses.keys() - found):
        raise UnclassifiedError(
            f"image {image}: {', '.join(missing)} is locked, but where the Dockerfile has the address cannot be told",
            remedy="Write it in full, or into an ARG, by a template override.",
        )
    return text


def _received(spec: str) -> re.Pattern[str]:
    """``gpg --keyserver … --recv-keys …`` as a Dockerfile has it, over continued lines."""
    server, *keys = map(re.escape, spec.split(" "))
    gap = r"(?:[ \t]|\\[ \t]*\n)+"
    return re.compile(gap.join(("gpg", "--keyserver", server, "--recv-keys", *keys)) + r"(?![\w])")


def _taken(addresses: str) -> str:
    """Commands that leave gpg with the keys as after receiving them, but for the times that it notes beside them.

    ``pubring.gpg`` is a row of keys, which gpg reads where it has made no keyring yet: the same bytes in every build.
    """
    ring = "~/.gnupg/pubring.gpg"
    parts = [
        f"curl -qfsS {one} -o ~/.gnupg/key.asc && gpg --dearmor <~/.gnupg/key.asc >>{ring}"
        for one in addresses.split(" ")
    ]
    return " && ".join(["mkdir -p -m 700 ~/.gnupg", *parts])


def _expanded(value: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match["braced"] or match["bare"], match[0]), value)
