"""What the gateway serves: one imported bundle, seen through the addresses that builds know.

The address spaces are those of ``docs/formats/bundle.md``. No bundle id is in them, so the same inputs give the same
images whatever bundle carried them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import partial

import msgspec
from packaging.utils import canonicalize_name

from airlock.build.wheel_cache import CachedWheel, WheelCache
from airlock.bundle.stored import StoredBundle
from airlock.core.digest import sha256_bytes
from airlock.lock.demands import CLONE, NAMED
from airlock.room.gateway import MirrorFile
from airlock.store.artifacts import StoredFile


class _File(msgspec.Struct):
    sha256: str
    size: int
    file: str


class BundleMirror:
    """Implements ``room.gateway.Mirror`` over a stored bundle and the site's wheels.

    Files of a store on this machine are served by their paths, those of another one as streams. Pages of projects are
    small, are changed on their way (wheels), and every image asks for them: they are kept in memory once read.

    ``origins`` tells for each path served so far where it came from: ``bundle``, ``index`` or ``wheel``; ``sizes`` how
    large it is, in bytes.
    """

    def __init__(self, bundle: StoredBundle, wheels: WheelCache) -> None:
        self._bundle = bundle
        self._wheels = wheels
        self._files = msgspec.json.decode(bundle.index("files.json") or b"{}", type=dict[str, _File])
        self._offered: dict[str, list[CachedWheel]] = {}
        self._pages: dict[str, bytes] = {}
        self.origins: dict[str, str] = {}
        self.sizes: dict[str, int] = {}

    def offer(self, wheels: Iterable[CachedWheel]) -> None:
        """From now on, these wheels (and no others) stand beside the sdists they were built from."""
        offered: dict[str, list[CachedWheel]] = {}
        for wheel in wheels:
            offered.setdefault(canonicalize_name(wheel.project), []).append(wheel)
        self._offered = offered  # at once: requests are answered in threads

    def open(self, path: str) -> MirrorFile | None:
        """See ``room.gateway.Mirror.open``."""
        found, origin = self._find(path.removeprefix("/"))
        if found is not None:
            self.origins[path] = origin
            self.sizes[path] = found.size
        return found

    def _find(self, path: str) -> tuple[MirrorFile | None, str]:
        parts = path.split("/")
        if parts[0] == "apt" and parts[2:3] == ["pool"]:
            parts = parts[2:]
        if parts[0] == "pool" and len(parts) == 4:
            return self._stored(self._bundle.content(parts[2], parts[3])), "bundle"
        if entry := self._files.get(path):
            return self._stored(self._bundle.content(entry.sha256, entry.file)), "bundle"
        if parts[0] in (*NAMED, CLONE):
            return self._index(f"{path}index.json" if path.endswith("/") else path), "index"
        if parts[0] == "wheels" and len(parts) == 3:
            return self._wheel(parts[1], parts[2]), "wheel"
        if parts[:2] == ["pypi", "simple"]:
            return self._simple(parts[2] if len(parts) > 2 else ""), "index"
        if parts[0] == "apt":
            return self._index(path), "index"
        return None, ""

    def _stored(self, file: StoredFile | None) -> MirrorFile | None:
        if file is None:
            return None
        local = self._bundle.store.local(file.path)
        return MirrorFile(content=local or partial(self._bundle.stream, file), size=file.size, sha256=file.sha256)

    def _index(self, path: str) -> MirrorFile | None:
        file = self._bundle.index_file(path)
        if file is None or self._bundle.store.local(file.path) is None:
            return self._stored(file)
        return MirrorFile(content=self._bundle.index(path) or b"", size=file.size, sha256=file.sha256)

    def _wheel(self, key: str, file: str) -> MirrorFile | None:
        for wheels in self._offered.values():
            for wheel in wheels:
                if (wheel.key, wheel.file) == (key, file):
                    return MirrorFile(content=self._wheels.path(wheel), size=wheel.size, sha256=wheel.sha256)
        return None

    def _simple(self, project: str) -> MirrorFile | None:
        name = f"pypi/simple/{project}/index.html" if project else "pypi/simple/index.html"
        page = self._pages.get(name) or self._bundle.index(name)
        if page is None:
            return None
        self._pages[name] = page
        links = "".join(_link(wheel) for wheel in self._offered.get(project, []))
        data = page.replace(b"</body>", links.encode() + b"</body>")
        return MirrorFile(content=data, size=len(data), sha256=sha256_bytes(data), content_type="text/html")


def _link(wheel: CachedWheel) -> str:
    file = html.escape(wheel.file)
    return f'<a href="/wheels/{wheel.key}/{file}#sha256={wheel.sha256}">{file}</a>\n'
