"""Commands that fetch something: what they ask for, exactly, or a refusal."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from airlock.kolla.reading.call import Call
from airlock.kolla.reading.handle_shell import interpreter, require_safe_folder
from airlock.kolla.reading.model import (
    AptCommand,
    DnfCommand,
    Download,
    DownloadRef,
    Galaxy,
    GitClone,
    GoneRef,
    KeyFetch,
    Kind,
    Names,
    PipInstall,
    Playbook,
    RefusalError,
    RepositoryRef,
    RequirementFile,
    SourcePath,
    SourceRef,
    VendorRepository,
)
from airlock.kolla.reading.verdict import Verdict
from airlock.kolla.reading.words import Word

_ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz",
             ".tar.lzma")  # fmt: skip
_SOURCE_PATH = re.compile(r"(/[^\[\]]+?)(?:\[([A-Za-z0-9_.,-]+)\])?")


def apt(call: Call) -> Verdict:
    """``apt``/``apt-get``: verb, options and operands as they stand, with the files below /etc/apt at that moment."""
    operands = tuple(call.pattern(word, "the package") for word in call.args.operands)
    verb, *rest = operands
    config = call.fs.below("/etc/apt")
    detail = AptCommand(call.line, call.name, verb, tuple(rest), tuple(call.args.words), config)
    return Verdict(call.rule.kind, f"apt-{verb}", detail)


def dnf(call: Call) -> Verdict:
    """``dnf``: as for apt."""
    verb, *rest = (call.pattern(word, "the package") for word in call.args.operands)
    return Verdict(call.rule.kind, f"dnf-{verb}", DnfCommand(call.line, verb, tuple(rest), tuple(call.args.words)))


def pip(call: Call) -> Verdict:
    """``pip install``: requirements, source paths, ``-r`` and ``-c`` files, each told apart as pip does."""
    if not call.path or not call.path.rpartition("/")[2].startswith("pip"):
        require_safe_folder(call)
    if call.rule.kind == "home":
        return call.verdict()
    requirements: list[str] = []
    sources: list[SourcePath] = []
    for word in call.operands:
        text = call.pattern(word, "the requirement")
        if text.startswith("/"):
            sources.append(_source_path(call, text))
        else:
            requirements.append(_requirement(text))
    files = {name: _files(call, name) for name in ("r", "c")}
    if not requirements and not sources and not files["r"]:
        raise RefusalError("pip install of nothing")
    detail = PipInstall(
        line=call.line,
        interpreter=interpreter(call),
        venv=call.venv.path if call.venv else "",
        requirements=tuple(requirements),
        source_paths=tuple(sources),
        requirement_files=files["r"],
        constraint_files=files["c"],
        upgrade=call.args.has("U", "upgrade"),
        options=tuple(call.args.words),
        conditional=bool(call.condition),
        words=tuple(word.text for word in call.words),
    )
    return call.verdict(detail)


def _files(call: Call, letter: str) -> tuple[RequirementFile, ...]:
    names = {"r": ("r", "requirement"), "c": ("c", "constraint")}[letter]
    return tuple(call.obligation(word, f"pip's -{letter} file") for word in call.args.values(*names))


def _requirement(text: str) -> str:
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise RefusalError(
            f"{text} is no requirement by name and version", "Take it as NAME==VERSION from an index, or as a source."
        ) from error
    if parsed.url or parsed.name.lower().endswith(_ARCHIVES):
        raise RefusalError(f"{text} is an address or a file", "Take it as NAME==VERSION from an index, or as a source.")
    return text


def _source_path(call: Call, text: str) -> SourcePath:
    match = _SOURCE_PATH.fullmatch(text)
    if not match or ".." in text.split("/"):
        raise RefusalError(f"{text} is no source path that is understood")
    path, extras = match.group(1), tuple(filter(None, (match.group(2) or "").split(",")))
    refs = call.origin(path)[1]
    if not refs or not all(isinstance(ref, SourceRef) for ref in refs):
        raise RefusalError(f"where {path} comes from cannot be told", "Add it as a source (ADD X-archive, ln -s).")
    return SourcePath(path, extras, refs)


def curl(call: Call) -> Verdict:
    """``curl``/``wget`` of one address."""
    if len(call.operands) != 1:
        raise RefusalError("not exactly one address", "One address a command.")
    url = call.known(call.operands[0], "the address")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname or any(c in url for c in "{}[]"):
        raise RefusalError(f"{url} is no http or https address of one file")
    outputs = call.args.values("o", "output", "output-document")
    path = ""
    if call.name == "wget" and not outputs:
        raise RefusalError("wget without -O: the name of the file is the server's choice", "Say -O FILE.")
    if outputs and call.known(outputs[-1], "the file") != "-":
        text = call.known(outputs[-1], "the file")
        path = call.absolute(text)[0]
        call.write(outputs[-1], "download", DownloadRef(call.image, url))
    return call.verdict(Download(url, path))


def gpg(call: Call) -> Verdict:
    """``gpg --keyserver … --recv-keys …`` and ``gpg --export``."""
    keys = tuple(call.known(word, "the key") for word in call.operands)
    if not all(re.fullmatch(r"(0x)?[0-9A-Fa-f]{8,40}", key) for key in keys):
        raise RefusalError("a key that is not named by its id or fingerprint")
    fetch, export = call.args.has("recv-keys", "receive-keys"), call.args.has("export")
    if export and not fetch:
        return Verdict("home")
    servers = call.args.values("keyserver")
    if export or not fetch or len(servers) != 1 or not keys:
        raise RefusalError("no rule knows this use of gpg")
    return call.verdict(KeyFetch(call.known(servers[0], "the keyserver"), keys))


def extrepo(call: Call) -> Verdict:
    """``extrepo enable NAME``: writes a source, as extrepo's own data and configuration say."""
    if len(call.operands) != 1:
        raise RefusalError("not exactly one repository")
    name = call.known(call.operands[0], "the repository")
    path = extrepo_source(name)
    if not isinstance(call.fs.at(path), RepositoryRef | GoneRef | None):
        raise RefusalError(f"{path}, written before, is what extrepo would enable", "Leave the writing to extrepo.")
    call.write_path(path, "write", RepositoryRef(call.image, name))
    return call.verdict(VendorRepository(name))


