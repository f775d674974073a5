"""Entering a network namespace. ``os.setns`` came with Python 3.12 only, hence ctypes."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

NETNS_DIRECTORY = Path("/run/netns")
"""Where ip-netns(8) has them by name."""
_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


def enter_network(path: Path) -> None:
    """Take the calling thread, and all that it starts from now on, into the network namespace at ``path`` (setns(2)).

    Raises:
        OSError: there is none, or the kernel refuses.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


def in_network(path: Path, function: Callable[[], T]) -> T:
    """Run ``function`` in a thread of its own that has entered the network namespace at ``path``.

    Raises:
        OSError: see ``enter_network``; besides, whatever ``function`` raises.
    """
    outcome: list[T] = []
    trouble: list[BaseException] = []

    def enter() -> None:
        try:
            enter_network(path)
            outcome.append(function())
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=enter, name="airlock-setns")
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    return outcome[0]
