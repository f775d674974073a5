from __future__ import annotations

import pytest

from airlock.core.errors import FormatError
from airlock.kolla.reading.handlers import HANDLERS
from airlock.kolla.reading.rules import decode_rules, load_rules


def test_every_rule_names_a_handler_that_exists():
    assert {rule.handler for rule in load_rules().commands} <= HANDLERS.keys()


def test_no_place_on_the_path_has_the_name_of_a_command_that_a_rule_knows():
    rules = load_rules()
    known = {name for rule in rules.commands for name in rule.names}
    for place in rules.all_places():
        for path in place.paths:
            folder, _, name = path.rpartition("/")
            if folder in rules.path_entries:
                assert name not in known
                assert not name.startswith("*")


@pytest.mark.parametrize(
    "text",
    [
        "commands = 1",
        "nonsense = true",
        '[[commands]]\nnames = ["x"]\nallow = true',
        '[[commands]]\nnames = ["x"]\nkind = "harmless"',
        '[[commands]]\nnames = ["x"]\noperands = "("',
        "[[places",
        '[[places]]\npaths = ["/x"]\nby = ["anything"]',
    ],
)
def test_rules_in_another_form_are_refused(text):
    with pytest.raises(FormatError):
        decode_rules(text)


def test_a_rule_that_needs_a_handler_that_does_not_exist_is_refused(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('[[commands]]\nnames = ["x"]\nhandler = "y"\n')
    with pytest.raises(FormatError, match="handler"):
        load_rules(path)


def test_further_rules_are_added_to_airlocks_own(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('[[commands]]\nnames = ["frobnicate"]\nshort = "x"\n\n[[places]]\npaths = ["/srv/x"]\n')
    own, more = load_rules(), load_rules(path)
    assert len(more.commands) == len(own.commands) + 1
    assert more.commands_named("frobnicate")
    assert more.places[-1].paths == ("/srv/x",)
    assert more.path_entries == own.path_entries
