"""``airlock window``: open, close, look at, prove and report the firewall windows of a factory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import (
    DEFAULT_DEFINITION,
    DEFAULT_FACTORY,
    FactoryOption,
    JsonOption,
    ReasonOption,
    answer,
    reporter,
    verb,
)
from airlock.cli.words import counted, window_lines
from airlock.core.errors import UsageError
from airlock.core.settings import load_factory
from airlock.evidence.ledger import current_user
from airlock.evidence.window import Proof
from airlock.firewall import desk
from airlock.lock.upstreams_in_use import in_use


class Action(StrEnum):
    """What is to be done."""

    open = "open"
    status = "status"
    close = "close"
    test = "test"
    report = "report"


ActionArgument = Annotated[Action, typer.Argument(metavar="ACTION", help="open, status, close, test or report.")]
DefinitionOption = Annotated[
    Path, typer.Argument(metavar="[DEFINITION]", help="release.toml or its folder: its lock says which upstreams.")
]
RequesterOption = Annotated[str, typer.Option("--requester", help="Who asks for it; by default who runs this.")]
MinutesOption = Annotated[
    float, typer.Option("--minutes", min=0, help="For how long at most; by default the factory's [window] minutes.")
]
HostOption = Annotated[
    list[str] | None, typer.Option("--host", metavar="NAME[:PORT]", help="Only this one of the hosts; repeatable.")
]
OutputOption = Annotated[Path, typer.Option("--output", help="Where report writes its page.")]
RecordsOption = Annotated[
    Path | None, typer.Option("--records", help="Report on this folder (a bundle's evidence/windows) instead.")
]


@verb
def window(
    action: ActionArgument,
    definition: DefinitionOption = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    reason: ReasonOption = "",
    requester: RequesterOption = "",
    minutes: MinutesOption = 0.0,
    host: HostOption = None,
    output: OutputOption = Path("windows.html"),
    records: RecordsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the factory's firewall for named hosts and a stated time; show, prove, close and report windows."""
    place = load_factory(factory)
    who = requester or current_user()
    told = reporter(as_json)
    match action:
        case Action.open:
            asked = desk.asked(place, in_use(place, definition), host or [])
            order = desk.order(place, asked, reason=reason, requester=who, minutes=minutes)
            for line in desk.announce(order):
                told.say(line)
            record = desk.open_by_hand(place, order)
            answer(
                as_json, record, [f"open      {record.id}, until {record.until} at the latest", *_proof(record.proof)]
            )
        case Action.close:
            if not reason.strip():
                raise UsageError("closing wants a reason as well", remedy="--reason TEXT")
            closed = desk.close(place, reason=reason, requester=who)
            lines = window_lines(closed) if closed else [desk.unopened(place)]
            answer(as_json, {"closed": closed}, lines)
        case Action.status:
            found = desk.status(place)
            answer(as_json, found, _status(found))
        case Action.test:
            proofs = desk.test(place)
            answer(as_json, {"proof": proofs}, _proof(proofs))
            desk.require_held(proofs)
        case Action.report:
            written = desk.report(records or place.windows, output, place)
            answer(as_json, {"file": str(output), "windows": written}, [f"{counted(written, 'window')} in {output}"])


def _status(found: desk.Status) -> list[str]:
    confined = f", confines {', '.join(found.confined)}" if found.confined else ""
    lines = [f"backend   {found.backend}{confined}"]
    if found.open is None:
        lines.append(f"window    {f'none: {found.closed_now}' if found.closed_now else 'closed'}")
    else:
        lines += window_lines(found.open)
    lines += [f"rules     {found.rules}"] if found.rules else []
    lines += [f"left      {line}" for line in found.straightened]
    lines.append(f"records   {counted(found.records, 'window')} in {found.folder}, {found.checked}")
    return lines


def _proof(proofs: list[Proof]) -> list[str]:
    return [
        f"{'held' if one.held else 'BROKEN':<9} {one.when}: {one.attempt} ({'named' if one.named else 'not named'}): "
        f"{one.outcome}"
        for one in proofs
    ]
