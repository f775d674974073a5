"""Environment B: the site with its own Nexus, registry, Gerrit and Zuul, in a network that has no way out.

Runs as a process of its own, where the factory's folder cannot be seen (``scripts/at-site``).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from boxes.gerrit import Gerrit
from boxes.network import HOST
from boxes.nexus import Nexus
from boxes.registry import Registry
from boxes.rest import Rest
from boxes.together import start_all
from boxes.zuul import Zuul, ZuulPorts
from boxes.zuul_config import Place, configure
from boxes.zuul_settings import CONFIG_PROJECT

from airlock.core.errors import DifferenceError
from airlock.core.files import write_file
from airlock.engine.skopeo import write_authfile
from demo import places
from demo.steps import Steps

AIRLOCK = places.SITE_AIRLOCK / "bin" / "airlock"
REASON = 'make demo STORES=real: {{ what is said }} "stays" as it\'s said'
OPERATOR = "operator@example.org"


class Site:
    """The site while its servers run. A context manager.

    Args:
        keep: leave the servers running.
    """

    def __init__(self, steps: Steps, bundle: str, paper: str, *, keep: bool) -> None:
        self.steps, self.bundle, self.paper, self.keep = steps, bundle, paper, keep
        self.media = places.MEDIA / bundle
        self.nexus = Nexus(places.SITE_BOXES / "nexus", port=places.SITE_NEXUS, repositories=[places.SITE_REPOSITORY])
        self.registry = Registry(places.SITE_BOXES / "registry", port=places.SITE_REGISTRY, user="site")
        self.gerrit = Gerrit(places.SITE_BOXES / "gerrit", port=places.SITE_GERRIT, ssh_port=places.SITE_GERRIT_SSH)
        self.zuul = Zuul(
            places.SITE_BOXES / "zuul", self.gerrit.access, ports=ZuulPorts.following(places.SITE_ZUUL),
            projects=[places.KOLLA], labels=["airlock-site"],
        )  # fmt: skip
        self._stack = ExitStack()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        if not self.keep or error is not None:
            self._stack.close()

    def arrive(self) -> None:
        """The media are checked, and bring the site its own Airlock."""
        with self.steps.step("media: checked with coreutils alone"):
            self.steps.run("sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS", cwd=self.media)
        with self.steps.step("install: the site's own airlock, from the bundle"):
            installer = self.media / "install-airlock.py"
            self.steps.run("/usr/bin/python3", installer, "--expect", self.paper, places.SITE_AIRLOCK)

    def serve(self) -> None:
        """Nexus, registry and Gerrit."""
        boxes = [self.nexus, self.registry, self.gerrit]
        with self.steps.step("servers: Artifacts Nexus, Images registry, Gerrit"):
            for box in boxes:
                self._stack.callback(box.stop)
            start_all(boxes)
            self._write_settings()
            self.steps.note(f"Nexus     {self.nexus.address}, its repository `{places.SITE_REPOSITORY}`")
            self.steps.note(f"registry  {self.registry.address}, which wants a login")
            self.steps.note(f"Gerrit    {self.gerrit.address}, ssh on port {places.SITE_GERRIT_SSH}")

    def take_in(self) -> None:
        """Verify and import: artifacts into Nexus, the base image into the registry, sources into Gerrit."""
        with self.steps.step("verify: the bundle, read as hostile"):
            self.steps.run(AIRLOCK, "verify", self.media)
        with self.steps.step("import: artifacts into Nexus, the base image into the registry, sources into Gerrit"):
            self.steps.run(AIRLOCK, "import", "--site", places.SITE, "--expect", self.paper, self.media)

    def build(self) -> dict[str, Any]:
        """Zuul's nodes are this site's own words; then an operator orders a build. What Zuul says of it."""
        with self.steps.step("Zuul: configured by the project that the bundle brought, and this site's own node"):
            variables = {"airlock_command": str(AIRLOCK), "airlock_site": str(places.SITE)}
            configure(self.zuul, Place(places.KOLLA, "airlock-site-build", variables), seeded=True)
            self._stack.callback(self.zuul.stop)
            self.zuul.start()
            self.zuul.token_file(places.SITE / "secrets" / "zuul-token", OPERATOR)
            ports = self.zuul.ports
            self.steps.note(f"Zuul      {self.zuul.address}, ports {ports.web} to {ports.streams}")
        with self.steps.step("build: an operator orders it, Zuul runs it, Kolla builds in the sealed room"):
            said = self.steps.run(
                AIRLOCK, "trigger", "build", "--site", places.SITE, "--bundle", self.bundle, "--reason", REASON
            )
        buildset = next(line.split()[1] for line in said.splitlines() if line.startswith("buildset"))
        found: dict[str, Any] = self.zuul.ask(f"buildset/{buildset}")
        return found

    def inspect(self, buildset: dict[str, Any]) -> None:
        """Zuul, record, ledger and registry tell the same of one build."""
        with self.steps.step("inspect: Zuul, the record, the ledger and the registry tell of the same build"):
            paths = sorted((places.SITE / "records").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
            record = json.loads(paths[-1].read_text("utf-8"))
            trigger, details = record["trigger"], record["trigger"]["details"]
            build = buildset["builds"][0]
            published = {one["name"]: one["url"] for one in build["artifacts"]}
            _same("Zuul's result", build["result"], "SUCCESS")
            _same("the buildset in the record", details["buildset"], buildset["uuid"])
            _same("the reason in the record", trigger["reason"], REASON)
            _same("the requester in the record", trigger["user"], OPERATOR)
            _same("the commit in the record", record["git"]["kolla"], buildset["refs"][0]["newrev"])
            _same("the artifacts that Zuul has", sorted(published), ["logs", "record"])
            fetched = Rest("the log server", HOST, published["record"]).call("GET", "")
            _same("the record that Zuul has", fetched.json(), record)
            self.steps.note(f"buildset  {buildset['uuid']}: {build['result']}, asked for by {trigger['user']}")
            self.steps.note(f"reason    {trigger['reason']}")
            self.steps.note(f"commit    {record['git']['kolla']} of {places.KOLLA}")
            self.steps.note(f"bundle    {record['bundle']['id']}, content {record['bundle']['digest']}")
            self.steps.run(
                places.SITE_AIRLOCK / "bin" / "python", "scripts/demo-inspect", paths[-1],
                environment={"REGISTRY_AUTH_FILE": str(self._registry_login())},
            )  # fmt: skip
            self.steps.run(AIRLOCK, "audit", "--site", places.SITE)
            self.steps.note(f"record    {paths[-1]}")

    def _write_settings(self) -> None:
        importer = self.nexus.make_repository(places.SITE_REPOSITORY).importer
        login, gerrit = self.registry.login, self.gerrit.access.airlock
        assert login is not None
        text = f"""# Written by `make demo STORES=real`.
name = "demo-site"

[artifacts]
nexus = "{self.nexus.address}"
repository = "{places.SITE_REPOSITORY}"
user = "{importer.user}"
password_file = "{importer.password_file}"

[images]
registry = "{self.registry.address}"
namespace = "kolla"
user = "{login.user}"
password_file = "{login.password_file}"

[gerrit]
address = "{self.gerrit.address}"
user = "{gerrit.user}"
password_file = "{gerrit.password_file}"

[gerrit.projects]
kolla = "{places.KOLLA}"
{places.SITE_CONFIG} = "{CONFIG_PROJECT}"

[zuul]
address = "{self.zuul.address}"
tenant = "{self.zuul.tenant}"
project = "{places.KOLLA}"
token_file = "secrets/zuul-token"

[build]
require_expect = true
"""
        write_file(places.SITE / "site.toml", text.encode())

    def _registry_login(self) -> Path:
        login = self.registry.login
        assert login is not None
        path = places.SITE / "secrets" / "registry.json"
        write_authfile(path, self.registry.host, login.user, login.password)
        return path


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise DifferenceError(f"{what} is {found!r}, not {wanted!r}")
