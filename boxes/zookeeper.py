"""ZooKeeper with TLS, as Zuul wants it, from Debian's packages.

It begins empty at each start: Zuul keeps nothing there that it cannot make again, and the session of a process that was
killed would hold its locks for as long as the session lasts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from airlock.core.errors import ToolError
from airlock.core.files import write_file
from boxes.box import Box
from boxes.java import java_17
from boxes.network import HOST, LOOPBACK, Network
from boxes.tls import Certificates, certificates

_JARS = Path("/usr/share/java")
# Without netty-codec it says NoClassDefFoundError, and its clients see no more than a connection that ends.
_CLASSES = {"zookeeper.jar": "zookeeper", "netty-codec.jar": "libnetty-java", "slf4j-simple.jar": "libslf4j-java"}
_CONFIG = """tickTime=2000
dataDir={data}
admin.enableServer=false
secureClientPort={port}
secureClientPortAddress={host}
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={tls.server}
ssl.keyStore.type=PEM
ssl.trustStore.location={tls.authority}
ssl.trustStore.type=PEM
maxClientCnxns=200
"""


class ZooKeeper(Box):
    """One ZooKeeper; TLS alone, for clients whose certificate its own authority has signed.

    Args:
        folder: data, certificates, log.
        port: of TLS.
        network: where it lives.
    """

    name: ClassVar[str] = "zookeeper"

    def __init__(self, folder: Path, *, port: int, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)
        self.address = f"localhost:{port}"
        self._port = port

    @property
    def tls(self) -> Certificates:
        """What its clients need."""
        return certificates(self.folder / "tls")

    def command(self) -> Sequence[str | Path]:
        """The server alone, quick to start rather than fast."""
        classes = ":".join(str(_JARS / jar) for jar in _CLASSES)
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Duser.home={self.folder / 'home'}"]
        log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return [java_17() / "bin/java", *options, log, "-cp", classes, main, self.folder / "zoo.cfg"]

    def prepare(self) -> None:
        """Write its configuration; make certificates the first time.

        Raises:
            ToolError: one of Debian's packages is missing.
        """
        for jar, package in _CLASSES.items():
            if not (_JARS / jar).exists():
                raise ToolError(f"{jar} is not installed", remedy=f"apt-get install --no-install-recommends {package}")
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        config = _CONFIG.format(data=self.folder / "data", port=self._port, host=LOOPBACK, tls=self.tls)
        write_file(self.folder / "zoo.cfg", config.encode())
