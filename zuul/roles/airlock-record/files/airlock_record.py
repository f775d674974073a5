"""Print the folder of the record that names a buildset, if there is one. Runs on the node, read from standard input.

Where records are: docs/formats/settings.md (`state`); what they say: docs/formats/record.md (`trigger.details`).
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path


def records(site):
    """Every record of the site that can be read, the newest first: (folder, record)."""
    settings = site / "site.toml" if site.is_dir() else site
    state = settings.parent / tomllib.loads(settings.read_text()).get("state", ".")
    for path in sorted(state.glob("records/*/record.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            yield path.parent, json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue


def main():
    """Look for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--buildset", required=True)
    given = parser.parse_args()
    try:
        for folder, record in records(given.site):
            if record["trigger"].get("details", {}).get("buildset") == given.buildset:
                print(folder.resolve())
                return
    except (OSError, ValueError) as error:
        sys.exit(f"the site's records cannot be read: {error}")


if __name__ == "__main__":
    main()
