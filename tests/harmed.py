"""Runs a verb and does it harm at the n-th file operation: ``python harmed.py HARM N ARG VERB…``.

HARM is ``kill`` (SIGKILL itself), ``fill`` (fill the disk of ARG to the last byte), ``pause`` (make the file ARG and
wait until it is gone) or ``count`` (write the number of operations to ARG at the end). File operations are what
Python's audit hooks tell: files opened, names changed, folders made, files removed. The verbs are
``bundle FACTORY DEFINITION MEDIA`` and ``import SITE BUNDLE``; the exit code is that of ``airlock``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from airlock.bundle.make import make_bundle
from airlock.core.errors import AirlockError
from airlock.core.progress import SilentReporter
from airlock.core.settings import load_factory, load_site
from airlock.definition.load import load_definition
from airlock.site.importing import import_bundle

EVENTS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.truncate"})


def fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as stream:
        for size in (1 << 20, 4096, 4096, 1, 1):  # a sync gives back what the file system had set aside
            try:
                while stream.write(bytes(size)):
                    pass
            except OSError:
                os.sync()


def main() -> int:
    harm, number, argument, verb, *rest = sys.argv[1:]
    seen = 0
    active = True

    def hook(event: str, _: object) -> None:
        nonlocal seen, active
        if not active or event not in EVENTS:
            return
        seen += 1
        if seen != int(number):
            return
        if harm == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        active = False
        if harm == "fill":
            fill(Path(argument))
        elif harm == "pause":
            Path(argument).touch()
            while Path(argument).exists():
                time.sleep(0.01)

    sys.addaudithook(hook)
    try:
        if verb == "bundle":
            make_bundle(load_factory(Path(rest[0])), load_definition(Path(rest[1])), Path(rest[2]), SilentReporter())
        else:
            site = load_site(Path(rest[0]))
            import_bundle(Path(rest[1]), site, expect=None, allow_older=False, reporter=SilentReporter())
    except AirlockError as error:
        print(type(error).__name__, error.message, file=sys.stderr)
        return error.exit_code
    finally:
        active = False
        if harm == "count":
            Path(argument).write_text(str(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
