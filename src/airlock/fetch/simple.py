"""Pages of a Python package index: PEP 503 HTML or PEP 691 JSON in, typed files out, JSON for uv."""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import quote, urljoin

import msgspec
from mousebender import simple as mousebender

from airlock.core.digest import is_sha256
from airlock.core.errors import FormatError

ACCEPT = f"{mousebender.ACCEPT_JSON_V1}, {mousebender.ACCEPT_HTML};q=0.2"
"""What to ask an index for: JSON first (it has sizes and dates), HTML accepted (a Nexus proxy has nothing else)."""
JSON_TYPE = mousebender.ACCEPT_JSON_V1
MAX_PAGE = 64 << 20  # bytes; the largest projects' pages are some 20 MB


class ProjectFile(msgspec.Struct, frozen=True):
    """One file of a project, as its simple page lists it.

    Attributes:
        sha256: empty where the page does not declare it.
        size: bytes; 0 where the page does not say (HTML never does).
        upload_time: ISO 8601; empty where the page does not say.
        yanked: PEP 592.
        url: absolute.
        metadata: PEP 658: None where the page offers no ``.metadata``, else its sha256 or an empty string.
    """

    filename: str
    sha256: str
    size: int
    requires_python: str
    upload_time: str
    yanked: bool
    url: str
    metadata: str | None = None


class _File(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None


class _Page(msgspec.Struct):
    files: list[_File]


def _details(data: bytes, content_type: str, name: str) -> dict[str, Any]:
    kind = content_type.split(";", 1)[0].strip().lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mousebender.APIVersionWarning)  # a newer minor version is compatible
            details = mousebender.parse_project_details(data.decode("utf-8"), kind, name)
    except (ValueError, mousebender.UnsupportedMIMEType, mousebender.UnsupportedAPIVersion) as error:
        raise FormatError(
            f"what the package index answers for the project {name} is no simple page: {error}",
            remedy="Check the address of the upstream pypi in factory.toml: it must end where project names begin.",
        ) from None
    if not isinstance(details, dict):
        raise FormatError(f"the simple page of the project {name} is not an object")
    return dict(details)


def _named(name: str) -> bool:
    return bool(name) and "/" not in name and name not in (".", "..")


def parse_page(data: bytes, content_type: str, name: str, page_url: str) -> list[ProjectFile]:
    """Read the page of project ``name``.

    Args:
        data: the page as upstream sent it.
        content_type: its Content-Type, with or without parameters.
        name: the project, for HTML pages and messages.
        page_url: where the page is; relative addresses of files start from it.

    Raises:
        FormatError: neither PEP 503 HTML nor PEP 691 JSON of version 1.
    """
    try:
        page = msgspec.convert(_details(data, content_type, name), _Page)
        return [_project_file(file, page_url) for file in page.files if _named(file.filename)]
    except (msgspec.ValidationError, ValueError) as error:  # ValueError: an address that is none
        raise FormatError(f"the simple page of the project {name} is malformed: {error}") from None


def _project_file(file: _File, page_url: str) -> ProjectFile:
    # PEP 714: core-metadata wins over the older name where both are there.
    offered = file.core_metadata if file.core_metadata is not None else file.dist_info_metadata
    metadata: str | None = None
    if isinstance(offered, dict):
        metadata = _sha256(offered)
    elif offered:
        metadata = ""
    return ProjectFile(
        filename=file.filename,
        sha256=_sha256(file.hashes),
        size=max(file.size or 0, 0),
        requires_python=file.requires_python or "",
        upload_time=file.upload_time or "",
        yanked=bool(file.yanked),
        url=_absolute(page_url, file.url.partition("#")[0]),
        metadata=metadata,
    )


def _absolute(page_url: str, address: str) -> str:
    # Large indexes name whole addresses, a quarter of a million for all of Kolla: joining each would take seconds.
    return address if address.startswith(("https://", "http://")) else urljoin(page_url, address)


def _sha256(hashes: dict[str, str]) -> str:
    value = hashes.get("sha256", "").lower()
    return value if is_sha256(value) else ""


def rewrite_page(data: bytes, content_type: str, name: str, files_url: str) -> bytes:
    """The same page as PEP 691 JSON whose files all lie at ``files_url/<file name>``.

    Everything else that the page says (hashes, sizes, yanked, metadata) stays.

    Raises:
        FormatError: not a simple page.
    """
    details = _details(data, content_type, name)
    files = details.get("files")
    kept = []
    for file in files if isinstance(files, list) else []:
        if isinstance(file, dict) and isinstance(file.get("filename"), str) and _named(file["filename"]):
            file.pop("provenance", None)  # PEP 740: an address, too
            file["url"] = f"{files_url}/{quote(file['filename'])}"
            kept.append(file)
    return msgspec.json.encode(details | {"name": name, "files": kept})
