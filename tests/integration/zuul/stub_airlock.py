#!/usr/bin/python3
"""A stand-in for the command ``airlock`` on the node, for tests of nothing but Zuul's own ways. It builds nothing.

``build`` writes a record that keeps every argument it was given, and works for as many seconds as the site's file
``seconds`` says. ``lock`` and ``validate`` refuse a definition that holds the word WRONG.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType


def option(words: list[str], name: str) -> str:
    """The value of ``--name=value``."""
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), "")


def build(words: list[str]) -> int:
    """A build's traces: a record, a log."""
    site = Path(option(words, "site"))
    ident = f"{option(words, 'bundle')}-{time.time_ns()}"
    folder = site / "records" / ident
    (folder / "logs").mkdir(parents=True)
    (folder / "logs/base.log").write_text("a log\n")
    details = dict(word.partition("=")[2].split("=", 1) for word in words if word.startswith("--detail="))
    trigger = {"reason": option(words, "reason"), "user": option(words, "requester"), "details": details}
    record = {"build_id": ident, "arguments": words, "environment": dict(os.environ), "trigger": trigger}

    def leave(state: str, code: int) -> int:
        (folder / "record.json").write_text(json.dumps(record | {"state": state}))
        return code

    def interrupted(number: int, frame: FrameType | None) -> None:
        time.sleep(0.5)  # leaving a room takes a moment
        sys.exit(leave("interrupted", 130))

    signal.signal(signal.SIGTERM, interrupted)
    print(f"sealing a room for {ident}", flush=True)
    seconds = site / "seconds"
    time.sleep(float(seconds.read_text()) if seconds.exists() else 0)
    return leave(*(("failure", 15) if (site / "fail").exists() else ("success", 0)))


def check(words: list[str]) -> int:
    """Whether a definition is right."""
    text = (Path(words[-1]) / "release.toml").read_text()
    if "WRONG" in text:
        print(f"error: {words[-1]}/release.toml: {text.strip()}\n  → Mend it.", file=sys.stderr)
        return 3
    print("the same bytes")
    return 0


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    sys.exit({"build": build, "lock": check, "validate": check}[verb](rest))
