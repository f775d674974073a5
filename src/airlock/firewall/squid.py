"""The backend ``squid``: a forward proxy of Airlock's own, which enforces names; what is confined reaches it alone.

squid runs for one window, as an ordinary user. It starts with nothing allowed; the list of what is allowed is written
and renamed into place, and squid reads it on SIGHUP. That it ends with the window is the kernel's business: its alarm
clock (setitimer(2) lasts through execve) and its parent's death both kill it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from airlock.core.digest import sha256_file
from airlock.core.errors import ToolError, UsageError, WindowError
from airlock.core.files import write_file
from airlock.core.process import clean_environment, find_tool
from airlock.evidence.window import WindowRecord
from airlock.firewall.hosts import PRIVATE
from airlock.firewall.model import Entrance, Order
from airlock.firewall.nft import Nft
from airlock.firewall.nftables import closed_rules, entrance, tell_counters
from airlock.firewall.rules import Rules
from airlock.firewall.squid_log import FORMAT, read_log
from airlock.firewall.squid_place import account_of_squid, connections, free_port, require_passable

MARGIN = 0.5  # seconds before its alarm that squid is ended in order, so that it writes down what it was at
_START = 20.0  # seconds that it may take to listen
_LOOKS = 10  # whether squid is idle, before it is ended in order
_CONFIGURATION = """\
http_port 127.0.0.1:{port}
visible_hostname airlock-window
pid_filename none
hosts_file /etc/hosts
logformat airlock {format}
access_log stdio:{folder}/access.log logformat=airlock
cache_log {folder}/cache.log
cache_store_log none
netdb_filename none
coredump_dir none
cache deny all
buffered_logs off
pinger_enable off
shutdown_lifetime 0 seconds
dns_timeout 10 seconds
positive_dns_ttl 1 hour
negative_dns_ttl 1 second
max_filedescriptors 4096
via off
forwarded_for delete
acl safe method GET HEAD CONNECT
{private}
http_access deny !safe
include {folder}/allowed.conf
http_access deny all
{more}
"""


class Squid:
    """See ``firewall.model.Backend``."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = order.folder / "squid"
        self._process: subprocess.Popen[bytes] | None = None
        self._nft: Nft | None = None
        self._rules = Rules(table=order.table, selection=order.selection)
        self._port = 0
        self._looks_up = True
        if elsewhere := order.selection.namespace:
            raise UsageError(
                f"squid listens on this machine's loopback, which the network namespace {elsewhere} has not",
                remedy='[window] confine = ["airlock"] in factory.toml, or backend = "nftables".',
            )

    async def open(self, seconds: float) -> Entrance:
        """See ``Backend``: squid with nothing allowed, then the list."""
        program = find_tool("squid", "squid")
        began = time.monotonic()
        self._port = free_port()
        self._prepare()
        self._process = self._start(program, seconds)
        await self._listening()
        environment = self._confine()
        self._allow()
        await self._reloaded()
        if time.monotonic() - began > seconds:
            raise WindowError("squid took longer to start than the window is to be open")
        return environment

    def _start(self, program: str, seconds: float) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [program, "-N", "-f", self._folder / "squid.conf"]
        if os.geteuid() == 0:
            setpriv = find_tool("setpriv", "util-linux")
            account = account_of_squid()
            command = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups",
                       "--pdeathsig=KILL", "--", *command]  # fmt: skip
        return subprocess.Popen(
            [str(word) for word in command],
            env=clean_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, seconds),
        )

    async def tend(self) -> None:
        """See ``Backend``."""
        if self._process is None or self._process.poll() is not None:
            raise WindowError("squid has ended before the window did", remedy=f"See {self._folder}/cache.log.")
        if self._nft is not None:
            await asyncio.to_thread(self._nft.require, self._order.table)

    def begin(self) -> None:
        """See ``Backend``; squid's log is read without the proof's name."""
        if self._nft is not None:
            self._nft.apply(self._rules.forgotten())

    async def close(self) -> None:
        """See ``Backend``: an empty list first, then squid's end."""
        process, self._process = self._process, None
        write_file(self._folder / "allowed.conf", b"", durable=False)
        if process is not None and process.poll() is None:
            if await self._idle():
                process.kill()  # every request is over and in the log; an orderly end would take two seconds
            else:
                process.terminate()
            try:
                await asyncio.to_thread(process.wait, 5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        self._keep_log()
        if self._nft is not None:
            self._rules = closed_rules(self._order)
            self._nft.apply(self._rules.text())

    async def _idle(self) -> bool:
        """Whether squid has no connection any more; it closes one when what it was for stands in the log."""
        for _ in range(_LOOKS):
            if not any(connections(self._port)):
                return True
            await asyncio.sleep(0.02)
        return False

    def is_open(self) -> bool:
        """See ``Backend``."""
        return self._process is not None and self._process.poll() is None

    def tell(self, record: WindowRecord) -> None:
        """See ``Backend``: what squid's access log says."""
        log = self._folder / "access.log"
        if not log.exists():
            return
        found = read_log(log, frozenset(self._order.places))
        record.contacts, record.refused = found.contacts, found.refused
        record.refused_names = sorted({refused.to for refused in found.refused})
        if self._nft is not None and (state := self._nft.state(self._order.table)) is not None:
            by_proxy = list(record.refused)
            tell_counters(record, state)
            record.contacts, record.refused = found.contacts, [*by_proxy, *record.refused]

    def _keep_log(self) -> None:
        """squid's log as it is, beside the record."""
        log, record = self._folder / "access.log", self._order.record
        if log.exists():
            kept = Path(self._order.root) / "windows" / f"{record.id}.access.log"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, kept)
            record.access_log = sha256_file(kept)[0]

    def _prepare(self) -> None:
        """Files of its own, which hold the parent's password: readable for its user alone."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)
        parent = self._parent()
        self._looks_up = not parent
        private = "" if parent else self._private()
        nameservers = [address for address in self._order.settings.nameservers if address.count(":") != 1]
        more = [parent] if parent else []
        more += [f"dns_nameservers {' '.join(nameservers)}"] if nameservers else []
        text = _CONFIGURATION.format(
            port=self._port, folder=self._folder, format=FORMAT, private=private, more="\n".join(more),
        )  # fmt: skip
        write_file(self._folder / "squid.conf", text.encode(), durable=False, mode=0o600)
        write_file(self._folder / "allowed.conf", b"", durable=False)
        if os.geteuid() == 0:
            account = account_of_squid()
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
            require_passable(self._folder)

    def _private(self) -> str:
        """What the list refers to: no name is looked up but a named one, and that must not lead into private space."""
        return "\n".join(f"acl private dst {network}" for network in PRIVATE)

    def _parent(self) -> str:
        """The proxy that squid has to go through: the settings', else the one of this machine's environment."""
        settings = self._order.settings
        url = urlsplit(settings.parent or os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
        if not url.hostname:
            return ""
        user, password = url.username or settings.parent_user, url.password or ""
        if settings.parent_password_file:
            place = Path(self._order.root) / settings.parent_password_file
            try:
                password = place.read_text("utf-8").strip()
            except OSError as error:
                raise UsageError(
                    f"{place}, the password of the parent proxy, cannot be read: {error.strerror}"
                ) from None
        login = f" login={quote(user)}:{quote(password, safe='')}" if user else ""
        self._order.record.notes.append(f"squid goes through the proxy {url.hostname}:{url.port or 3128}")
        self._order.record.cannot_prove.append("Addresses are looked up by the proxy behind squid, which is trusted.")
        return f"cache_peer {url.hostname} parent {url.port or 3128} 0 no-query default{login}\nnever_direct allow all"

    def _confine(self) -> Entrance:
        """Packet rules by which what is confined reaches squid and nothing else, where this machine lets."""
        address = f"http://127.0.0.1:{self._port}"
        environment = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
        environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost,::1")
        order = self._order
        try:
            nft = Nft(order.selection)
            before = nft.state(order.table)
            order.record.refused_while_closed = before.packets if before else 0
            self._rules = closed_rules(order, local=frozenset({self._port}))
            nft.apply(self._rules.text())
        except ToolError as error:
            order.record.cannot_prove.append(
                f"Nothing but its settings keeps Airlock to the proxy: no packet rules ({error.message})."
            )
            return Entrance(environment=environment)
        self._nft = nft
        return entrance(order.selection, resolver=False, environment=environment)

    def _allow(self) -> None:
        """Write the list beside, rename it into place, tell squid."""
        lines = []
        theirs = {name.lower().rstrip(".") for name in self._order.settings.private}
        for number, (name, port) in enumerate(self._order.places):
            lines += [f"acl host{number} dstdomain -n {name}", f"acl port{number} port {port}"]
            if self._looks_up and name not in theirs:
                lines.append(f"http_access deny host{number} port{number} private")
            lines.append(f"http_access allow host{number} port{number}")
        write_file(self._folder / "allowed.conf", ("\n".join(lines) + "\n").encode(), durable=False)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def _listening(self) -> None:
        deadline = time.monotonic() + _START
        while not self._answers():
            self._alive()
            if time.monotonic() > deadline:
                raise WindowError(
                    f"squid does not listen after {_START:.0f} s", remedy=f"See {self._folder}/cache.log."
                )
            await asyncio.sleep(0.05)

    async def _reloaded(self) -> None:
        """Wait until squid has read the list: it says so in its log, and listens again."""
        log = self._folder / "cache.log"
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            self._alive()
            told = log.read_text("utf-8", "replace") if log.exists() else ""
            if told.count("Accepting HTTP Socket connections") > 1 and self._answers():
                return
            await asyncio.sleep(0.05)
        raise WindowError("squid does not read the list of hosts", remedy=f"See {log}.")

    def _alive(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            assert self._process.stderr is not None
            words = self._process.stderr.read().decode("utf-8", "replace").strip()
            raise WindowError(f"squid does not start: {words[-500:]}", remedy=f"See {self._folder}/cache.log.")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1.0):
            return True
        return False
