"""What a shell knows at one point of a script, and how two such states are put together."""

from __future__ import annotations

from airlock.kolla.reading.words import Word, unknown


class Shell:
    """A shell's own state; the file system is shared, not part of it.

    ``variables``: name → value; a name that is missing has not been set here. ``cwd``: the folders it may be in, None
    when nobody can tell.
    """

    def __init__(self, variables: dict[str, Word], exported: set[str], cwd: frozenset[str] | None) -> None:
        self.variables = variables
        self.exported = exported
        self.cwd = cwd

    def copy(self) -> Shell:
        """An independent copy."""
        return Shell(dict(self.variables), set(self.exported), self.cwd)

    def join(self, other: Shell) -> Shell:
        """What is still known when either may be the case."""
        if self is other:
            return self
        variables: dict[str, Word] = {}
        for name in self.variables.keys() | other.variables.keys():
            mine, theirs = self.variables.get(name), other.variables.get(name)
            variables[name] = mine if mine is not None and mine == theirs else unknown(f"${name}")
        cwd = None if self.cwd is None or other.cwd is None else self.cwd | other.cwd
        return Shell(variables, self.exported | other.exported, cwd)


class Outcome:
    """The states after a command: when it succeeded, and when it failed."""

    def __init__(self, ok: Shell, fail: Shell) -> None:
        self.ok = ok
        self.fail = fail

    @property
    def after(self) -> Shell:
        """The state when nobody asks whether it succeeded."""
        return self.ok.join(self.fail)
