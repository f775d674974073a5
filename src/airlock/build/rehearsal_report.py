"""What is rehearsed so far, as a page for people and as one error when something failed."""

from __future__ import annotations

from collections import Counter

from airlock.build.rehearsal_run import ImageState
from airlock.build.rehearse import Rehearsal
from airlock.core.errors import AirlockError, BuildError, IncompleteError
from airlock.evidence.ledger import utc_now

SHOWN = 20
_SHARED = ("base", "openstack-base")


def verdict(found: Rehearsal) -> AirlockError | None:
    """The error of a rehearsal in which images failed: incomplete where one of them asked for what the lock lacks."""
    failed = found.of("failed")
    if not failed:
        return None
    lines: list[str] = []
    for image in failed[:SHOWN]:
        assert image.rehearsed is not None
        lines += [f"  {line}" for line in image.rehearsed.asked or (f"image {image.name}: no demand was overlooked",)]
        lines += [f"    {line}" for line in image.rehearsed.said.splitlines()]
    names = ", ".join(image.name for image in failed)
    skipped = len(found.of("skipped"))
    message = f"{names} did not build in the sealed room" + (f" ({skipped} more go with them)" if skipped else "")
    overlooked = any(image.rehearsed and image.rehearsed.asked for image in failed)
    kind = IncompleteError if overlooked else BuildError
    remedy = f"The logs are in {found.folder}/logs. " + (
        "What the lock does not hold, the static proof overlooked: that is a fault of Airlock's worth a report."
        if overlooked
        else "The inputs were all there: see the log. A pin in the definition may help."
    )
    return kind("\n".join([f"{message}:", *lines]), remedy=remedy)


def markdown(found: Rehearsal) -> str:
    """A page: every image with its state and time, and why others are left out."""
    counts = Counter(image.state for image in found.images)
    services = {service(found, image) for image in found.images if image.state == "built"} - set(_SHARED)
    total = sum(image.rehearsed.seconds for image in found.images if image.state == "built" and image.rehearsed)
    states = ", ".join(f"{counts[state]} {state}" for state in ("built", "failed", "skipped", "left"))
    lines = [
        f"# Rehearsal of {found.release}, {found.arch}, as of {utc_now()[:10]}",
        "",
        "Written by `airlock validate --rehearse --report`. Built sealed, from the factory's own pool, image by image;",
        "`left` is what no run has begun yet.",
        "",
        f"{len(found.images)} images: {states}. {len(services)} services have built images. "
        f"{total / 60:,.0f} minutes of building, {found.storage / 1e9:,.1f} GB of storage. "
        f"Lock `{found.lock[:16]}…`.",
        "",
        "| image | service | state | seconds | when (UTC) |",
        "|---|---|---|---|---|",
    ]
    for image in found.images:
        entry = image.rehearsed
        cells = (f"{entry.seconds:,.0f}", entry.date) if entry and entry.state != "skipped" else ("", "")
        lines.append(f"| {image.name} | {service(found, image)} | {image.state} | {cells[0]} | {cells[1]} |")
    failed = [image.rehearsed for image in found.images if image.state == "failed" and image.rehearsed]
    if failed:
        lines += ["", "## Failed", ""]
        for entry in failed:
            said = [*entry.asked, *entry.said.splitlines()]
            lines += [f"**{entry.image}**", "", "```", *said, "```", ""]
    asked = [
        line for image in found.images if image.state == "built" and image.rehearsed for line in image.rehearsed.asked
    ]
    if asked:
        lines += ["", "## Asked for in vain, and built all the same", "", *(f"- {line}" for line in asked)]
    if found.left_out:
        lines += ["", "## Left out of the definition", "", "| image | why |", "|---|---|"]
        lines += [f"| {name} | {reason} |" for name, reason in sorted(found.left_out.items())]
    return "\n".join(lines) + "\n"


def service(found: Rehearsal, image: ImageState) -> str:
    """The service that an image belongs to: its highest ancestor above the shared ones, without ``-base``."""
    by_name = {one.name: one for one in found.images}
    while image.parent and image.parent not in _SHARED:
        image = by_name[image.parent]
    return image.name if image.name in _SHARED else image.name.removesuffix("-base")
