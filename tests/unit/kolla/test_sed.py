from __future__ import annotations

import pytest

from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.sed import check_script, is_pin_edit

HARMLESS = [
    "s/a/b/", "s/a/b/g", "s|a|b|gI", "s,^(Listen 80),#\\1,", "/^ovs===/d", "1 i include /var/lib/x/*", "5d", "$d",
    "1,5d", "/a/,/b/d", "/a/!d", "s/a/b/;s/c/d/", "s/[^#]x/y/", "-session(\\s+)x/d"[8:] and "/-session(\\s+)x/d",
    "/^[^#]/ s/systemd//g", "s/a\\/b/c/", "p", "10q", "s#a#b#\ns#c#d#",
]  # fmt: skip
HARMFUL = [
    "e", "1e x", "e curl x", "s/a/b/e", "s/a/b/ge", "s/a/b/w /etc/x", "w /etc/x", "W /x", "r /x", "R /x", "a\\", "F",
    "{e", "/x/{s/a/b/e}", "s/a/b/;e", "s/a/b/\ne x", "1i x\\\ne", "s/a/b", "s/a", "s", "y/a/b/", "b", ":x", "t", "}",
    "s/[/]/e/", "s/[a/b/e", "s\nab\nc\n", "d e", "\\%x%e", "/x/I,e", "v", "z;e x", "s/a/b/m;w x", "l;e",
]  # fmt: skip


@pytest.mark.parametrize("script", HARMLESS)
def test_editing_text_is_accepted(script):
    check_script(script)


@pytest.mark.parametrize("script", HARMFUL)
def test_what_may_run_or_write_is_refused(script):
    with pytest.raises(RefusalError):
        check_script(script)


def test_only_two_forms_edit_a_constraint():
    assert is_pin_edit("/^ovs===/d")
    assert is_pin_edit("s/^Werkzeug===3.0.1/Werkzeug==2.2.3/g")
    assert not is_pin_edit("s/^Werkzeug===3.0.1/evil==2.2.3/g")
    assert not is_pin_edit("/ovs/d")
    assert not is_pin_edit("s/^a===1/a @ http:x/")
