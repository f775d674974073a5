"""What apt says when it does not take an index, in errors for people (apt 2.6, acquire-item.cc)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from airlock.core.errors import AirlockError, IntegrityError, ResolutionError, UpstreamError
from airlock.kolla.apt_sources import AptSource

_DISTRUST = re.compile(
    r"is not signed|NO_PUBKEY|EXPKEYSIG|REVKEYSIG|BADSIG|NODATA|invalid signature|signatures? (couldn't|could not) be"
    r"|is expired|is not valid yet|Hash Sum mismatch|unexpected size|Clearsigned file isn't valid|no longer signed"
    r"|Unsigned file|weak security"
)
_UNREACHABLE = re.compile(
    r"Could not (connect|resolve)|Connection (failed|timed out)|Temporary failure|\b50\d\b|Unable to connect"
)
_SAID = ("E:", "W:", "  ")


def distrusts(text: str) -> bool:
    """Whether ``apt-get update`` warns of what must not be taken: if it has former lists, it keeps them and goes on."""
    return bool(_DISTRUST.search(text)) or "previous index files" in text


def named(text: str, sources: Sequence[AptSource], addresses: Mapping[str, str]) -> list[AptSource]:
    """The sources of which apt complains; it tells them by the addresses that it has for them."""
    said = "\n".join(_lines(text))
    return [source for source in sources if re.search(_place(addresses[source.upstream]), said)]


def refusal(text: str, sources: Sequence[AptSource], addresses: Mapping[str, str]) -> AirlockError:
    """Why ``apt-get update`` did not take the indexes.

    Args:
        text: its standard error.
        sources: those that it was to take.
        addresses: of their upstreams, as apt has them.
    """
    said_of = named(text, sources, addresses)
    names = ", ".join(f"{source.upstream} {source.suite}" for source in said_of or sources)
    said = "\n".join(_lines(text))
    message = f"the package indexes of {names} were refused; apt said:\n{said}"
    if _DISTRUST.search(text):
        if said_of and all(one.keyring for one in said_of):
            keys = ", ".join(dict.fromkeys(one.keyring for one in said_of))
            return IntegrityError(
                message,
                remedy=f"The vendor signs with another key than Kolla fetches as {keys}, or has not signed anew. "
                "See whether a newer Kolla names another key or address; do not go on without.",
            )
        return IntegrityError(
            message,
            remedy="Name the right keyrings under [apt] in factory.toml; for a mirror that lags behind, set "
            "check_valid_until = false there.",
        )
    if _UNREACHABLE.search(text):
        return UpstreamError(message)
    return ResolutionError(message, remedy="See that suite and components exist at the address of that upstream.")


def refusals(text: str, sources: Sequence[AptSource], addresses: Mapping[str, str]) -> dict[str, AirlockError]:
    """Upstream of which apt complains → why its indexes were not taken, in what apt said of it alone."""
    found: dict[str, AirlockError] = {}
    for name in dict.fromkeys(source.upstream for source in named(text, sources, addresses)):
        own = "\n".join(line for line in _lines(text) if re.search(_place(addresses[name]), line))
        found[name] = refusal(own, [source for source in sources if source.upstream == name], addresses)
    return found


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(_SAID)]


def _place(address: str) -> str:
    return re.escape(address) + r"[/ ]"
