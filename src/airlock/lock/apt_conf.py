"""Those settings of an image's apt.conf files that change what apt would install; read by apt itself."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from airlock.core.errors import ResolutionError
from airlock.core.process import clean_environment, find_tool, run

_SOLVING = re.compile(
    r"apt::(install-(recommends|suggests)|default-release|never-markauto-sections(::.*)?|move-autobit-sections(::.*)?"
    r"|neverautoremove(::.*)?|autoremove::.+|get::(automaticremove(::.*)?|upgrade-allow-new|fix-broken))"
    r"|pkgproblemresolver::.+|pkgdepcache::.+",
    re.IGNORECASE,
)
_PROXY = re.compile(r"acquire::(.+::)?(proxy|proxy-auto-detect|proxyautodetect)(::.*)?", re.IGNORECASE)
_LINE = re.compile(r'([\w:./+*^$()\[\]|?\\ -]+?) "([^"\n]*)";')


def parse_conf(text: str, where: str) -> str:
    """The settings that count for apt's solver, one a line; nothing else of the file is ever in force.

    Raises:
        ResolutionError: the file is broken, includes others, or names a proxy, which a build could not reach.
    """
    if re.search(r"^\s*#include\b", text, re.MULTILINE):
        raise ResolutionError(f"{where} includes other files, which is not followed")
    with tempfile.TemporaryDirectory(prefix="airlock-conf-") as name:
        known = set(_dump(Path(name), "", where))
        lines = [line for line in _dump(Path(name), text, where) if line not in known]
    kept: list[str] = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found and found[2] and _PROXY.fullmatch(found[1]):
            raise ResolutionError(
                f"{where} sets {found[1]}, which cannot be reached while an image is built without network",
                remedy="Take a base image without a proxy in apt's configuration.",
            )
        if found and found[2] and _SOLVING.fullmatch(found[1]):  # the head of a list has no value
            kept.append(f"{line}\n")
    return "".join(kept)


def _dump(folder: Path, text: str, where: str) -> list[str]:
    """apt-config's view of one file, with nothing of this machine's configuration."""
    (folder / "apt.conf").write_text('Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n', encoding="utf-8")
    (folder / "read").write_text(text, encoding="utf-8")
    environment = clean_environment(APT_CONFIG=str(folder / "apt.conf"), LC_ALL="C")
    result = run([find_tool("apt-config", "apt"), "dump", "-c", str(folder / "read")], env=environment, cwd=folder)
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").replace(f"{folder}/read", "it").strip()
        raise ResolutionError(f"{where} is not in apt's format: {said}")
    return result.stdout.decode("utf-8", "replace").splitlines()
