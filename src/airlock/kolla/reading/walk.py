"""The walk over a script's syntax tree: every command is met, in order, with what the shell knows there.

A node that is not named here is refused. Branches and loops are walked with what may be true on every way through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from airlock.kolla import shell as shell_parser
from airlock.kolla.reading.environment import check_local
from airlock.kolla.reading.expand import Expander, keys
from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.rules import Rules
from airlock.kolla.reading.simple import Redirect, Simple
from airlock.kolla.reading.state import Outcome, Shell
from airlock.kolla.reading.words import Part, PartKind, Word, literal, unknown

Node = dict[str, Any]
_MAX_DEPTH = 12
_MAX_LOOPS = 3
_STATEMENT = ("Cmd", "Position", "Redirs", "Semicolon", "Negated", "Comments")


class Visitor(Protocol):
    """Who judges the commands that the walk meets."""

    rules: Rules

    def command(self, call: Simple, shell: Shell, walk: Walk, condition: str) -> tuple[Outcome, Word | None]:
        """Judge one simple command; returns the states after it and what it prints, if that is known."""
        ...

    def refuse(self, source: str, offset: int, refusal: RefusalError, condition: str) -> None:
        """Report something that cannot be read."""
        ...


class Walk:
    """One script. ``locate`` turns its byte offsets into those of the RUN it is part of."""

    def __init__(self, script: str, visitor: Visitor, locate: Callable[[int], int], outer: Walk | None = None) -> None:
        self.depth: int = outer.depth + 1 if outer else 0
        if self.depth > _MAX_DEPTH:
            raise RefusalError("scripts within scripts, too deep")
        self.script = script.encode()
        self.visitor = visitor
        self.locate = locate
        self.quiet: bool = outer.quiet if outer else False
        self.conditions: list[str] = list(outer.conditions) if outer else []
        # Whether a failure of what is being walked goes unnoticed (`a && b; c`, `a && b || c`): then b hangs on a.
        self.masked: bool = outer.masked if outer else False
        self.loops: int = outer.loops if outer else 0
        self._expander = Expander(self._substitute, visitor.rules.unset)

    def run(self, shell: Shell) -> Outcome:
        """Walk the whole script.

        Raises:
            RefusalError: it is not posix shell.
        """
        try:
            tree = shell_parser.parse(self.script.decode())
        except shell_parser.ShellSyntaxError as error:
            raise RefusalError(f"not plain posix shell ({error})", "Write it in posix shell.") from error
        keys(tree, "Stmts", "Last")
        return self._statements(tree.get("Stmts", []), shell)

    @property
    def condition(self) -> str:
        """The innermost condition that decides whether the command runs."""
        return self.conditions[-1] if self.conditions else ""

    def source(self, node: Node) -> str:
        """The text of a node."""
        return self.script[node["Pos"]["Offset"] : node["End"]["Offset"]].decode("utf-8", "replace")

    def _statements(self, statements: Sequence[Node], shell: Shell) -> Outcome:
        outcome = Outcome(shell, shell)
        masked = self.masked
        for index, statement in enumerate(statements):
            self.masked = masked or index + 1 < len(statements)
            outcome = self._statement(statement, outcome.after)
        self.masked = masked
        return outcome

    def _conditional(self, condition: str, statements: Sequence[Node], shell: Shell) -> Outcome:
        self.conditions.append(condition)
        try:
            return self._statements(statements, shell)
        finally:
            self.conditions.pop()

    def _statement(self, statement: Node, shell: Shell) -> Outcome:
        try:
            keys(statement, *_STATEMENT)
            outcome = self._command(statement, shell)
        except RefusalError as refusal:
            if not self.quiet:
                offset = self.locate(statement["Pos"]["Offset"])
                self.visitor.refuse(self.source(statement), offset, refusal, self.condition)
            outcome = Outcome(shell, shell)
        if statement.get("Negated"):
            return Outcome(outcome.fail, outcome.ok)
        return outcome

    def _command(self, statement: Node, shell: Shell) -> Outcome:
        command = statement.get("Cmd")
        kind = command["Type"] if command else "CallExpr"
        redirects = statement.get("Redirs", [])
        if kind == "CallExpr":
            return self._simple(command, redirects, statement, shell)
        assert command is not None
        if redirects:
            self._simple(None, redirects, statement, shell)
        if kind == "BinaryCmd":
            return self._binary(command, shell)
        if kind == "Block":
            keys(command, "Stmts", "Lbrace")
            return self._statements(command["Stmts"], shell)
        if kind == "Subshell":
            keys(command, "Stmts", "Lparen", "Rparen")
            self._statements(command["Stmts"], shell.copy())
            return Outcome(shell, shell)
        if kind == "IfClause":
            return self._if(command, shell)
        if kind == "WhileClause":
            keys(command, "Cond", "Do", "Until", "WhilePos", "DoPos", "DonePos")
            condition = f"while {self._text(command['Cond'])}"
            return self._loop(condition, command["Do"], shell, command["Cond"])
        if kind == "ForClause":
            return self._for(command, shell)
        if kind == "CaseClause":
            return self._case(command, shell)
        raise RefusalError(f"a {kind}", "Write it without functions, arithmetic and the like.")

    def _text(self, statements: Sequence[Node]) -> str:
        return "; ".join(self.source(statement).rstrip("; ") for statement in statements)

    def _binary(self, command: Node, shell: Shell) -> Outcome:
        keys(command, "Op", "OpPos", "X", "Y")
        operator = command["Op"]
        if operator == "|":
            self._statement(command["X"], shell.copy())
            self._statement(command["Y"], shell.copy())
            return Outcome(shell, shell)
        if operator == "&&":
            left = self._statement(command["X"], shell)
            if self.masked:
                right = self._conditional(f"{self.source(command['X'])} &&", [command["Y"]], left.ok)
            else:
                right = self._statement(command["Y"], left.ok)
            return Outcome(right.ok, left.fail.join(right.fail))
        if operator == "||":
            masked, self.masked = self.masked, True
            left = self._statement(command["X"], shell)
            self.masked = masked
            right = self._conditional(f"{self.source(command['X'])} ||", [command["Y"]], left.fail)
            return Outcome(left.ok.join(right.ok), right.fail)
        raise RefusalError(f"the operator {operator}")

    def _if(self, command: Node, shell: Shell) -> Outcome:
        keys(command, "Cond", "Then", "Else", "Position", "ThenPos", "FiPos")
        if "Cond" not in command:
            outcome = self._statements(command.get("Then", []), shell)
            return Outcome(outcome.after, outcome.after)
        condition = self._text(command["Cond"])
        cond = self._statements(command["Cond"], shell)
        then = self._conditional(f"if {condition}", command["Then"], cond.ok).after
        otherwise = cond.fail
        if "Else" in command:
            self.conditions.append(f"if ! {condition}")
            try:
                otherwise = self._if(command["Else"], cond.fail).after
            finally:
                self.conditions.pop()
        joined = then.join(otherwise)
        return Outcome(joined, joined)

    def _loop(self, condition: str, body: Sequence[Node], shell: Shell, before: Sequence[Node] = ()) -> Outcome:
        """A loop's body is walked until nothing new is learned, then once more for the record."""
        statements = [*before, *body]
        self.loops += 1
        if self.loops > _MAX_LOOPS:
            self.loops -= 1
            raise RefusalError("loops within loops, too deep")
        quiet, self.quiet = self.quiet, True
        try:
            for _ in range(4):
                after = self._conditional(condition, statements, shell.copy()).after
                joined = shell.join(after)
                if joined.variables == shell.variables and joined.cwd == shell.cwd:
                    break
                shell = joined
            else:
                raise RefusalError("a loop whose variables keep changing")
            self.quiet = quiet
            after = self._conditional(condition, statements, shell.copy()).after
        finally:
            self.quiet = quiet
            self.loops -= 1
        joined = shell.join(after)
        return Outcome(joined, joined)

    def _for(self, command: Node, shell: Shell) -> Outcome:
        keys(command, "Loop", "Do", "ForPos", "DoPos", "DonePos")
        loop = command["Loop"]
        if loop["Type"] != "WordIter" or "Items" not in loop:
            raise RefusalError("a for loop without a list", "Write `for x in …`.")
        keys(loop, "Name", "InPos", "Items")
        name = loop["Name"]["Value"]
        items = self._expander.words(loop["Items"], shell)
        check_local(name, None, name in shell.exported, self.visitor.rules)
        inside = shell.copy()
        inside.variables[name] = _any_of(name, items)
        text = " ".join(self.source(item) for item in loop["Items"])
        outcome = self._loop(f"for {name} in {text}", command["Do"], inside)
        joined = outcome.after.join(shell)
        return Outcome(joined, joined)

    def _case(self, command: Node, shell: Shell) -> Outcome:
        keys(command, "Case", "In", "Esac", "Word", "Items")
        self._expander.value(command["Word"], shell)
        joined = shell
        for item in command.get("Items", []):
            keys(item, "Op", "OpPos", "Patterns", "Stmts")
            if item.get("Op") != ";;":
                raise RefusalError(f"a case item that ends in {item.get('Op')}")
            for pattern in item["Patterns"]:
                self._expander.value(pattern, shell)
            condition = f"case {self.source(command['Word'])}"
            joined = joined.join(self._conditional(condition, item.get("Stmts", []), shell).after)
        return Outcome(joined, joined)

    def _substitute(self, statements: Sequence[Node], shell: Shell) -> Word:
        inside = shell.copy()
        if len(statements) == 1 and statements[0].get("Cmd", {}).get("Type") == "CallExpr":
            node = statements[0]
            try:
                keys(node, *_STATEMENT)
                printed = self._judge(node["Cmd"], node.get("Redirs", []), node, inside)[1]
            except RefusalError as refusal:
                self._report(node, refusal)
                printed = None
            if printed is None:
                return unknown(f"$({self._text(statements)})")
            return literal(printed.known.rstrip("\n")) if printed.known is not None else printed
        self._statements(statements, inside)
        return unknown(f"$({self._text(statements)})")

    def _report(self, node: Node, refusal: RefusalError) -> None:
        if not self.quiet:
            offset = self.locate(node["Pos"]["Offset"])
            self.visitor.refuse(self.source(node), offset, refusal, self.condition)

    def _simple(self, command: Node | None, redirects: Sequence[Node], statement: Node, shell: Shell) -> Outcome:
        return self._judge(command, redirects, statement, shell)[0]

    def _judge(
        self, command: Node | None, redirects: Sequence[Node], statement: Node, shell: Shell
    ) -> tuple[Outcome, Word | None]:
        command = command or {"Type": "CallExpr"}
        keys(command, "Assigns", "Args")
        assigns: list[tuple[str, Word]] = []
        for assign in command.get("Assigns", []):
            keys(assign, "Name", "Value")
            assigns.append((assign["Name"]["Value"], self._expander.value(assign.get("Value"), shell).stored()))
        nodes = command.get("Args", [])
        words = self._expander.words(nodes, shell)
        found = []
        for redirect in redirects:
            keys(redirect, "Op", "OpPos", "N", "Word")
            found.append(Redirect(redirect["Op"], self._expander.value(redirect["Word"], shell)))
        call = Simple(assigns, words, nodes, found, self.locate(statement["Pos"]["Offset"]))
        return self.visitor.command(call, shell, self, self.condition)


def _any_of(name: str, items: Sequence[Word]) -> Word:
    """The value of a loop's variable: the only item, or unknown with what all items begin with."""
    if len(items) == 1 and items[0].known is not None:
        return items[0]
    return unknown(f"${name}", atomic=all(_whole(part) for item in items for part in item.parts))


def _whole(part: Part) -> bool:
    """Whether this stretch holds no white space once the shell has made words of the list."""
    if part.kind is PartKind.UNKNOWN:
        return part.splits or part.atomic
    return part.kind is PartKind.LITERAL and not any(character.isspace() for character in part.text)
