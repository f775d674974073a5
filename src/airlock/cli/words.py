"""Numbers with their nouns, and lists, for people."""

from __future__ import annotations

from collections.abc import Mapping

from airlock.evidence.window import WindowRecord


def counted(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``; ``many`` where it is not the singular and an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def window_lines(record: WindowRecord) -> list[str]:
    """A window's record for a person."""
    lines = [
        f"window    {record.id}, {record.state}: {record.verb}",
        f"why       {record.reason} (asked for by {record.requester})",
        f"when      {record.opened} … {record.closed or record.until + ' at the latest'}",
        *(f"host      {host.name}:{host.port}  {', '.join(host.upstreams)}".rstrip() for host in record.hosts),
    ]
    if record.closed_by:
        lines.append(f"closed    by {record.closed_by}")
    for contact in record.contacts:
        place = f"{' or '.join(contact.hosts) or '?'} {contact.address}".strip()
        lines.append(
            f"contact   {place} port {contact.port}: {counted(contact.connections, 'connection')}, "
            f"{contact.sent:,} bytes out, {contact.received:,} in"
        )
    lines += [f"refused   {one.to} {one.protocol} {one.port or ''} × {one.count}" for one in record.refused[:20]]
    lines += [f"refused   the name {name}" for name in record.refused_names[:20]]
    lines += [f"note      {note}" for note in record.notes]
    return lines


def stand_in_lines(count: int, images: int, label: str = "") -> list[str]:
    """The one line about images that stand on stand-ins, where any do."""
    return [f"{label}{count} of {counted(images, 'image')} against STAND-INS, not real inputs"] if count else []


def left_out_lines(left_out: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What the definition selects and does not build, for a person."""
    return [
        line
        for arch, images in left_out.items()
        if images
        for line in (
            f"{counted(len(images), 'image')} left out ({arch}):",
            *(f"  {image}: {reason}" for image, reason in images.items()),
        )
    ]
