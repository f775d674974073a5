"""Airlock's hand inside Kolla: run by the python of Kolla's virtual environment, with ``-I``, never by Airlock's own.

Imports nothing but the standard library, Kolla and what Kolla brings. Speaks JSON lines: the request is the first line
on standard input, events go to standard output, everything that Kolla prints or logs goes to standard error
(docs/ecosystems/kolla.md describes the requests and events). ``worker_images.py`` says what is told of each image,
``worker_build.py`` holds the build.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class RequestError(Exception):
    """What was asked cannot be done; ``kind`` is ``template``, ``configuration`` or ``kolla``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Channel:
    """Events out, lines in; several threads may write."""

    def __init__(self, source: IO[str], target: IO[str]) -> None:
        self.source = source
        self._target = target
        self._lock = threading.Lock()

    def emit(self, event: str, **values: Any) -> None:
        """Write one event."""
        with self._lock:
            self._target.write(json.dumps({"event": event, **values}) + "\n")
            self._target.flush()


# Template overrides -------------------------------------------------------------------------------------------------


def merge_overrides(paths: list[str]) -> str:
    """One override of several: the contents of blocks with the same name follow each other, in the order of the files.

    Kolla itself only puts the files behind each other, and Jinja refuses a block that is there twice.

    Raises:
        RequestError: a file is no template, or blocks overlap in a way that cannot be merged.
    """
    import jinja2  # type: ignore[import-not-found]

    environment = jinja2.Environment()  # noqa: S701 (Dockerfiles, not HTML)
    head: list[str] = []
    bodies: dict[str, list[str]] = {}
    tags: dict[str, str] = {}
    inner: dict[str, str] = {}
    for path in paths:
        source = Path(path).read_text("utf-8")
        try:
            environment.parse(source)
            pieces = list(_split(environment.lex(source)))
        except jinja2.TemplateSyntaxError as error:
            raise RequestError("template", f"{Path(path).name}, line {error.lineno}: {error.message}") from None
        for name, tag, text, nested in pieces:
            if not name:
                head.append(text)
                continue
            bodies.setdefault(name, []).append(text)
            tags.setdefault(name, tag)
            for one in nested:
                if inner.setdefault(one, path) != path:
                    raise RequestError("template", _overlap(one, path, inner[one]))
    for one, path in inner.items():
        if one in bodies:
            raise RequestError("template", _overlap(one, path, "another override"))
    blocks = (f"{{% {tags[name]} %}}{_joined(body)}{{% endblock %}}\n" for name, body in bodies.items())
    return "{% extends parent_template %}\n" + "".join(head) + "\n" + "".join(blocks)


def _overlap(block: str, path: str, other: str) -> str:
    return (
        f"{Path(path).name}: block {block} stands inside another block and is also defined by "
        f"{Path(other).name}; define it at the top level, so that both can be put into one"
    )


def _joined(parts: list[str]) -> str:
    return "\n".join(part.strip("\n") for part in parts).join("\n\n") if len(parts) > 1 else parts[0]


def _split(tokens: Iterator[tuple[int, str, str]]) -> Iterator[tuple[str, str, str, list[str]]]:
    """(block's name or "", its tag, text, names of blocks inside) for each top-level piece; ``extends`` is left out."""
    depth, name, tag = 0, "", ""
    text: list[str] = []
    nested: list[str] = []
    statement: list[tuple[str, str]] | None = None
    for _, kind, value in tokens:
        if kind == "block_begin":
            statement = [(kind, value)]
            continue
        if statement is None:
            text.append(value)
            continue
        statement.append((kind, value))
        if kind != "block_end":
            continue
        words = [word for sort, word in statement[1:-1] if sort != "whitespace"]
        whole = "".join(word for _, word in statement)
        statement = None
        if words[0] == "block":
            depth += 1
            if depth == 1:
                yield "", "", "".join(text), []
                name, tag, text, nested = words[1], " ".join(words), [], []
                continue
            nested.append(words[1])
        elif words[0] == "endblock":
            depth -= 1
            if depth == 0:
                yield name, tag, "".join(text), nested
                text = []
                continue
        elif words[0] == "extends" and depth == 0:
            continue
        text.append(whole)
    yield "", "", "".join(text), []


# Kolla --------------------------------------------------------------------------------------------------------------


def load_configuration(arguments: list[str]) -> Any:
    """Kolla's configuration from these command line arguments alone.

    Raises:
        RequestError: Kolla refuses a value.
    """
    from kolla.common import config  # type: ignore[import-not-found]
    from oslo_config import cfg  # type: ignore[import-not-found]

    conf = cfg.ConfigOpts()
    try:
        config.parse(conf, arguments, prog="kolla-build")
    except (cfg.Error, ValueError) as error:
        raise RequestError("configuration", str(error)) from None
    return conf


