"""A definition's whole way to a site in folders: bundled, verified, imported, built in the sealed room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.faults.airlock_runs import airlock, done


def bundled(definition: Path, factory: Path, folder: Path) -> Path:
    """The bundle of what is locked and fetched."""
    media = folder / "media"
    done(airlock("bundle", "--factory", factory, "--media", media, definition))
    (bundle,) = media.iterdir()
    return bundle


def built_at_site(bundle: Path, folder: Path) -> dict[str, Any]:
    """The record of a build that went well and that nothing was refused to."""
    site = folder / "site"
    site.mkdir()
    (site / "site.toml").write_text('name = "test"\n')
    done(airlock("verify", bundle))
    done(airlock("import", "--site", site, bundle))
    done(airlock("build", "--site", site, "--bundle", bundle.name, "--reason", "test", timeout=1800))
    (path,) = (site / "records").glob("*/record.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["state"] == "success"
    assert record["network"]["refused_packets"] == 0
    return record