def extrepo_source(name: str) -> str:
    """The file that ``extrepo enable NAME`` writes."""
    return f"/etc/apt/sources.list.d/extrepo_{name}.sources"


def galaxy(call: Call) -> Verdict:
    """``ansible-galaxy collection install``."""
    files = tuple(call.obligation(word, "the requirements file") for word in call.args.values("r", "requirements-file"))
    names = tuple(call.known(word, "the collection") for word in call.operands)
    if not files and not names:
        raise RefusalError("a Galaxy install of nothing")
    if not all(re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+(:[^/:@]+)?", name) for name in names):
        raise RefusalError("a collection that is not named as NAMESPACE.NAME[:VERSION]")
    paths = call.args.values("p", "collections-path")
    path = call.known(paths[-1], "the path") if paths else ""
    if path:
        call.write_path(path, "extract")
    return call.verdict(Galaxy(names, files, path, interpreter(call)))


def names(call: Call) -> Verdict:
    """Gems, Grafana plugins: by name."""
    found = tuple(call.known(word, "the name") for word in call.operands)
    if not found or not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in found):
        raise RefusalError("not one or more plain names")
    if any(name.endswith((".gem", ".zip")) for name in found):
        raise RefusalError("a file, not a name")
    return call.verdict(Names(found))


def git(call: Call) -> Verdict:
    """``git clone URL [PATH]``."""
    if not 1 <= len(call.operands) <= 2:
        raise RefusalError("git clone of not exactly one repository")
    url = call.known(call.operands[0], "the address")
    if urlsplit(url).scheme not in ("http", "https", "git"):
        raise RefusalError(f"{url} is no http, https or git address")
    path = call.known(call.operands[1], "the folder") if len(call.operands) == 2 else posixpath.basename(url)
    call.write_path(path.removesuffix(".git"), "extract")
    branches = call.args.values("b", "branch")
    branch = call.known(branches[-1], "the branch") if branches else ""
    return call.verdict(GitClone(url, call.absolute(path)[0], branch))


def playbook(call: Call) -> Verdict:
    """``ansible-playbook`` of playbooks that a locked source holds."""
    found: list[str] = []
    for word in [*call.operands, *call.args.values("i", "inventory")]:
        path, refs = call.origin(call.known(word, "the playbook"))
        if not refs or not all(isinstance(ref, SourceRef) for ref in refs):
            raise RefusalError(f"where the playbook {path} comes from cannot be told")
        found.append(path)
    for word in call.args.values("e", "extra-vars"):
        _extra_vars(call, word)
    count = len(call.operands)
    return call.verdict(Playbook(tuple(found[:count]), tuple(word.text for word in call.words)))


def _extra_vars(call: Call, word: Word) -> None:
    text = call.known(word, "the variable")
    if text.startswith("@"):
        path, refs = call.origin(text[1:])
        if len(refs) != 1:
            raise RefusalError(f"what {path} holds cannot be told")
    elif not re.fullmatch(r"[a-z_]+=[A-Za-z0-9_./-]*", text):
        raise RefusalError(f"no rule knows the variable {text}")


def dnf_config(call: Call) -> Verdict:
    """``dnf config-manager --enable …``: switches repositories."""
    kind: Kind = "network-config"
    return Verdict(kind)