def arguments_of(request: dict[str, Any]) -> list[str]:
    """Command line for ``kolla-build``: our files alone (an empty folder keeps the host's configuration out)."""
    names = [f"^{re.escape(name)}$" for name in request.get("images", ())]
    # oslo.config lets what comes later win, a configuration file over the options before it.
    files = ["--config-file", request["conf"], "--config-dir", request["conf_dir"]]
    return [*files, *request.get("arguments", []), *names]


def describe(channel: Channel, _request: dict[str, Any]) -> None:
    """What this Kolla is and what it knows."""
    import yaml  # type: ignore[import-untyped]
    from kolla import version  # type: ignore[import-not-found]
    from kolla.common import config
    from kolla.image.kolla_worker import KollaWorker  # type: ignore[import-not-found]
    from kolla.template import methods  # type: ignore[import-not-found]

    conf = load_configuration([])
    repositories: dict[str, set[str]] = {}
    files = {file.name: yaml.safe_load(file.read_text("utf-8")) for file in _repos_files(methods)}
    for bases in files.values():
        for base, repos in bases.items():
            repositories.setdefault(base.split("-")[0], set()).update(repos)
    docker = KollaWorker._get_images_dir(None)
    template = (Path(docker) / "base/Dockerfile.j2").read_text("utf-8")
    found = re.findall(r"extrepo enable (\S+)", template)
    channel.emit(
        "description",
        version=version.version_info.cached_version_string(),
        docker=docker,
        bases=list(config.BASE_OS_DISTRO),
        architectures=list(config.BASE_ARCH),
        profiles=sorted(conf._groups["profiles"]._opts),
        options=sorted(conf._opts),
        sections={name: sorted(group._opts) for name, group in conf._groups.items()},
        repositories={base: sorted(repos) for base, repos in repositories.items()},
        extrepo=found,
        repos=files,
        keys=_keys(template),
    )


def _repos_files(methods: Any) -> list[Path]:
    return sorted(Path(methods.__file__).parent.glob("repos*.yaml"))


def _keys(template: str) -> dict[str, list[dict[str, str]]]:
    """The lists of keys that ``base`` fetches, by variable, as its template has them."""
    import jinja2
    from jinja2 import nodes

    found: dict[str, list[dict[str, str]]] = {}
    for assignment in jinja2.Environment().parse(template).find_all(nodes.Assign):  # noqa: S701 (Dockerfiles, not HTML)
        name = getattr(assignment.target, "name", "")
        if name in ("base_apt_keys", "base_remote_apt_keys"):
            found[name] = assignment.node.as_const()
    return found


def render(channel: Channel, request: dict[str, Any]) -> None:
    """Render every image's folder below the configured ``work_dir``, as ``kolla-build --template-only`` does."""
    from kolla.image.kolla_worker import KollaWorker

    Path(request["override"]).write_text(merge_overrides(request["overrides"]), "utf-8")
    conf = load_configuration([*arguments_of(request), "--template-only"])
    told = beside("worker_images")
    told.watch_repositories()
    worker = KollaWorker(conf)
    worker.setup_working_dir()
    worker.find_dockerfiles()
    try:
        worker.create_dockerfiles()
    except Exception as error:  # overrides are code of the user's and may raise anything
        raise RequestError("template", f"Kolla's templates with the overrides do not render: {error}") from None
    worker.build_image_list()
    worker.find_parents()
    worker.filter_images()
    try:
        images = told.images(worker, request["profiles"])
    except ValueError as error:
        raise RequestError("configuration", str(error)) from None
    channel.emit(
        "rendered",
        root=worker.working_dir,
        images=images,
        tarballs_base=conf.tarballs_base,
        distro_python_version=getattr(worker, "distro_python_version", ""),  # gone after 2024.1
    )


def build(channel: Channel, request: dict[str, Any]) -> None:
    """Build a rendered tree."""
    conf = load_configuration(arguments_of(request))
    beside("worker_build").build(channel, request, conf)


def beside(name: str) -> Any:
    """A module that lies beside this one; nothing else of Airlock can be imported here."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Answer the one request on standard input."""
    os.umask(0o022)
    channel = Channel(sys.stdin, os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    try:
        {"describe": describe, "render": render, "build": build}[request["command"]](channel, request)
    except RequestError as error:
        channel.emit("error", kind=error.kind, message=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
