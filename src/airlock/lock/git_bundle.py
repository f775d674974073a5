"""A git repository as one file: a git bundle of one commit's whole history (docs/ecosystems/git.md).

``refs/heads/airlock`` is the commit, and HEAD leads there, so that plain ``git clone FILE`` gives it; where the commit
was asked for by a branch, the branch is there too; tags are those that lead to the commit's history.
"""

from __future__ import annotations

from pathlib import Path

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.core.git import TOO_LARGE, Git

BRANCH = "refs/heads/airlock"
HEADS = "refs/heads/"
TAGS = "refs/tags/"
_SETTINGS = ("-c", "pack.threads=1", "-c", "repack.writeBitmaps=false")


def write_git_bundle(git: Git, commit: str, branch: str, file: Path, where: str) -> None:
    """Make the bundle of a commit that a repository has. The same history and refs give the same bytes.

    Args, Raises: see ``tidy``.
    """
    tidy(git, commit, branch, where)
    said = git.ask(*_SETTINGS, "bundle", "create", "--quiet", str(file), "--all")
    if not said.ok:
        raise _unsound(said.words, where)


def tidy(git: Git, commit: str, branch: str, where: str) -> None:
    """Leave of a repository one commit's history, packed in one file, and the refs that lead to it.

    Args:
        git: its repository; loses all else.
        branch: full name of the ref that the commit was found at, if it was a branch.
        where: the repository and ref, for messages.

    Raises:
        ResolutionError: the history is broken or malformed: a Gerrit would refuse it, as git does, or it is too large.
    """
    kept = {BRANCH, branch} | set(git.refs(f"--merged={commit}", TAGS))
    changes = [f"delete {ref}\n" for ref in git.refs() if ref not in kept] + [f"update {BRANCH} {commit}\n"]
    git("update-ref", "--stdin", data="".join(changes).encode())
    git("symbolic-ref", "HEAD", BRANCH)
    # Packed anew, by one thread: what an upstream's server had packed how decides nothing.
    for command in ((*_SETTINGS, "repack", "-a", "-d", "-F", "-q"), ("fsck", "--no-progress", "--no-dangling")):
        said = git.ask(*command)
        if not said.ok:
            raise _unsound(said.words, where)


def _unsound(words: str, where: str) -> ResolutionError:
    if TOO_LARGE in words:
        return ResolutionError(f"{where}: its history is larger than a bundle carries", remedy=_ANOTHER)
    return ResolutionError(f"{where}: its history is not sound: {words}", remedy=_ANOTHER)


_ANOTHER = "Name another ref, or another repository: [upstreams.NAME] address in factory.toml."


def open_git_bundle(file: Path, commit: str, folder: Path, where: str) -> Git:
    """A bare repository of all that a bundle holds, in ``folder``, with the bundle proved to be of that commit.

    Nothing in it was checked out or run.

    Raises:
        IntegrityError: it is no whole bundle, or of another commit.
    """
    git = Git(folder)
    git.init()
    bundle_refs(git, file, commit, where)
    for command in (
        ("bundle", "verify", "--quiet", str(file)),  # it needs nothing that it does not hold
        ("fetch", "--quiet", "--no-tags", "--", str(file), f"+{HEADS}*:{HEADS}*", f"+{TAGS}*:{TAGS}*"),
    ):
        said = git.ask(*command)
        if not said.ok:
            raise IntegrityError(f"{where} is no whole git bundle: {said.words}", remedy=_BRING)
    if not git.object(BRANCH) == commit:
        raise IntegrityError(f"{where} does not hold its commit {commit}", remedy=_BRING)
    return git


def bundle_refs(git: Git, file: Path, commit: str, where: str) -> dict[str, str]:
    """What a bundle of that commit says that it holds: full names of branches and tags → ids, a tag's own included.

    Args:
        git: any repository of ours.

    Raises:
        IntegrityError: it is none, or of another commit.
    """
    said = git.ask("bundle", "list-heads", str(file))
    if not said.ok:
        raise IntegrityError(f"{where} is no git bundle: {said.words}", remedy=_BRING)
    lines = (line.partition(" ") for line in said.text.splitlines())
    found = {ref: ident for ident, _, ref in lines if ref.startswith((HEADS, TAGS))}
    if (held := found.get(BRANCH)) != commit:
        raise IntegrityError(f"{where} is said to be of commit {commit}, and is of {held or 'none'}", remedy=_BRING)
    return found


_BRING = "Do not trust the bundle. Write it again at the factory: `airlock lock`, `airlock bundle`."
