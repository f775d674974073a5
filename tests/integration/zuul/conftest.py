"""A site whose Gerrit and Zuul are real, all of it in a network namespace that has loopback and nothing else.

On the node a stand-in for ``airlock`` leaves the traces of a build (``stub_airlock.py``): these tests are about Zuul's
ways. ``airlock import`` and ``airlock trigger`` are the real ones.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes.gerrit import Gerrit
from boxes.git import Repository, push_files
from boxes.network import Network
from boxes.rest import quoted
from boxes.zuul import Zuul, ZuulPorts
from boxes.zuul_config import Place, configure
from boxes.zuul_install import install
from tests.bundle_samples import make_sample
from tests.git_upstream import make_repository, served
from tests.integration.faults.airlock_runs import Ended, airlock, done

from airlock.core.process import run

HERE = Path(__file__).parent
STUB = HERE / "stub_airlock.py"
KOLLA, DEFINITIONS = "openstack/kolla", "definitions"
PATIENCE = 180.0  # seconds; the machine may have other work
FIRST_PORT = 24000
RUN = "from airlock.cli.main import main; main()"
DEFINITION = b'name = "stream"\n'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test-zuul` runs these, and nothing else does."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.zuul)


def until(what: str, ask: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + patience
    while not (found := ask()):
        assert time.monotonic() < end, f"{what} did not come about in {patience:.0f} s"
        time.sleep(0.5)
    return found


class World:
    """The site, as these tests speak to it."""

    def __init__(self, network: Network, review: Gerrit, zuul: Zuul, site: Path, bundle: str, commit: str) -> None:
        self.network, self.review, self.zuul = network, review, zuul
        self.site, self.bundle, self.commit = site, bundle, commit
        self.ref = f"refs/heads/bundle/{bundle}"
        self.seconds = 0.0

    def airlock(self, *words: str | Path, timeout: float = 600) -> Ended:
        """A verb on this site."""
        return airlock(*words, "--site", self.site, before=self.network.command([]), timeout=timeout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A verb on this site, that is not awaited."""
        command = [*self.network.command([]), sys.executable, "-c", RUN, *words, "--site", str(self.site)]
        # Whoever runs these tests in the background has Ctrl-C ignored, which processes inherit.
        command = ["env", "--default-signal=INT", *command]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def trigger(self, reason: str, *words: str | Path, bundle: str = "") -> Ended:
        """``airlock trigger build``."""
        return self.airlock("trigger", "build", "--bundle", bundle or self.bundle, f"--reason={reason}", *words)

    def doctor(self, *words: str) -> Ended:
        """``airlock doctor`` of this site."""
        return airlock("doctor", "--site", "--at", self.site, *words, before=self.network.command([]))

    def told(self, result: Ended) -> dict[str, Any]:
        """The answer of a verb that was to give JSON."""
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        return document

    def get(self, url: str) -> bytes:
        """What a server in the namespace has at an address."""

        def ask() -> bytes:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read())

        return self.network.inside(ask)

    def records(self) -> list[dict[str, Any]]:
        """What the stand-in wrote, the newest first."""
        paths = sorted(self.site.glob("records/*/record.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [json.loads(path.read_text()) for path in paths]

    def ledger(self) -> list[dict[str, Any]]:
        """Entries of the site's ledger."""
        return [json.loads(line) for line in (self.site / "ledger.jsonl").read_text().splitlines()]

    def work(self, seconds: float) -> None:
        """How long the next builds take."""
        (self.site / "seconds").write_text(str(seconds))

    def builds(self) -> list[str]:
        """Command lines of builds on the node."""
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes().split(b"\0")
            except OSError:
                continue
            if str(STUB).encode() in words and b"build" in words:
                found.append(b" ".join(words).decode())
        return found

    def buildsets(self) -> list[dict[str, Any]]:
        """Zuul's newest buildsets of Kolla."""
        found = self.zuul.ask(f"buildsets?project={KOLLA}&pipeline=build")
        assert isinstance(found, list)
        return found

    def change(self, folder: Path, text: str) -> str:
        """Push a change of the release definition for review; its id."""
        access = self.review.access
        work = Repository(folder, access, DEFINITIONS, access.reviewer, self.network)
        work.git("fetch", "--quiet", work.address, "refs/heads/master")
        work.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
        work.write({"stream/release.toml": text.encode()})
        ident = f"I{secrets.token_hex(20)}"
        work.commit(f"Change the definition\n\nChange-Id: {ident}")
        work.git("push", "--quiet", work.address, "HEAD:refs/for/master")
        return ident

    def ask_review(self, path: str) -> Any:
        """What Gerrit answers its administrator."""
        return self.review.rest(self.review.access.admin).call("GET", path).json()

    def vote(self, ident: str) -> int:
        """What Zuul has voted."""
        votes = self.ask_review(f"/changes/{ident}/detail")["labels"]["Verified"].get("all", [])
        return next((vote.get("value", 0) for vote in votes if vote["username"] == "zuul"), 0)

    def approve(self, ident: str) -> None:
        """Code-Review +2, by the reviewer."""
        rest = self.review.rest(self.review.access.reviewer)
        rest.call("POST", f"/changes/{ident}/revisions/current/review", {"labels": {"Code-Review": 2}})


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        pytest.skip("makes a network namespace")
    name = f"awz{os.getpid()}"
    run(["ip", "netns", "add", name], check=True)
    run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield Network(name)
    run(["ip", "netns", "delete", name], check=True)


@pytest.fixture(scope="session")
def review(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gerrit]:
    place = tmp_path_factory.mktemp("review")
    with Gerrit(place, port=FIRST_PORT, ssh_port=FIRST_PORT + 1, network=network) as box:
        yield box


@pytest.fixture(scope="session")
def world(network: Network, review: Gerrit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    site = root / "site"
    site.mkdir()
    zuul = Zuul(
        root / "zuul", review.access, ports=ZuulPorts.following(FIRST_PORT + 10), projects=[KOLLA, DEFINITIONS],
        labels=["airlock-site", "airlock-factory"], tenant="plant-7", network=network,
    )  # fmt: skip
    site.joinpath("site.toml").write_text(
        f'name = "plant-7"\n[gerrit]\naddress = "{review.address}"\nuser = "{review.access.airlock.user}"\n'
        f'password_file = "{review.access.airlock.password_file}"\n[gerrit.projects]\nkolla = "{KOLLA}"\n'
        f'[zuul]\naddress = "{zuul.address}"\ntenant = "{zuul.tenant}"\ntoken_file = "token"\n'
    )
    make_repository(root / "upstream/kolla", {"README": "Kolla\n"})
    with served(root / "upstream") as address:
        upstream = f"{address}/kolla/.git"
        run(["git", "-C", root / "upstream/kolla", "update-server-info"], check=True)
        sample = make_sample(root / "factory", repositories={"kolla": ("master", upstream)})
    media = root / "media"
    bundle = Path(sample.bundle(media).path)
    done(airlock("import", bundle, "--site", site, before=network.command([])))
    access = review.access
    configure(
        zuul,
        Place(KOLLA, "airlock-site-build", {"airlock_command": str(STUB), "airlock_site": str(site)}),
        Place(DEFINITIONS, "airlock-factory-definition", {"airlock_command": str(STUB), "airlock_factory": "/factory"}),
    )
    push_files(access, DEFINITIONS, "master", {"stream/release.toml": DEFINITION}, "A definition", network)
    seeded = f"/projects/{quoted(KOLLA)}/branches/{quoted(f'bundle/{bundle.name}')}"
    commit = review.rest(access.admin).call("GET", seeded).json()["revision"]
    world = World(network, review, zuul, site, bundle.name, commit)
    install()
    began = time.monotonic()
    with zuul:
        world.seconds = time.monotonic() - began
        zuul.token_file(site / "token", "olga")
        yield world


@pytest.fixture(autouse=True)
def _quiet(world: World) -> Iterator[None]:
    """Builds take no time and succeed, unless a test says otherwise; none is left behind."""
    world.work(0)
    (world.site / "fail").unlink(missing_ok=True)
    yield
    for buildset in world.buildsets():
        if buildset["result"] is None:
            done(world.airlock("trigger", "cancel", "--buildset", buildset["uuid"]))
