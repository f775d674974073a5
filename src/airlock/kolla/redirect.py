"""Lead to the mirror what a Dockerfile fetches and Kolla has no knob for: ``curl``, ``wget``, ``gpg``, ecosystems.

The address stands in the Dockerfile in full, or in an ``ARG`` that is put together of others. It is replaced there, in
the sealed rendering alone; the upstream rendering, which is read for demands, keeps it. Programs with an index of their
own are told where it is by an option of theirs. No line is added or taken away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airlock.core.errors import UnclassifiedError

_ARGUMENT = re.compile(r"(?P<head>ARG[ \t]+(?P<name>[A-Za-z_]\w*)=)(?P<value>[^\s'\"\\]+)[ \t]*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<bare>[A-Za-z_]\w*))")
_GAP = r"(?:[ \t]|\\\n)+"  # between two words of a command; a line may go on behind a backslash
# Kind of demand → the command's head, and what is put behind it.
_CLIENTS = {
    "galaxy": (rf"ansible-galaxy{_GAP}collection{_GAP}install", "--server {address}/api/"),
    "grafana-plugin": ("grafana-cli", "--repo {address}"),
    "gem": (rf"(?:fluent-)?gem{_GAP}install", "--clear-sources --source {address}/"),
}
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


def lead_clients(dockerfile: str, indexes: Mapping[str, tuple[str, int]], image: str) -> str:
    """The Dockerfile with every program told where its index is.

    Args:
        indexes: kind of demand → address of the index in the room, and how many commands there are at least.
        image: for the message.

    Raises:
        UnclassifiedError: fewer commands are found than there are.
    """
    for kind, (address, count) in indexes.items():
        head, option = _CLIENTS[kind]
        words = option.format(address=address)
        pattern = re.compile(rf"(?m)^(?P<comment>[ \t]*#.*)$|(?<![\w.-])(?P<head>{head})(?=[\s\\])")
        found = 0

        def told(match: re.Match[str], words: str = words) -> str:
            nonlocal found
            if match["comment"] is not None:
                return match[0]
            found += 1
            return f"{match['head']} {words}"

        dockerfile = pattern.sub(told, dockerfile)
        if found < count:
            raise UnclassifiedError(
                f"image {image}: {kind} is locked, but where the Dockerfile has the command cannot be told",
                remedy="Write the command's words one behind the other, by a template override.",
            )
    return dockerfile
