"""A real Gerrit: seeded as an import seeds it, reviewed as people and Zuul review."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from boxes.gerrit import Gerrit
from boxes.logins import Login
from boxes.rest import Rest, quoted
from tests.integration.boxes.listening import addresses

from airlock.core.process import clean_environment

PROJECT = "boxes/history"
CHANGE_ID = "I" + "8" * 40


class Clone:
    """A git work tree whose remote is the Gerrit, over ssh as one of its users."""

    def __init__(self, folder: Path, gerrit: Gerrit, login: Login, project: str = PROJECT) -> None:
        self.folder = folder
        access = gerrit.access
        self.ssh = ["ssh", "-F", "none", "-i", str(login.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                    "-o", f"UserKnownHostsFile={access.known_hosts}"]  # fmt: skip
        self.remote = f"ssh://{login.user}@{access.ssh_host}:{access.ssh_port}/{project}"
        self.environment = clean_environment(
            folder, GIT_SSH_COMMAND=" ".join(self.ssh), GIT_CONFIG_NOSYSTEM="1",
            GIT_AUTHOR_NAME="Author", GIT_AUTHOR_EMAIL="author@example.org",
            GIT_COMMITTER_NAME="Committer", GIT_COMMITTER_EMAIL="committer@example.org",
        )  # fmt: skip
        folder.mkdir(exist_ok=True)

    def git(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment | environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert result.returncode == 0 or not check, result.stderr
        return result

    def commit(self, name: str, message: str) -> str:
        (self.folder / name).write_text(message)
        self.git("add", name)
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()


@pytest.fixture(scope="module")
def admin(gerrit: Gerrit) -> Rest:
    return gerrit.rest(gerrit.access.admin)


@pytest.fixture(scope="module")
def seeded(gerrit: Gerrit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A project with a branch that has a merge of foreign commits, and two tags, made and pushed by ``airlock``."""
    login = gerrit.access.airlock
    clone = Clone(tmp_path_factory.mktemp("seed") / "work", gerrit, login)
    wanted = {"branches": ["master"], "create_empty_commit": False}
    gerrit.rest(login).call("PUT", f"/projects/{quoted(PROJECT)}", wanted)
    clone.git("init", "-q", "-b", "master")
    clone.commit("a", "First")
    clone.git("switch", "-q", "-c", "side")
    clone.commit("b", "Second")
    clone.git("switch", "-q", "master")
    clone.commit("c", "Third")
    clone.git("merge", "-q", "--no-ff", "-m", "Merge the side", "side")
    clone.git("tag", "light")
    clone.git("tag", "-a", "-m", "Annotated", "heavy")
    clone.git("push", "-q", "-o", "skip-validation", clone.remote, "refs/heads/*:refs/heads/*")
    clone.git("push", "-q", clone.remote, "refs/tags/*:refs/tags/*")
    listed = clone.git("for-each-ref", "--format=%(objectname) %(refname)").stdout.splitlines()
    return {ref: name for name, ref in (line.split() for line in listed)}


def test_history_with_merges_of_others_and_tags_is_seeded_as_it_was(gerrit, admin, seeded):
    branches = admin.call("GET", f"/projects/{quoted(PROJECT)}/branches/").json()
    assert {one["ref"]: one["revision"] for one in branches if one["ref"].startswith("refs/heads/")} == {
        ref: commit for ref, commit in seeded.items() if ref.startswith("refs/heads/")
    }
    tags = admin.call("GET", f"/projects/{quoted(PROJECT)}/tags/").json()
    assert {one["ref"]: one["revision"] for one in tags} == {
        ref: commit for ref, commit in seeded.items() if ref.startswith("refs/tags/")
    }


def test_a_seeded_branch_can_go_on_and_is_not_rewritten(gerrit, seeded, tmp_path):
    clone = Clone(tmp_path / "work", gerrit, gerrit.access.airlock)
    clone.git("clone", "-q", clone.remote, ".")
    commit = clone.commit("d", "Fourth")
    clone.git("push", "-q", "-o", "skip-validation", clone.remote, "HEAD:refs/heads/side-two")
    clone.git("reset", "-q", "--hard", "HEAD~1")
    clone.commit("e", "Another history")
    refused = clone.git("push", "-f", clone.remote, "HEAD:refs/heads/side-two", check=False)
    assert refused.returncode != 0
    branch = gerrit.rest(gerrit.access.zuul).call("GET", f"/projects/{quoted(PROJECT)}/branches/side-two").json()
    assert branch["revision"] == commit


