"""What Kolla knows of each image, inside Kolla's virtual environment; loaded by ``worker.py`` and by nothing else.

One thing is wrapped: ``kolla.template.methods.handle_repos``, by which a template enables vendor repositories. What the
configuration leaves out of ``repos_yaml`` leaves no trace in a Dockerfile; so what each image asks for is noted here.
"""

from __future__ import annotations

import os
import re
from typing import Any

_repositories: dict[str, set[str]] = {}


def watch_repositories() -> None:
    """Note which vendor repositories of Kolla's own ``repos.yaml`` each image enables; before anything is rendered."""
    from jinja2 import pass_context  # type: ignore[import-not-found]
    from kolla.template import methods  # type: ignore[import-not-found]

    original = methods.handle_repos

    @pass_context  # type: ignore[untyped-decorator]
    def handle_repos(context: Any, reponames: list[str], mode: str) -> Any:
        for name in reponames if mode == "enable" else ():
            # A name that this base and architecture does not have enables nothing.
            if original(_KollasOwn(context), [name], mode):
                _repositories.setdefault(context.get("image_name"), set()).add(name)
        return original(context, reponames, mode)

    methods.handle_repos = handle_repos


class _KollasOwn:
    """A template's variables without ``repos_yaml``: Kolla then reads its own."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def get(self, name: str) -> Any:
        return None if name == "repos_yaml" else self._context.get(name)


def images(worker: Any, profiles: list[str]) -> list[dict[str, Any]]:
    """Every image of a rendering, by name.

    Args:
        worker: Kolla's, after rendering and filtering.
        profiles: those to say membership of.

    Raises:
        ValueError: a profile is empty, or holds what is no regular expression.
    """
    patterns = {name: _pattern(worker.conf, name) for name in profiles}
    return [
        {
            "name": image.name,
            "canonical_name": image.canonical_name,
            "parent": image.parent.name if image.parent is not None else "",
            "path": os.path.relpath(image.path, worker.working_dir),
            "status": image.status.value,
            "sources": _sources(image),
            "profiles": [name for name, pattern in patterns.items() if pattern.search(image.name)],
            "unbuildable": _unbuildable(image.name, worker),
            "repositories": sorted(_repositories.get(image.name, ())),
        }
        for image in sorted(worker.images, key=lambda image: image.name)
    ]


def _pattern(conf: Any, name: str) -> re.Pattern[str]:
    """The expression that Kolla searches image names with for a profile (``KollaWorker.filter_images``)."""
    from oslo_config import cfg  # type: ignore[import-not-found]

    if name not in conf.profiles:
        conf.register_opt(cfg.ListOpt(name, default=[]), "profiles")
    if not conf.profiles[name]:
        raise ValueError(f"the profile {name} names no image")
    try:
        return re.compile("|".join(conf.profiles[name]).join("()"))
    except re.error as error:
        raise ValueError(f"the profile {name}: {error}") from None


def _unbuildable(image: str, worker: Any) -> str:
    """What Kolla lists an image as unbuildable on (``aarch64``, ``ubuntu+aarch64`` …); empty where it does not."""
    from kolla.image.unbuildable import UNBUILDABLE_IMAGES  # type: ignore[import-not-found]

    here = {worker.base, worker.base_arch}
    return next((tag for tag, names in UNBUILDABLE_IMAGES.items() if image in names and {*tag.split("+")} <= here), "")


def _sources(image: Any) -> list[dict[str, Any]]:
    return [
        {
            "section": source["name"],
            "role": role,
            "type": source["type"],
            "location": source["source"] or "",
            "reference": source.get("reference") or "",
            "sha256": dict(source.get("sha256") or {}),
            "enabled": bool(source.get("enabled", True)),
        }
        for role, sources in (
            ("source", [image.source]),
            ("plugin", image.plugins),
            ("addition", image.additions),
        )
        for source in sources
        if source
    ]
