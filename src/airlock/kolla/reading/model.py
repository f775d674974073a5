"""What the reading of a Dockerfile hands on: commands, their details for the resolvers, the state a child inherits."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["home", "demand", "network-config", "unclassified"]

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Edit(msgspec.Struct, frozen=True):
    """One ``sed`` expression applied in place to a file; ``extended`` is ``-E``/``-r``."""

    expression: str
    extended: bool = False


class SourceRef(msgspec.Struct, frozen=True, tag="source"):
    """A path inside a source archive that Kolla puts into an image's build context.

    ``image``: the image whose context holds ``archive`` (file name, ``keystone-base-archive``). ``inner``: the path
    below the archive's single top folder when ``top`` is true, else below its root; ``""`` is the folder itself, and
    globs stay globs (``plugins/*pycadf*``). ``edits`` are applied in order.
    """

    image: str
    archive: str
    inner: str
    top: bool = True
    edits: tuple[Edit, ...] = ()


class ContextRef(msgspec.Struct, frozen=True, tag="context"):
    """A file of an image's build context, below ``docker/…`` of the rendered tree. ``sha256`` of its bytes."""

    image: str
    name: str
    sha256: str
    edits: tuple[Edit, ...] = ()


class DownloadRef(msgspec.Struct, frozen=True, tag="download"):
    """The file that a ``curl``/``wget`` of this Dockerfile (or a parent's) stored."""

    image: str
    url: str
    edits: tuple[Edit, ...] = ()


class TextRef(msgspec.Struct, frozen=True, tag="text"):
    """A file whose whole text is written by the Dockerfile itself (``echo … > file``); None where it cannot be told."""

    image: str
    text: str | None
    edits: tuple[Edit, ...] = ()


class RepositoryRef(msgspec.Struct, frozen=True, tag="repository"):
    """The source that ``extrepo enable NAME`` wrote: what it holds, extrepo's data say."""

    image: str
    name: str
    edits: tuple[Edit, ...] = ()


class GoneRef(msgspec.Struct, frozen=True, tag="gone"):
    """Removed by a Dockerfile (``rm -f /etc/apt/sources.list.d/debian.sources``), whoever had put it there."""

    image: str
    edits: tuple[Edit, ...] = ()


FileRef = SourceRef | ContextRef | DownloadRef | TextRef | RepositoryRef | GoneRef


class FileAt(msgspec.Struct, frozen=True):
    """``path`` in the image and what is there."""

    path: str
    ref: FileRef


class BaseImage(msgspec.Struct, frozen=True, tag="base-image"):
    """``FROM``: the parent by the name that stands in the Dockerfile."""

    reference: str


class AptCommand(msgspec.Struct, frozen=True, tag="apt"):
    """One ``apt``/``apt-get`` call, to be replayed in order by ``apt-get -s``.

    ``verb``: update, install, upgrade, dist-upgrade, full-upgrade, remove, purge, autoremove, clean, autoclean.
    ``args``: the operands after the verb, ``options`` every option word, both exactly as the shell hands them on.
    ``config``: the files below ``/etc/apt`` that the Dockerfiles (this and the parents') had put there by then.
    """

    line: int
    program: str
    verb: str
    args: tuple[str, ...]
    options: tuple[str, ...]
    config: tuple[FileAt, ...] = ()


class DnfCommand(msgspec.Struct, frozen=True, tag="dnf"):
    """One ``dnf`` call: verb, operands, option words, exactly as the shell hands them on."""

    line: int
    verb: str
    args: tuple[str, ...]
    options: tuple[str, ...]


class SourcePath(msgspec.Struct, frozen=True):
    """A path that a pip line installs: ``/keystone`` with extras, or ``/plugins/*``; and the archives it leads to."""

    path: str
    extras: tuple[str, ...]
    refs: tuple[FileRef, ...]


class RequirementFile(msgspec.Struct, frozen=True):
    """A file given to pip by ``-r`` or ``-c``: an obligation to read it from what ``ref`` says before resolving."""

    path: str
    ref: FileRef


class PipInstall(msgspec.Struct, frozen=True, tag="pip"):
    """One ``pip install``.

    ``requirements``: PEP 508 strings in order. ``interpreter``: path of the Python that pip installs for; ``venv`` its
    virtual environment (``""`` for the system's). ``conditional``: the line runs only when a test in the image says
    so (``if [ "$(ls /plugins)" ]``). ``words``: all arguments, to see the original order.
    """

    line: int
    interpreter: str
    venv: str
    requirements: tuple[str, ...]
    source_paths: tuple[SourcePath, ...]
    requirement_files: tuple[RequirementFile, ...]
    constraint_files: tuple[RequirementFile, ...]
    upgrade: bool
    options: tuple[str, ...]
    conditional: bool
    words: tuple[str, ...]


class VenvCreate(msgspec.Struct, frozen=True, tag="venv"):
    """``python3 -m venv``: ``path``, the interpreter it is made of, whether it sees the system's site-packages."""

    path: str
    interpreter: str
    system_site_packages: bool


class SourceAdd(msgspec.Struct, frozen=True, tag="source-add"):
    """``ADD X-archive``: the archive of the build context and where it is unpacked."""

    archive: str
    path: str


class VendorRepository(msgspec.Struct, frozen=True, tag="vendor-repository"):
    """``extrepo enable NAME``."""

    name: str


class KeyFetch(msgspec.Struct, frozen=True, tag="key"):
    """``gpg --keyserver … --recv-keys``."""

    keyserver: str
    keys: tuple[str, ...]


class Download(msgspec.Struct, frozen=True, tag="download"):
    """``curl``/``wget`` of one URL; ``path`` it is stored at, ``""`` when it goes to standard output."""

    url: str
    path: str


class Galaxy(msgspec.Struct, frozen=True, tag="galaxy"):
    """``ansible-galaxy collection install``: named collections, requirement files (obligations), target folder."""

    names: tuple[str, ...]
    requirement_files: tuple[RequirementFile, ...]
    path: str
    interpreter: str


class Names(msgspec.Struct, frozen=True, tag="names"):
    """Things asked for by name: gems, Grafana plugins."""

    names: tuple[str, ...]


class GitClone(msgspec.Struct, frozen=True, tag="git"):
    """``git clone URL [PATH]``."""

    url: str
    path: str
    branch: str


class Playbook(msgspec.Struct, frozen=True, tag="playbook"):
    """``ansible-playbook``: the playbooks (container paths) and every argument word; what they fetch must be known."""

    playbooks: tuple[str, ...]
    words: tuple[str, ...]


Detail = (
    BaseImage
    | AptCommand
    | DnfCommand
    | PipInstall
    | VenvCreate
    | SourceAdd
    | VendorRepository
    | KeyFetch
    | Download
    | Galaxy
    | Names
    | GitClone
    | Playbook
)


class Command(msgspec.Struct, frozen=True):
    """One simple command of a RUN, or one instruction.

    ``line``: physical line in the Dockerfile, from 1. ``argv``: its words, evaluated with ENV and ARG; what cannot be
    told stands between ``⟨`` and ``⟩``. ``demand``: for kind demand, which (``apt-install``, ``pip-install``,
    ``source-add``, ``vendor-repository``, ``key``, ``download``, ``galaxy``, ``gem``, ``grafana-plugin``, ``git``,
    ``playbook``, ``dnf-…``, ``base-image``); commands that change the set of packages without a demand of their own
    (``apt-clean``) name it too. ``reason`` and ``remedy``: for unclassified. ``condition``: source text of the
    ``if``, loop or ``||`` that the command hangs on, ``""`` when it always runs. ``writes``: container paths written.
    """

    line: int
    argv: tuple[str, ...]
    kind: Kind
    demand: str = ""
    reason: str = ""
    remedy: str = ""
    condition: str = ""
    writes: tuple[str, ...] = ()
    detail: Detail | None = None


class Link(msgspec.Struct, frozen=True):
    """A symbolic link made by a RUN: ``path`` → ``target`` (absolute, may hold a glob)."""

    path: str
    target: str


class EditAt(msgspec.Struct, frozen=True):
    """An edit of the file at ``path`` (links followed)."""

    path: str
    edit: Edit


class ImageState(msgspec.Struct, frozen=True):
    """What a Dockerfile leaves to the images built FROM it.

    ``env``: name → value, None where the value cannot be told. ``files``: where things in the image are from, later
    ones winning. ``shims``: Airlock's own stand-ins for commands, name → path. ``venvs``: virtual environments made.
    """

    env: dict[str, str | None] = msgspec.field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    workdir: str = "/"
    user: str = "root"
    files: tuple[FileAt, ...] = ()
    links: tuple[Link, ...] = ()
    edits: tuple[EditAt, ...] = ()
    venvs: tuple[VenvCreate, ...] = ()
    shims: dict[str, str] = msgspec.field(default_factory=dict)
    written: tuple[str, ...] = ()


class ImageReading(msgspec.Struct, frozen=True):
    """The reading of one Dockerfile: ``image`` is its name, ``commands`` in order, ``state`` for child images."""

    image: str
    commands: tuple[Command, ...]
    state: ImageState

    @property
    def unclassified(self) -> tuple[Command, ...]:
        """The commands that no rule knows."""
        return tuple(command for command in self.commands if command.kind == "unclassified")

    @property
    def demands(self) -> tuple[Command, ...]:
        """The commands that ask for something from outside."""
        return tuple(command for command in self.commands if command.kind == "demand")


class RefusalError(Exception):
    """Raised inside the reader: this cannot be told to be harmless. Becomes an unclassified Command, never leaves."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