class Events:
    """What Gerrit tells Zuul, from when it is sure that Zuul hears it."""

    def __init__(self, gerrit: Gerrit, folder: Path) -> None:
        zuul = Clone(folder, gerrit, gerrit.access.zuul)
        words = [
            *zuul.ssh,
            "-p",
            str(gerrit.access.ssh_port),
            f"zuul@{gerrit.access.ssh_host}",
            "gerrit",
            "stream-events",
        ]
        self._process = subprocess.Popen(words, env=zuul.environment, stdout=subprocess.PIPE)
        self._queue: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        branches = f"/projects/{quoted(PROJECT)}/branches"
        for number in range(100):
            gerrit.rest(gerrit.access.airlock).call("PUT", f"{branches}/heard-{number}", {"revision": "master"})
            with contextlib.suppress(queue.Empty):
                if self._queue.get(timeout=0.2) == "ref-updated":
                    break

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._queue.put(json.loads(line)["type"])

    def until(self, last: str) -> list[str]:
        kinds: list[str] = []
        while last not in kinds:
            kinds.append(self._queue.get(timeout=20))
        return kinds

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()


@pytest.fixture
def events(gerrit: Gerrit, seeded: dict[str, str], tmp_path: Path) -> Iterator[Events]:
    with contextlib.closing(Events(gerrit, tmp_path / "follow")) as stream:
        yield stream


def test_a_change_goes_in_with_a_persons_and_zuuls_vote_only(gerrit, events, tmp_path):
    reviewer, zuul = gerrit.rest(gerrit.access.reviewer), gerrit.rest(gerrit.access.zuul)
    clone = Clone(tmp_path / "work", gerrit, gerrit.access.reviewer)
    clone.git("clone", "-q", clone.remote, ".")
    clone.environment |= {"GIT_COMMITTER_EMAIL": "reviewer@example.org"}
    commit = clone.commit("f", f"Change it\n\nChange-Id: {CHANGE_ID}\n")
    assert clone.git("push", clone.remote, "HEAD:refs/heads/master", check=False).returncode != 0
    clone.git("push", "-q", clone.remote, "HEAD:refs/for/master%topic=demo")
    (found,) = zuul.call("GET", f"/changes/?q=change:{CHANGE_ID}").json()
    change = f"/changes/{quoted(PROJECT)}~{found['_number']}"

    def vote(who: Rest, label: str, value: int) -> int:
        return who.ask("POST", f"{change}/revisions/current/review", {"labels": {label: value}}).status

    assert vote(reviewer, "Code-Review", 2) == 200
    assert vote(reviewer, "Verified", 1) != 200
    assert reviewer.ask("POST", f"{change}/submit", {}).status == 409
    assert vote(zuul, "Verified", 1) == 200
    assert zuul.ask("POST", f"{change}/submit", {}).status == 200
    assert "patchset-created" in events.until("change-merged")
    clone.git("fetch", "-q", clone.remote, "master")
    clone.git("merge-base", "--is-ancestor", commit, "FETCH_HEAD")


def test_a_person_does_not_make_projects_and_airlock_does_not_submit(gerrit, seeded):
    access = gerrit.access
    assert gerrit.rest(access.reviewer).ask("PUT", "/projects/boxes%2Fforeign", {}).status == 403
    rights = gerrit.rest(access.airlock).call("GET", f"/access/?project={quoted(PROJECT)}").json()[PROJECT]
    assert "is_owner" not in rights


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_nobody_gets_in_with_another_password(gerrit, password):
    rest = Rest("gerrit", gerrit.network, f"{gerrit.address}/a", "admin", password)
    assert rest.ask("GET", "/accounts/self").status == 401


def test_secrets_are_for_their_owner_alone(gerrit):
    access = gerrit.access
    logins = [access.admin, access.zuul, access.airlock, access.reviewer]
    assert len({login.password for login in logins}) == len(logins)
    for login in logins:
        assert login.key is not None
        assert {login.password_file.stat().st_mode & 0o777, login.key.stat().st_mode & 0o777} == {0o600}
        for log in gerrit.logs():
            assert login.password.encode() not in log.read_bytes()


def test_it_listens_on_loopback_only(gerrit):
    assert addresses(gerrit) == {"127.0.0.1"}
