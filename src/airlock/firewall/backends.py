"""The backends by their names in factory.toml."""

from __future__ import annotations

from airlock.core.errors import UsageError
from airlock.firewall.hook import Hook
from airlock.firewall.model import Backend, Order
from airlock.firewall.nftables import Nftables
from airlock.firewall.squid import Squid


def make_backend(order: Order) -> Backend:
    """The backend that an order is for.

    Raises:
        UsageError: ``none``, which opens nothing.
    """
    match order.settings.backend:
        case "nftables":
            return Nftables(order)
        case "squid":
            return Squid(order)
        case "hook":
            return Hook(order)
    raise nothing_to_open()


def nothing_to_open() -> UsageError:
    """What is said where there is no backend."""
    return UsageError(
        "the backend of the window is none: there is nothing to open",
        remedy='Choose one in factory.toml: [window] backend = "nftables", "squid" or "hook" (docs/how-to/).',
    )
