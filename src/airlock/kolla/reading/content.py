"""Files of the build context that steer a program a build runs: only the lines that are known."""

from __future__ import annotations

import re

from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.rules import Content

_LINES = {
    "dpkg-cfg": re.compile(rb"\s*|\s*#.*|path-(include|exclude)\s*=?\s*\S+\s*"),
    "curlrc": re.compile(
        rb"\s*|\s*#.*|--(fail|location|retry-all-errors|silent|show-error)\s*|--retry \d+\s*|"
        rb'--write-out "(?!.*%output)[^"@]*"\s*'
    ),
}


def check_content(content: Content, path: str, data: bytes) -> None:
    """Refuse a configuration file with a line that is not known.

    Raises:
        RefusalError: names the line.
    """
    pattern = _LINES.get(content)
    if pattern is None:
        return
    for number, line in enumerate(data.split(b"\n"), 1):
        if not pattern.fullmatch(line):
            raise RefusalError(
                f"line {number} of what is copied to {path} is not known: {line[:80].decode('utf-8', 'replace')!r}"
            )
