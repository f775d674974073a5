"""Asking a box over HTTP, from within the network that it lives in."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import msgspec

from airlock.core.errors import ToolError
from boxes.network import Network

TIMEOUT = 30.0  # seconds
_MAX_ANSWER = 64 << 20  # bytes
# Boxes are on loopback: a proxy of the user's is not asked.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(msgspec.Struct, frozen=True):
    """What a server answered: HTTP status and body."""

    status: int
    data: bytes

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; Gerrit's first line against script inclusion is left out."""
        return json.loads(self.data.removeprefix(b")]}'\n"))

    @property
    def text(self) -> str:
        """The beginning of the body, for a message."""
        return self.data[:500].decode("utf-8", "replace").strip()


class Rest:
    """One server's interface.

    Args:
        server: its name, for messages.
        network: where it lives.
        address: what every path is appended to.
        user: who asks; empty for nobody.
        password: of ``user``.
    """

    def __init__(self, server: str, network: Network, address: str, user: str = "", password: str = "") -> None:
        self.server = server
        self.network = network
        self.address = address
        self._headers: dict[str, str] = {}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = TIMEOUT) -> Answer:
        """Send one request and return whatever is answered.

        Args:
            method: HTTP's.
            path: appended to the address, quoted already.
            body: text and bytes are sent as they are, anything else as JSON.
            timeout: seconds without a byte.

        Raises:
            OSError: nobody answers.
        """
        headers = dict(self._headers)
        data: bytes | None
        if body is None:
            data = None
        elif isinstance(body, bytes):
            data = body
            headers["Content-Type"] = "application/octet-stream"
        elif isinstance(body, str):
            data = body.encode()
            headers["Content-Type"] = "text/plain"
        else:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json; charset=UTF-8"
        url = self.address + path
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310

        def send() -> Answer:
            try:
                with _OPENER.open(request, timeout=timeout) as answer:
                    return Answer(answer.status, answer.read(_MAX_ANSWER))
            except urllib.error.HTTPError as error:
                with error:
                    return Answer(error.code, error.read(_MAX_ANSWER))

        return self.network.inside(send)

    def call(self, method: str, path: str, body: Any = None, *, timeout: float = TIMEOUT) -> Answer:
        """As :meth:`ask`, and it must have been done.

        Raises:
            ToolError: the server refuses, or nobody answers.
        """
        try:
            answer = self.ask(method, path, body, timeout=timeout)
        except OSError as error:
            raise ToolError(f"{self.server} does not answer {method} {self.address}{path}: {error}") from error
        if not answer.ok:
            raise ToolError(
                f"{self.server} refuses {method} {self.address}{path}: {answer.status} {answer.text}",
                remedy=f"The log of {self.server} may say more.",
            )
        return answer


def quoted(name: str) -> str:
    """``name`` as one part of a path: ``openstack/kolla`` is ``openstack%2Fkolla``."""
    return quote(name, safe="")
