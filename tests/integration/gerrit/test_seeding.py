"""A bundle's repositories in a real Gerrit: all of their history, nothing twice, nothing over what is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from boxes.gerrit import Gerrit
from boxes.logins import Login
from boxes.rest import quoted
from tests.bundle_samples import QUIET, Sample, make_sample, make_site, write_indexes, write_lock
from tests.git_upstream import commit, git, long_history, make_repository, served
from tests.integration.gerrit.conftest import Inside, MakeSite, Passage, make_project

from airlock.cli.import_ import _seeded
from airlock.core.errors import IntegrityError, StateError, UpstreamError, UsageError
from airlock.core.settings import Site, load_site
from airlock.evidence import ledger
from airlock.lock.model import make_lock
from airlock.site.importing import ImportResult, import_bundle

Project = Callable[[str], Inside]


@pytest.fixture(scope="session")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a folder with two repositories: ``kolla`` of 120 commits and tags, ``config`` of one."""
    folder = tmp_path_factory.mktemp("upstreams")
    long_history(folder / "kolla")
    make_repository(folder / "config", {"zuul.d/projects.yaml": "[]\n"}, "main")
    for name in ("kolla", "config"):
        git(folder / name, "update-server-info")
    with served(folder) as address:
        yield address, folder


@pytest.fixture(scope="session")
def sample(upstreams: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A factory that carries ``kolla`` by a tag and ``config`` by a branch."""
    address, _ = upstreams
    wanted = {"kolla": ("3.0.0", f"{address}/kolla/.git"), "config": ("main", f"{address}/config/.git")}
    return make_sample(tmp_path_factory.mktemp("sample"), repositories=wanted)


@pytest.fixture(scope="session")
def bundle(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(sample.bundle(tmp_path_factory.mktemp("media")).path)


def take(bundle: Path, site: Site) -> ImportResult:
    return import_bundle(bundle, site, expect=None, allow_older=False, reporter=QUIET)


def noted(site: Site, verb: str = "seed") -> list[dict[str, object]]:
    return [entry.data for entry in ledger.entries(site.ledger) if entry.verb == verb]


def lines(result: ImportResult) -> str:
    return "\n".join(line for found in result.repositories for line in _seeded(found))


def test_a_whole_history_arrives_with_its_tags_and_the_same_import_again_does_nothing(
    bundle, upstreams, make: MakeSite, project: Project
):
    _, folder = upstreams
    site = make("first")
    result = take(bundle, site)
    kolla, config = project("first/kolla"), project("first/config")
    head = git(folder / "kolla", "rev-parse", "main")
    assert kolla.refs("refs/heads", "refs/tags") == {
        "refs/heads/bundle/stream-r1": head,
        "refs/heads/main": head,
        **Inside(folder / "kolla/.git").refs("refs/tags"),
    }
    assert kolla("rev-list", "--count", "bundle/stream-r1") == "120"
    kolla("fsck", "--connectivity-only")
    assert kolla("symbolic-ref", "HEAD") == "refs/heads/main"
    assert config("rev-parse", "main") == git(folder / "config", "rev-parse", "main")
    assert [(one.repository, one.made, one.pushed, one.tags, one.state) for one in result.repositories] == [
        ("config", True, ("bundle/stream-r1", "main"), 0, "pushed"),
        ("kolla", True, ("bundle/stream-r1", "main"), 6, "pushed"),
    ]
    assert "made; bundle/stream-r1, main, 6 tags pushed" in lines(result)
    assert [entry["project"] for entry in noted(site)] == ["first/config", "first/kolla"]
    assert len(noted(site)[1]["tags"]) == 6  # type: ignore[arg-type]
    assert not (site.state / "seeding").exists()

    again = take(bundle, site)
    assert again.already
    assert [(one.made, one.pushed, one.tags, one.state) for one in again.repositories] == [(False, (), 0, "there")] * 2
    assert "all there already" in lines(again)
    assert len(noted(site)) == 2


def test_a_factory_that_locks_from_the_seeded_gerrit_gets_the_same_bundles(gerrit, bundle, sample, make, tmp_path):
    """Over git's own HTTP protocol, with a login: nothing of the history or its tags was lost on the way."""
    take(bundle, make("back"))
    login = gerrit.access.airlock
    address = gerrit.address.replace("://", f"://{login.user}:{quoted(login.password)}@") + "/a/back"
    again = make_sample(
        tmp_path, repositories={"kolla": ("3.0.0", f"{address}/kolla"), "config": ("main", f"{address}/config")}
    )
    assert [one for one in again.lock.artifacts if one.kind == "git"] == [
        one for one in sample.lock.artifacts if one.kind == "git"
    ]


def test_where_people_work_nothing_is_pushed_over(gerrit, bundle, make: MakeSite, project: Project):
    make_project(gerrit, "worked/config")
    own = project("worked/config")("rev-parse", "main")
    config, _ = take(bundle, make("worked")).repositories
    assert (config.made, config.pushed, config.state) == (False, ("bundle/stream-r1",), "differs")
    assert project("worked/config")("rev-parse", "main") == own


def test_how_to_propose_what_a_newer_bundle_brings_is_said_and_works_word_for_word(
    gerrit, make: MakeSite, project: Project, tmp_path
):
    upstream = make_repository(tmp_path / "upstream", {"zuul.yaml": "1\n"}, "main")
    git(upstream, "update-server-info")
    site = make("next")
    with served(upstream / ".git") as address:
        carried = {"config": ("main", address)}
        old = make_sample(tmp_path, repositories=carried).bundle(tmp_path / "media")
        (first,) = take(Path(old.path), site).repositories
        commit(upstream, "two", {"zuul.yaml": "2\n"})
        git(upstream, "update-server-info")
        new = make_sample(tmp_path, repositories=carried).bundle(tmp_path / "media")
    (config,) = take(Path(new.path), site).repositories
    assert (config.pushed, config.state) == (("bundle/stream-r2",), "differs")
    assert project("next/config")("rev-parse", "main") == first.commit
    # what the answer says, by a person whose clone has Gerrit's own hook for Change-Ids
    _, _, merging, pushing = [line.strip() for line in _seeded(config)]
    clone = Clone(tmp_path / "clone", gerrit, gerrit.access.reviewer, "next/config")
    hook = clone.folder / ".git/hooks/commit-msg"
    hook.parent.mkdir(exist_ok=True)
    with urllib.request.urlopen(f"{gerrit.address}/tools/hooks/commit-msg") as answer:
        hook.write_bytes(answer.read())
    hook.chmod(0o755)
    clone.run(merging)
    clone.run(pushing)
    admin = gerrit.rest(gerrit.access.admin)
    (change,) = admin.call("GET", f"/changes/?q=project:{quoted('next/config')}").json()
    for login, labels in ((gerrit.access.reviewer, {"Code-Review": 2}), (gerrit.access.zuul, {"Verified": 1})):
        place = f"/changes/{change['_number']}"
        gerrit.rest(login).call("POST", f"{place}/revisions/1/review", {"labels": labels})
    gerrit.rest(gerrit.access.reviewer).call("POST", f"{place}/submit", {})
    (config,) = take(Path(new.path), site).repositories
    assert (config.pushed, config.state) == ((), "ahead")
    assert len(_seeded(config)) == 1


class Clone:
    """A person's work tree of a project."""

    def __init__(self, folder: Path, gerrit: Gerrit, login: Login, project: str) -> None:
        access = gerrit.access
        ssh = f"ssh -F none -i {login.key} -o IdentitiesOnly=yes -o BatchMode=yes"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GIT_SSH_COMMAND": f"{ssh} -o UserKnownHostsFile={access.known_hosts}",
            **{
                f"GIT_{who}_{what}": f"{login.user}@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.folder = folder
        folder.mkdir()
        self.run(f"git clone -q ssh://{login.user}@{access.ssh_host}:{access.ssh_port}/{project} .")

    def run(self, line: str) -> str:
        result = subprocess.run(
            line, shell=True, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


def test_a_project_that_lacks_only_something_gets_only_that(gerrit, bundle, upstreams, make, project: Project):
    """The project, the working branch and a tag are there, one of the tags at another commit."""
    _, folder = upstreams
    site = make("partly")
    take(bundle, site)
    inside = project("partly/kolla")
    first = git(folder / "kolla", "rev-list", "--max-parents=0", "main")
    admin = gerrit.rest(gerrit.access.admin)
    for ref in ("branches/bundle%2Fstream-r1", "tags/light-80", "tags/light-40"):
        admin.call("DELETE", f"/projects/{quoted('partly/kolla')}/{ref}")
    admin.call("PUT", f"/projects/{quoted('partly/kolla')}/tags/light-40", {"revision": first})
    _, kolla = take(bundle, site).repositories
    assert (kolla.pushed, kolla.tags, kolla.other_tags) == (("bundle/stream-r1",), 1, ("light-40",))
    assert inside("rev-parse", "light-40") == first
    assert inside("rev-parse", "light-80") == git(folder / "kolla", "rev-parse", "light-80")
    assert "others there, and were left: light-40" in "\n".join(_seeded(kolla))


def test_a_bundles_branch_at_another_commit_is_an_error_and_nothing_is_pushed(gerrit, bundle, make, project: Project):
    make_project(gerrit, "moved/kolla")
    own = project("moved/kolla")("rev-parse", "main")
    admin = gerrit.rest(gerrit.access.admin)
    admin.call("PUT", f"/projects/{quoted('moved/kolla')}/branches/bundle%2Fstream-r1", {"revision": own})
    before = project("moved/kolla").refs("refs/heads", "refs/tags")
    site = make("moved")
    with pytest.raises(StateError, match=f"bundle/stream-r1 of moved/kolla in Gerrit is at {own}; stream-r1 has kolla"):
        take(bundle, site)
    assert project("moved/kolla").refs("refs/heads", "refs/tags") == before
    assert (site.artifacts / "bundles/stream-r1/COMMITTED.json").exists()


def test_a_wrong_password_is_said_without_it(gerrit, bundle, make, project: Project, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("n0t-it\n")
    wrong.chmod(0o600)
    site = make("wrong", login=Login("airlock", wrong))
    with pytest.raises(UsageError, match=r"does not take the password of user airlock \(401\)") as caught:
        take(bundle, site)
    assert "n0t-it" not in caught.value.message + caught.value.remedy
    assert str(wrong) in caught.value.remedy
    assert "stream-r1 is in the store" in caught.value.remedy
    assert not project("wrong/kolla").there
    # one that others may read is refused before anything is imported
    wrong.chmod(0o644)
    with pytest.raises(UsageError, match="others than its owner"):
        take(bundle, make("wrong", login=Login("airlock", wrong), name="early"))
    assert not (tmp_path / "early/artifacts").exists()


def test_a_missing_right_is_named(gerrit, bundle, make, project: Project):
    with pytest.raises(UsageError, match=r"create project not permitted\): create project rights/config") as caught:
        take(bundle, make("rights", login=gerrit.access.reviewer))
    assert "Create Project" in caught.value.remedy
    # may not push into what is there
    for name in ("config", "kolla"):
        make_project(gerrit, f"rights/{name}", commit=False)
    with pytest.raises(UsageError, match=r"refs/heads/bundle/stream-r1 .*prohibited by Gerrit") as caught:
        take(bundle, make("rights", login=gerrit.access.reviewer, name="second"))
    assert "Create Reference" in caught.value.remedy
    assert project("rights/config").refs("refs/heads") == {}


def test_two_repositories_of_one_project_are_refused(gerrit, bundle, make, tmp_path):
    site = make("same")
    text = (tmp_path / "site/site.toml").read_text().replace("same/kolla", "same/config")
    (tmp_path / "site/site.toml").write_text(text)
    with pytest.raises(UsageError, match="config and kolla of stream-r1 have one project in Gerrit: same/config"):
        take(bundle, load_site(site.root))


def test_a_gerrit_that_is_down_leaves_the_bundle_imported_and_the_same_command_seeds_it_later(
    gerrit, bundle, make, project: Project
):
    with pytest.raises(UpstreamError, match="cannot be reached") as caught:
        take(bundle, make("down", address="http://127.0.0.1:9"))
    assert "stream-r1 is in the store; the same import again seeds what Gerrit lacks" in caught.value.remedy
    result = take(bundle, make("down"))
    assert result.already
    assert result.copied == 0
    assert all(one.state == "pushed" for one in result.repositories)
    assert project("down/kolla").there


def test_what_is_no_gerrit_is_said(bundle, make, upstreams):
    address, _ = upstreams  # a plain web server
    with pytest.raises(UsageError, match="does not answer as Gerrit does"):
        take(bundle, make("none", address=address))


@pytest.mark.parametrize("push", [1, 2])
@pytest.mark.parametrize("orphan", ["dies", "comes through"])
def test_killed_in_the_middle_of_a_push_the_same_command_finishes(
    gerrit, bundle, make, project: Project, tmp_path, push, orphan
):
    """``push`` 1 is of branches, 2 of tags. git, which outlives the command, dies or comes through meanwhile."""
    below = f"killed-{push}-{orphan[0]}"
    gate = Passage(int(gerrit.address.rpartition(":")[2]), hold=push + 1)
    site = make(below, address=gate.address)
    make_project(gerrit, f"{below}/config", commit=False)
    # config has no tags, so that its one push comes first: then those of kolla
    code = "from airlock.cli.main import main; main()"
    command = [sys.executable, "-c", code, "import", "--site", str(site.root), str(bundle)]
    secret = gerrit.access.airlock.password
    try:
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert gate.held.wait(60)
        assert secret not in _command_lines()
        assert not [path for path in (site.state / "seeding").rglob("*") if path.is_file() and secret in _text(path)]
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        if orphan == "comes through":
            gate.release()
    finally:
        if orphan == "dies":
            gate.close()
    result = take(bundle, make(below))
    gate.close()
    head = {one.repository: one.commit for one in result.repositories}
    for name in ("config", "kolla"):
        inside = project(f"{below}/{name}")
        assert inside.refs("refs/heads") == {
            "refs/heads/bundle/stream-r1": head[name],
            "refs/heads/main": head[name],
        }
    assert len(project(f"{below}/kolla").refs("refs/tags")) == 6
    assert [one.repository for one in take(bundle, site_at(site, gerrit)).repositories if one.pushed or one.tags] == []


def site_at(site: Site, gerrit: Gerrit) -> Site:
    """The same site, its Gerrit reached directly."""
    assert site.gerrit is not None
    return msgspec.structs.replace(site, gerrit=msgspec.structs.replace(site.gerrit, address=gerrit.address))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _command_lines() -> str:
    found = ""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += place.read_text("utf-8", "replace")
        except OSError:
            continue
    assert "push\0--porcelain" in found, "no push was seen"
    return found


def test_a_git_bundle_that_lies_about_its_commit_is_never_pushed(gerrit, upstreams, make, project: Project, tmp_path):
    address, _ = upstreams
    honest = make_sample(tmp_path, name="lies", repositories={"config": ("main", f"{address}/config/.git")})
    (artifact,) = [one for one in honest.lock.artifacts if one.kind == "git"]
    other = commit(make_repository(tmp_path / "other"), "two", {"x": "x"})
    lying = msgspec.structs.replace(artifact, version=other)
    header = honest.lock.header
    lock = make_lock(
        release=header.release, definition=header.definition, kolla=header.kolla, witness=header.witness,
        requires=header.requires, images=honest.lock.images, demands=honest.lock.demands,
        artifacts=[lying if one == artifact else one for one in honest.lock.artifacts],
    )  # fmt: skip
    write_lock(honest.definition, lock)
    write_indexes(honest.factory, lock)
    made = Path(honest.bundle(tmp_path / "media").path)
    with pytest.raises(IntegrityError, match=f"is said to be of commit {other}, and is of {artifact.version}"):
        take(made, make("lies"))
    assert not project("lies/config").there


def test_a_site_without_a_gerrit_imports_as_before(bundle, tmp_path):
    assert take(bundle, make_site(tmp_path / "plain")).repositories == ()


@pytest.mark.full
def test_more_commits_than_gerrit_takes_in_a_push_are_seeded(gerrit, make, project: Project, tmp_path):
    folder = long_history(tmp_path / "kolla", 10_100)
    git(folder, "update-server-info")
    with served(folder / ".git") as address:
        made = make_sample(tmp_path, name="long", repositories={"kolla": ("main", address)})
    (kolla,) = take(Path(made.bundle(tmp_path / "media").path), make("long")).repositories
    assert (kolla.state, kolla.tags) == ("pushed", 504)
    assert int(project("long/kolla")("rev-list", "--count", "main")) == 10_100
