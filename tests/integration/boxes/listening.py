"""Where a box listens, as the kernel says."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from pathlib import Path

from boxes.box import Box


def addresses(box: Box) -> set[str]:
    """Addresses of all TCP sockets that processes of the box listen on."""
    inodes = set()
    for process in box.members():
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{process.pid}/fd").iterdir():
                inodes.add(str(handle.readlink()))
    found = [one.address for one in box.network.listeners() if f"socket:[{one.inode}]" in inodes]
    return {decoded(address) for address in found}


def decoded(text: str) -> str:
    """The kernel writes each 32 bits of an address in the machine's (little-endian) order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    address = ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)
