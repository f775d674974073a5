"""Text from outside, fit for a terminal."""

from __future__ import annotations

import re

# Control characters (ECMA-48) besides line breaks and tabs, and what shows as nothing or turns the text around it.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """The text with all that a terminal would obey, or that nobody would see, written out in hexadecimal."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_plain(text: str) -> bool:
    """Whether a text is one line, without anything that ``printable`` would write out."""
    return not _HIDDEN.search(text) and "\n" not in text
