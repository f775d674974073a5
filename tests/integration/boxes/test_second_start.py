"""What a server keeps when it is stopped and started again."""

from __future__ import annotations

from boxes.box import Box
from boxes.rest import Rest, quoted
from boxes.together import start_all, stop_all

PROJECT = "boxes/kept"


def secrets(box: Box) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (box.folder / "secrets").iterdir()}


def test_files_history_changes_users_and_passwords_are_kept(nexus, gerrit):
    repository = nexus.make_repository("boxes-kept")
    files = Rest("nexus", nexus.network, repository.url, repository.importer.user, repository.importer.password)
    files.call("PUT", "stays", b"stays")
    gerrit.rest(gerrit.access.airlock).call("PUT", f"/projects/{quoted(PROJECT)}", {"create_empty_commit": True})
    branch = f"/projects/{quoted(PROJECT)}/branches/master"
    revision = gerrit.rest(gerrit.access.zuul).call("GET", branch).json()["revision"]
    wanted = {"project": PROJECT, "branch": "master", "subject": "Wait for a person"}
    change = f"/changes/{gerrit.rest(gerrit.access.admin).call('POST', '/changes/', wanted).json()['_number']}"
    boxes: list[Box] = [nexus, gerrit]
    before = [secrets(box) for box in boxes]
    processes = [process for box in boxes for process in box.members()]
    assert len(processes) >= 2

    stop_all(boxes)
    assert not any(process.alive for process in processes)
    start_all(boxes)

    assert [secrets(box) for box in boxes] == before
    assert nexus.make_repository("boxes-kept") == repository
    assert files.ask("GET", "stays").data == b"stays"
    assert files.ask("PUT", "stays", b"other").status == 400
    assert gerrit.rest(gerrit.access.zuul).call("GET", branch).json()["revision"] == revision
    # A Gerrit that takes itself for another one cannot read its changes.
    assert gerrit.rest(gerrit.access.reviewer).call("GET", change).json()["subject"] == "Wait for a person"
