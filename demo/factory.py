"""Environment A: the connected factory with its own Nexus, Gerrit and Zuul, from the definition to the bundle."""

from __future__ import annotations

import time
import tomllib
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from boxes.gerrit import Gerrit
from boxes.git import Repository, push_files
from boxes.network import HOST
from boxes.nexus import Nexus
from boxes.registry import Registry
from boxes.rest import Rest, quoted
from boxes.together import start_all
from boxes.zuul import Zuul, ZuulPorts
from boxes.zuul_config import Place, configure, shared_files

from airlock.core.errors import DifferenceError, UpstreamError
from airlock.core.files import write_file
from airlock.evidence.ledger import utc_now
from demo import places, window
from demo.release import write_definition
from demo.steps import ROOT, StepError, Steps

AIRLOCK = ROOT / ".venv" / "bin" / "airlock"
VOTE = 600.0  # seconds that a vote may take on a busy machine
TOLD = "site-config"  # the repository, at the factory, that becomes the site's config project


class Factory:
    """The factory while its servers run. A context manager."""

    def __init__(self, steps: Steps, images: list[str]) -> None:
        self.steps, self.images = steps, images
        self.nexus = Nexus(
            places.FACTORY_BOXES / "nexus", port=places.FACTORY_NEXUS, repositories=[places.FACTORY_REPOSITORY]
        )
        self.registry = Registry(places.FACTORY_BOXES / "registry", port=places.FACTORY_REGISTRY)
        self.gerrit = Gerrit(
            places.FACTORY_BOXES / "gerrit", port=places.FACTORY_GERRIT, ssh_port=places.FACTORY_GERRIT_SSH
        )
        self._stack = ExitStack()
        self._since = utc_now()

    def __enter__(self) -> Factory:
        self.steps.say(f"Environment A: the connected factory ({places.FACTORY})")
        boxes = [self.nexus, self.gerrit, self.registry]
        with self.steps.step("servers: Nexus, Gerrit and a registry of base images"):
            for box in boxes:
                self._stack.callback(box.stop)
            start_all(boxes)
            self.steps.note(f"Nexus     {self.nexus.address}, its repository `{places.FACTORY_REPOSITORY}`")
            self.steps.note(f"Gerrit    {self.gerrit.address}, ssh on port {places.FACTORY_GERRIT_SSH}")
            self.steps.note(f"registry  {self.registry.address}, a stand-in for the one that is out of reach here")
        self._admin = self.gerrit.rest(self.gerrit.access.admin)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def seed(self) -> None:
        """What people keep in the factory's Gerrit: Kolla, the site's configuration, the release definitions."""
        with self.steps.step("sources: Kolla's repository, the site's configuration, the release definition"):
            kolla = places.FACTORY / "kolla.git"
            version = _example_version()
            self.steps.run("scripts/kolla-repository", version, kolla)
            self._project(places.KOLLA)
            push = Repository(
                places.FACTORY / "kolla.push", self.gerrit.access, places.KOLLA, self.gerrit.access.airlock, HOST
            )
            push.git("fetch", "--quiet", kolla, "refs/heads/main", "+refs/tags/*:refs/tags/*")
            push.git("push", "--quiet", "-o", "skip-validation", push.address, "FETCH_HEAD:refs/heads/main")
            push.git("push", "--quiet", push.address, "--tags")
            self.steps.note(f"{places.KOLLA}: {version}, made of the release's sdist (a stand-in for OpenStack's)")
            self._project(TOLD)
            files = shared_files(Place(places.KOLLA, "airlock-site-build"))
            push_files(self.gerrit.access, TOLD, "main", files, "Pipelines, jobs and playbooks of Airlock", HOST)
            image = self.steps.run("scripts/stand-in-base", places.FACTORY / "base-image", self.registry.address)
            write_definition(
                places.DEFINITION, images=self.images, base_image=image.split()[-1], projects=[places.SITE_CONFIG]
            )
            self._write_settings()

    def lock(self) -> None:
        """Lock, refresh, validate: every artifact is in Nexus afterwards."""
        lock = places.DEFINITION / "airlock.lock"
        fresh = lock.exists() and lock.stat().st_mtime > (ROOT / ".venv" / ".installed").stat().st_mtime
        with self.steps.step("lock: derive from Kolla everything the build takes from outside"):
            if not (fresh and self._solved_again()):
                self.steps.run(AIRLOCK, "lock", "--factory", places.FACTORY, places.DEFINITION)
        with self.steps.step("refresh: fetch exactly that, and put it into Nexus"):
            self.steps.run(AIRLOCK, "refresh", "--factory", places.FACTORY, places.DEFINITION)
            self.steps.note(window.told(places.FACTORY, self._since))
        with self.steps.step("validate: prove that nothing is missing"):
            self.steps.run(AIRLOCK, "validate", "--factory", places.FACTORY, places.DEFINITION)

    def review(self) -> None:
        """Two changes of the definition: the good one gets Zuul's vote and is merged, the bad one is refused."""
        with self.steps.step("review: Zuul proves changes of the release definition in Gerrit"):
            self._project(places.DEFINITIONS)
            ports = ZuulPorts.following(places.FACTORY_ZUUL)
            zuul = Zuul(
                places.FACTORY_BOXES / "zuul", self.gerrit.access, ports=ports, projects=[places.DEFINITIONS],
                labels=["airlock-factory"],
            )  # fmt: skip
            variables = {"airlock_factory": str(places.FACTORY), "airlock_command": str(AIRLOCK)}
            push_files(self.gerrit.access, places.DEFINITIONS, "main", _README, "Begin", HOST)
            configure(zuul, Place(places.DEFINITIONS, "airlock-factory-definition", variables))
            with zuul:
                self.steps.note(f"Zuul      {zuul.address}, ports {ports.web} to {ports.streams}")
                good = self._change("Release as locked", {})
                text = (places.DEFINITION / "release.toml").read_text("utf-8")
                bad = self._change(
                    "Change a pin, and forget to lock",
                    {"release.toml": text.replace("\npins = []", '\npins = ["six<1"]')},
                )
                for number, wanted in ((good, 1), (bad, -1)):
                    self._await_vote(number, wanted)
                self._admin.call("POST", f"/changes/{bad}/abandon")
                self._merge(good)

    def bundle(self) -> tuple[str, str]:
        """Write the bundle; its id, and the manifest's digest for the transfer paper."""
        with self.steps.step("bundle: write it to the media"):
            places.MEDIA.mkdir(parents=True, exist_ok=True)
            said = self.steps.run(
                AIRLOCK, "bundle", "--factory", places.FACTORY, "--media", places.MEDIA, places.DEFINITION
            )
        told = {words[0]: words[1] for line in said.splitlines() if len(words := line.split()) > 1}
        return Path(told["folder"]).name, told["manifest"]

    def _project(self, name: str) -> None:
        path = f"/projects/{quoted(name)}"
        if not self._admin.ask("GET", path).ok:
            self._admin.call("PUT", path, {"branches": ["main"], "create_empty_commit": False})

    def _write_settings(self) -> None:
        importer = self.nexus.make_repository(places.FACTORY_REPOSITORY).importer
        chosen = window.here()
        self.steps.note(f"the window: {chosen.words}; this machine's own servers need none")
        text = f"""# Written by `make demo STORES=real`.
[upstreams.kolla]
address = "{self.gerrit.address}/{places.KOLLA}"

[upstreams.{places.SITE_CONFIG}]
address = "{self.gerrit.address}/{TOLD}"

[upstreams."{self.registry.host}"]
address = "{self.registry.address}"

[artifacts]
nexus = "{self.nexus.address}"
repository = "{places.FACTORY_REPOSITORY}"
user = "{importer.user}"
password_file = "{importer.password_file}"

{window.table(chosen)}"""
        write_file(places.FACTORY / "factory.toml", text.encode())

    def _solved_again(self) -> bool:
        try:
            self.steps.run(AIRLOCK, "lock", "--check", "--factory", places.FACTORY, places.DEFINITION)
        except StepError:  # it is locked anew then
            return False
        return True

    def _change(self, subject: str, differing: dict[str, str]) -> int:
        """A change that makes the project hold the definition; its number."""
        files = {path.name: path.read_bytes() for path in places.DEFINITION.iterdir() if path.is_file()}
        files |= {name: text.encode() for name, text in differing.items()}
        access = self.gerrit.access
        with TemporaryDirectory(prefix="airlock-demo-") as name:
            work = Repository(Path(name), access, places.DEFINITIONS, access.reviewer, HOST)
            work.git("fetch", "--quiet", work.address, "refs/heads/main")
            work.git("checkout", "--quiet", "-B", "main", "FETCH_HEAD")
            work.write({f"{places.DEFINITION.name}/{file}": data for file, data in files.items()} | _README)
            commit = work.commit(f"{subject}\n\nChange-Id: I{time.time_ns():040x}", "--allow-empty")
            work.git("push", "--quiet", work.address, "HEAD:refs/for/main")
        found = self._admin.call("GET", f"/changes/?q=commit:{commit}").json()
        number = int(found[0]["_number"])
        self.steps.note(f"change {number}: {subject}")
        return number

    def _await_vote(self, number: int, wanted: int) -> None:
        deadline = time.monotonic() + VOTE
        while time.monotonic() < deadline:
            detail = self._admin.call("GET", f"/changes/{number}/detail").json()
            votes = [vote.get("value", 0) for vote in detail["labels"]["Verified"].get("all", [])]
            if any(votes):
                said = detail["messages"][-1]["message"].strip().splitlines()
                self.steps.note(f"change {number}: Verified {max(votes, key=abs):+d}   {said[-1][:110]}")
                if wanted not in votes:
                    told = detail["messages"][-1]["message"]
                    raise DifferenceError(f"change {number} was to get Verified {wanted:+d}; Zuul says:\n{told}")
                return
            time.sleep(1)
        raise UpstreamError(f"change {number} got no vote in {VOTE:.0f} s", remedy=_LOGS)

    def _merge(self, number: int) -> None:
        """A person approves it; the gate proves it once more and merges it."""
        reviewer: Rest = self.gerrit.rest(self.gerrit.access.reviewer)
        reviewer.call("POST", f"/changes/{number}/revisions/current/review", {"labels": {"Code-Review": 2}})
        deadline = time.monotonic() + VOTE
        while (state := self._admin.call("GET", f"/changes/{number}").json()["status"]) != "MERGED":
            if time.monotonic() > deadline:
                raise UpstreamError(f"change {number} is {state} after {VOTE:.0f} s", remedy=_LOGS)
            time.sleep(1)
        self.steps.note(f"change {number}: approved, proved once more, merged by Zuul")


_LOGS = f"Zuul's logs are in {places.FACTORY_BOXES}/zuul; `make demo STORES=real` goes on from here."
_README = {"README.md": b"Release definitions, and the locks that belong to them.\n"}


def _example_version() -> str:
    return str(tomllib.loads((ROOT / "examples/keystone/release.toml").read_text("utf-8"))["kolla"]["version"])
