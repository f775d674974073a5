"""The Zuul that builds for a site: the table ``[zuul]`` of ``site.toml`` (docs/formats/settings.md)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.addresses import server_address
from airlock.core.errors import UsageError

_ZUUL = "[zuul] of a Zuul: address, tenant, token_file (docs/formats/settings.md)."


class ZuulTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The Zuul that builds when ``airlock trigger`` asks; none where address, tenant and token_file are empty.

    Attributes:
        address: of zuul-web, ``http(s)://host:port``, with the path in front of ``/api`` if it has one.
        tenant: that has the project and the pipeline.
        project: whose branches are built; Gerrit's and Zuul's name of it.
        pipeline, job: what the project runs there, from the site's config project.
        token_file: holds a JSON web token that may administer the tenant; relative to site.toml.
    """

    address: str = ""
    tenant: str = ""
    project: str = "openstack/kolla"
    pipeline: str = "build"
    job: str = "kolla-build-full"
    token_file: str = ""


class ZuulPlace(msgspec.Struct, frozen=True):
    """Where a Zuul is and what is asked of it; the token is read when it is needed."""

    address: str
    tenant: str
    project: str
    pipeline: str
    job: str
    token_file: Path


def zuul_place(table: ZuulTable, path: Path) -> ZuulPlace | None:
    """What a table means; None for one that names no Zuul.

    Args:
        path: of the settings file.

    Raises:
        UsageError: a key is missing, or wrong.
    """
    if not (table.address or table.tenant or table.token_file):
        return None
    lacking = [field for field in ZuulTable.__struct_fields__ if not getattr(table, field)]
    if lacking:
        raise UsageError(f"{path}: [zuul] lacks {' and '.join(lacking)}", remedy=_ZUUL)
    address = server_address(table.address, f"{path}: address in [zuul]", _ZUUL)
    return ZuulPlace(
        address=address,
        tenant=table.tenant,
        project=table.project,
        pipeline=table.pipeline,
        job=table.job,
        token_file=(path.parent / table.token_file).absolute(),
    )
