"""The Python package index of the room: PEP 503 pages that hold the locked files and nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from packaging.utils import canonicalize_name

from airlock.lock.model import Artifact

# From bundles/<id>/indexes/pypi/simple/<project>/ of a store to its root. In the room, where the page lies at
# /pypi/simple/<project>/, a client clamps the surplus at the root, so that the same page works there.
_UP = "../../../../../.."
_HEAD = '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n<body>\n'
_FOOT = "</body></html>\n"


def pypi_indexes(artifacts: Iterable[Artifact], requires_python: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Pages by relative name: ``pypi/simple/index.html`` and ``pypi/simple/<project>/index.html``.

    A pure function: the same files give the same bytes, in whatever order they come.

    Args:
        artifacts: wheels and sdists; others are left out.
        requires_python: artifact id → ``Requires-Python``, where it is known. A page without it is right, too: the
            locked files were chosen for their interpreter.
    """
    known = requires_python or {}
    projects: dict[str, dict[str, Artifact]] = {}
    for artifact in artifacts:
        if artifact.kind in ("wheel", "sdist"):
            projects.setdefault(str(canonicalize_name(artifact.name)), {})[artifact.id] = artifact
    pages = {
        f"pypi/simple/{name}/index.html": _page(
            name, [_file(files[ident], known.get(ident, "")) for ident in sorted(files)]
        )
        for name, files in sorted(projects.items())
    }
    return {
        "pypi/simple/index.html": _page("packages", [_link(f"{name}/", name) for name in sorted(projects)]),
        **pages,
    }


def _page(title: str, links: Iterable[str]) -> bytes:
    return (_HEAD.format(title=html.escape(title)) + "".join(links) + _FOOT).encode()


def _file(artifact: Artifact, requires_python: str) -> str:
    address = f"{_UP}/pool/{artifact.sha256[:2]}/{artifact.sha256}/{quote(artifact.file)}#sha256={artifact.sha256}"
    return _link(
        address, artifact.file, f' data-requires-python="{html.escape(requires_python)}"' * bool(requires_python)
    )


def _link(address: str, text: str, more: str = "") -> str:
    return f'<a href="{html.escape(address)}"{more}>{html.escape(text)}</a>\n'
