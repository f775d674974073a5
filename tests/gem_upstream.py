"""A stand-in for an index of Ruby gems on loopback: the compact index, with gems that really install.

The gems and the specifications beside them are made by Debian's Ruby, by the library that ``gem build`` is.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.web_server import answering

_BUILD = """
require "json"
require "zlib"
require "rubygems/package"
JSON.parse(STDIN.read).each do |one|
  spec = Gem::Specification.new do |s|
    s.name, s.version, s.summary, s.authors = one["name"], one["version"], "made for a test", ["Nobody"]
    s.platform = one["platform"]
    s.files = []
    s.homepage, s.license = "https://example.org", "MIT"
    s.required_ruby_version = one["ruby"] unless one["ruby"].empty?
    s.required_rubygems_version = one["rubygems"] unless one["rubygems"].empty?
    one["dependencies"].each {|name, bounds| s.add_runtime_dependency name, *bounds }
  end
  Gem::DefaultUserInteraction.use_ui(Gem::SilentUI.new) { Gem::Package.build spec, true }
  File.binwrite "#{spec.full_name}.gemspec.rz", Zlib::Deflate.deflate(Marshal.dump(spec))
end
"""


class GemStandIn:
    """``add`` gems, ``build`` them, then ``serving``; ``asked`` is every path that was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gems: list[dict[str, Any]] = []
        self.changed: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(
        self, name: str, version: str, *, platform: str = "ruby", ruby: str = "", rubygems: str = "", **needs: str
    ) -> None:
        """``needs``: name (``_`` for ``-``) → bounds, separated by commas."""
        wanted = {one.replace("_", "-"): [part.strip() for part in text.split(",")] for one, text in needs.items()}
        one = {"name": name, "version": version, "platform": platform, "ruby": ruby, "rubygems": rubygems}
        self.gems.append(one | {"dependencies": wanted})

    def build(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(self.gems).encode()
        subprocess.run(["/usr/bin/ruby", "-e", _BUILD], input=data, cwd=self.folder, check=True, capture_output=True)

    def files(self) -> dict[str, bytes]:
        """sha256 → bytes of every gem."""
        found = [path.read_bytes() for path in self.folder.glob("*.gem")]
        return {hashlib.sha256(data).hexdigest(): data for data in found}

    @contextmanager
    def serving(self) -> Iterator[str]:
        with answering(self.answer) as address:
            yield address

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path in self.changed:
            return self.changed[path]
        match path.strip("/").split("/"):
            case [""]:
                return b"an index of gems"
            case ["info", name]:
                lines = [self._line(one) for one in self.gems if one["name"] == name]
                return "\n".join(["---", *lines, ""]).encode() if lines else None
            case ["gems", file] | ["quick", "Marshal.4.8", file]:
                place = self.folder / file
                return place.read_bytes() if place.is_file() else None
        return None

    def _line(self, one: dict[str, Any]) -> str:
        number = one["version"] + f"-{one['platform']}" * (one["platform"] != "ruby")
        deps = ",".join(f"{name}:{'&'.join(sorted(bounds))}" for name, bounds in one["dependencies"].items())
        sha256 = hashlib.sha256((self.folder / f"{one['name']}-{number}.gem").read_bytes()).hexdigest()
        needs = [f"checksum:{sha256}"]
        needs += [f"{key}:{one[key].replace(', ', '&')}" for key in ("ruby", "rubygems") if one[key]]
        return f"{number} {deps}|{','.join(needs)}"


def kollas(gems: GemStandIn) -> list[str]:
    """Kolla's three, and what keeps a careless reader from the right ones."""
    gems.add("fluent-plugin-grok-parser", "2.6.2", fluentd=">= 0.14.6, < 2")
    gems.add("fluent-plugin-grok-parser", "3.0.0.rc1", fluentd=">= 0.14.6")
    gems.add("fluent-plugin-prometheus", "2.1.0", fluentd=">= 1.9.1, < 2", prometheus_client=">= 2.1.0")
    gems.add("fluent-plugin-prometheus", "2.2.0", fluentd=">= 1.9.1", ruby=">= 3.9")
    gems.add("fluent-plugin-rewrite-tag-filter", "2.4.0", fluentd=">= 0.14.2, < 2", fluent_config=">= 0")
    gems.add("fluent-config", "1.0.10")
    gems.add("fluent-config", "1.0.9")
    gems.add("prometheus-client", "4.2.2", base64=">= 0")
    gems.add("prometheus-client", "4.3.0", rubygems=">= 99")
    for version in ("1.9.0", "1.16.0", "1.17.1", "2.0.0"):
        gems.add("fluentd", version, json=">= 2.1", speed="~> 1.2")
    gems.add("json", "99.0.0")
    gems.add("base64", "99.0.0")
    gems.add("speed", "1.3.0")
    gems.add("speed", "1.3.0", platform="x86_64-linux")
    gems.add("speed", "1.9.0", platform="java")
    gems.add("speed", "2.0.0")
    return ["fluent-plugin-grok-parser", "fluent-plugin-prometheus", "fluent-plugin-rewrite-tag-filter"]
