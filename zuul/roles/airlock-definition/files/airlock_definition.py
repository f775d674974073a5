"""Run `airlock lock --check` and `airlock validate` on every definition of a change. Runs on the node.

What is wrong is printed, and once more as the last line: JSON with Gerrit's comments. Exit code 1 then.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

MAX_MESSAGE = 4000  # characters of a comment


def run(words):
    """(exit code, what it said)."""
    print(f"$ {' '.join(words)}", flush=True)
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return result.returncode, result.stdout + result.stderr


def check(given, folder):
    """What is wrong with a definition, in words; empty if nothing is."""
    for words in (["lock", "--check"], ["validate"]):
        code, said = run([given.command, *words, f"--factory={given.factory}", str(folder)])
        print(said, flush=True)
        if code:
            return f"airlock {' '.join(words)} ends with {code}:\n{said.strip()[-MAX_MESSAGE:]}"
    return ""


def main():
    """Unpack, find, check."""
    parser = argparse.ArgumentParser()
    for option in ("--command", "--factory", "--place"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    root = Path(given.place) / "change"
    root.mkdir()
    archive = ["tar", "--extract", "--no-same-owner", f"--file={given.place}/definitions.tar.gz", f"--directory={root}"]
    subprocess.run(archive, check=True)
    found = sorted(root.rglob("release.toml"))
    if not found:
        sys.exit("error: the change holds no release.toml")
    comments = {}
    for definition in found:
        if wrong := check(given, definition.parent):
            name = definition.relative_to(root).as_posix()
            comments[name] = [{"line": 1, "message": wrong, "level": "error"}]
    print(f"{len(found)} definitions checked, {len(comments)} of them wrong", flush=True)
    if comments:
        print(json.dumps({"comments": comments}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
