"""Kolla's build of small trees, through podman in a sealed room. Needs root."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airlock.core.errors import BuildError, DefinitionError, IncompleteError, ToolError
from airlock.core.progress import SilentReporter
from airlock.kolla.environment import KollaEnvironment, SourceWant
from airlock.kolla.render import RenderedImage, RenderedTree
from airlock.kolla.run_build import BuildOutcome, Event, Finished, Line, Ready, Started, run_build
from airlock.room.gateway import MirrorFile
from airlock.room.sealed import SealedRoom

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sealed rooms want root")

PROGRAMS = ("/bin/sh", "/bin/cat", "/bin/ls", "/bin/sleep", "/bin/date")
STAMP = 1_600_000_000


def tar_of(files: dict[str, bytes], *, mode: int = 0o644, when: int = 1000) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), mode, when
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def root_image() -> bytes:
    """The smallest root file system that has a shell: this machine's, with its libraries."""
    files = {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "tmp/.keep": b""}
    for program in PROGRAMS:
        said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for path in [program, *re.findall(r"(/\S+) \(0x", said)]:
            files[path.lstrip("/")] = Path(path).read_bytes()
    return tar_of(files, mode=0o755)


class Files:
    """A mirror of a few files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def open(self, path: str) -> MirrorFile | None:
        data = self.files.get(path)
        return None if data is None else MirrorFile(content=data, size=len(data))


SOURCE = tar_of({"thing-1.0/hello": b"hello\n"})
PLUGIN = tar_of({"plug-1.0/deep/in/it": b"plugged\n"})


class Tree:
    """A rendered tree, written by hand: ``top`` with a source and a plugin, ``child`` below it."""

    def __init__(self, place: Path, *, top: str = "", child: str = "RUN cat /from-top > /child\n") -> None:
        self.place = place
        self.mirror = Files({"/sources/top/thing-1.0.tar.gz": SOURCE, "/sources/top-plugin-plug/plug.tar.gz": PLUGIN})
        self.texts = {
            "top": "FROM localhost/airlock/base:test\nADD top-archive /top-source\nADD plugins-archive /\n"
            f"COPY file /file\nRUN cat /top-source/thing-1.0/hello /plugins/plug-1.0/deep/in/it > /from-top\n{top}",
            "child": f"FROM kolla/top:airlock\nADD plugins-archive /\n{child}",
        }
        self.sha256 = {"top": hashlib.sha256(SOURCE).hexdigest(), "top-plugin-plug": hashlib.sha256(PLUGIN).hexdigest()}

    def write(self) -> RenderedTree:
        root = self.place / "docker"
        for name, text in self.texts.items():
            (root / name).mkdir(parents=True)
            (root / name / "Dockerfile").write_text(text)
        (root / "top/file").write_text("file\n")
        (self.place / "conf.d").mkdir()
        conf = self.place / "kolla-build.conf"
        mirror = "http://mirror.airlock.internal/sources"
        conf.write_text(
            "[DEFAULT]\nbase = debian\nbase_arch = x86_64\nnamespace = kolla\ntag = airlock\nengine = podman\n"
            f"pull = false\nretries = 0\nwork_dir = {self.place}\nformat = none\n"
            f"[top]\ntype = url\nlocation = {mirror}/top/thing-1.0.tar.gz\nsha256 = amd64:{self.sha256['top']}\n"
            f"[top-plugin-plug]\ntype = url\nlocation = {mirror}/top-plugin-plug/plug.tar.gz\n"
            f"sha256 = amd64:{self.sha256['top-plugin-plug']}\n"
        )
        images = tuple(
            RenderedImage(name, parent, f"kolla/{name}:airlock", root / name, self.texts[name].encode(), ())
            for name, parent in (("top", ""), ("child", "top"))
        )
        return RenderedTree(
            mode="sealed", arch="x86_64", root=root, conf=conf, conf_dir=self.place / "conf.d", images=images,
            apt={}, upstreams={}, kolla_version="18.8.0", python_version="3.11",
        )  # fmt: skip


@asynccontextmanager
async def open_room(state: Path, mirror: Files) -> AsyncIterator[SealedRoom]:
    async with SealedRoom.open("test", state, mirror=mirror, reporter=SilentReporter()) as room:
        context = room.engine.paths.temporary
        (context / "root.tar.gz").write_bytes(root_image())
        await room.engine.podman(
            "build", "--timestamp=0", "--tag=localhost/airlock/base:test", "--file=-", context,
            data=b"FROM scratch\nADD root.tar.gz /\n", check=True,
        )  # fmt: skip
        yield room


async def build(
    kolla: KollaEnvironment, room: SealedRoom, tree: RenderedTree, logs: Path, **options: object
) -> tuple[BuildOutcome, list[Event]]:
    events: list[Event] = []

    async def prepare(image: str) -> int:
        return STAMP

    values = {"prepare": prepare, "threads": 1, "cache": False} | options
    outcome = await run_build(
        kolla, tree, socket=room.engine.url, logs=logs, enter=room.command, follow=events.append, **values
    )  # type: ignore[arg-type]
    return outcome, events


def workers(kolla: KollaEnvironment) -> set[str]:
    """Process ids of workers that run on this machine."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if kolla.command[-1].encode() in (entry / "cmdline").read_bytes():
                    found.add(entry.name)
    return found


async def inspect(room: SealedRoom, name: str) -> dict:
    result = await room.engine.podman("image", "inspect", name, check=True)
    return json.loads(result.stdout)[0]


async def test_the_tree_as_it_is_becomes_images_with_one_time(kolla: KollaEnvironment, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "w")
    rendered = tree.write()
    async with open_room(tmp_path / "room", tree.mirror) as room:
        outcome, events = await build(kolla, room, rendered, tmp_path / "logs")
        outcome.check()
        assert [(image.name, image.status) for image in outcome.images] == [("top", "built"), ("child", "built")]
        kinds = [(type(event), event.image) for event in events if not isinstance(event, Line)]
        assert kinds == [(kind, image) for image in ("top", "child") for kind in (Started, Ready, Finished)]
        assert any(isinstance(event, Line) and event.text.startswith("STEP 1/") for event in events)
        assert "STEP 5/5" in (tmp_path / "logs/top.log").read_text()
        shown = await room.engine.podman(
            "run", "--rm", "--network=host", "kolla/child:airlock", "cat", "/child", check=True
        )
        assert shown.stdout == b"hello\nplugged\n"
        for name in ("kolla/top:airlock", "kolla/child:airlock"):
            assert (await inspect(room, name))["Created"].startswith("2020-09-13T12:26:40")
        times = await room.engine.podman(
            "run",
            "--rm",
            "--network=host",
            "kolla/child:airlock",
            "date",
            "+%s",
            "-r",
            "/plugins/plug-1.0/deep",
            check=True,
        )
        assert int(times.stdout) == STAMP
        report = room.report()
        assert report.refused_packets == 0
        assert {entry.path for entry in report.served} == set(tree.mirror.files)


async def test_the_same_tree_elsewhere_and_later_gives_the_same_images(kolla: KollaEnvironment, tmp_path: Path) -> None:
    seen: list[list[str | bytes]] = []
    for number in range(2):
        place = tmp_path / f"{number}"
        tree = Tree(place / ("w" * (number + 1)))
        rendered = tree.write()
        async with open_room(place / "room", tree.mirror) as room:
            outcome, _ = await build(kolla, room, rendered, place / "logs")
            outcome.check()
            seen.append([(await inspect(room, image.reference))["Digest"] for image in rendered.images])
            seen[-1] += [(image.folder / "plugins-archive").read_bytes() for image in rendered.images]
        await asyncio.sleep(1.1)
    assert seen[0] == seen[1]


async def test_an_image_waits_for_its_preparation_and_its_context_is_complete_by_then(
    kolla: KollaEnvironment, tmp_path: Path
) -> None:
    tree = Tree(tmp_path / "w")
    rendered = tree.write()
    prepared: list[str] = []
    begun: list[str] = []

    async def prepare(image: str) -> int:
        folder = rendered.by_name[image].folder
        assert (folder / "plugins-archive").exists()
        assert {path.stat().st_mtime for path in (folder, *folder.rglob("*"))} == {0}
        assert (image != "top") or (folder / "top-archive").read_bytes() == SOURCE
        begun.append(image)
        await asyncio.sleep(0.5)
        prepared.append(image)
        return STAMP

    def follow(event: Event) -> None:
        if isinstance(event, Line):
            assert event.image in prepared

    async with open_room(tmp_path / "room", tree.mirror) as room:
        outcome = await run_build(
            kolla, rendered, socket=room.engine.url, logs=tmp_path / "logs", threads=2, prepare=prepare, follow=follow,
            enter=room.command,
        )  # fmt: skip
        outcome.check()
        assert begun == prepared == ["top", "child"]


async def test_another_kolla_builds_as_well(other_kolla: KollaEnvironment, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "w")
    rendered = tree.write()
    async with open_room(tmp_path / "room", tree.mirror) as room:
        outcome, events = await build(other_kolla, room, rendered, tmp_path / "logs")
        outcome.check()
        assert (await inspect(room, "kolla/child:airlock"))["Created"].startswith("2020-09-13T12:26:40")
    assert any(isinstance(event, Line) for event in events)


@pytest.mark.parametrize("fault", ["command", "bytes", "gone"])
async def test_a_failing_image_is_named_with_its_log_and_its_children_are_not_built(
    kolla: KollaEnvironment, tmp_path: Path, fault: str
) -> None:
    tree = Tree(tmp_path / "w", top="RUN echo broken for a reason && exit 3\n" if fault == "command" else "")
    rendered = tree.write()
    path = "/sources/top/thing-1.0.tar.gz"
    if fault == "bytes":
        tree.mirror.files[path] = SOURCE + b"\0"
    elif fault == "gone":
        del tree.mirror.files[path]
    async with open_room(tmp_path / "room", tree.mirror) as room:
        outcome, events = await build(kolla, room, rendered, tmp_path / "logs")
    assert [image.name for image in outcome.failed] == ["top", "child"]
    assert outcome.failed[0].status == "error"
    assert not any(event.image == "child" for event in events)
    with pytest.raises(BuildError) as caught:
        outcome.check()
    assert "top (error)" in caught.value.message
    assert str(tmp_path / "logs/top.log") in caught.value.remedy
    log = (tmp_path / "logs/top.log").read_text()
    assert {"command": "broken for a reason", "bytes": "SHA256 checksum does not match", "gone": "status_code 404"}[
        fault
    ] in log
    if fault == "command":
        assert "broken for a reason" in caught.value.message


async def test_an_error_while_preparing_ends_the_build_at_once(kolla: KollaEnvironment, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "w")
    rendered = tree.write()

    async def prepare(image: str) -> int:
        raise DefinitionError("no wheel")

    async with open_room(tmp_path / "room", tree.mirror) as room:
        before, begin = workers(kolla), time.monotonic()
        with pytest.raises(DefinitionError, match="no wheel"):
            await build(kolla, room, rendered, tmp_path / "logs", prepare=prepare)
        assert time.monotonic() - begin < 20
        assert workers(kolla) == before


async def test_a_build_that_is_cancelled_leaves_no_worker(kolla: KollaEnvironment, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "w", top="RUN sleep 300\n")
    rendered = tree.write()
    running = asyncio.Event()

    def follow(event: Event) -> None:
        if isinstance(event, Line) and "sleep 300" in event.text:
            running.set()

    async with open_room(tmp_path / "room", tree.mirror) as room:
        before = workers(kolla)
        task = asyncio.create_task(
            run_build(
                kolla, rendered, socket=room.engine.url, logs=tmp_path / "logs", threads=1, follow=follow,
                prepare=lambda image: asyncio.sleep(0, STAMP), enter=room.command,
            )
        )  # fmt: skip
        await asyncio.wait_for(running.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workers(kolla) == before


async def test_an_engine_that_is_not_there_is_said(kolla: KollaEnvironment, tmp_path: Path) -> None:
    rendered = Tree(tmp_path / "w").write()
    with pytest.raises(ToolError, match="without an answer"):
        await run_build(
            kolla, rendered, socket=f"unix://{tmp_path}/none.sock", logs=tmp_path / "logs", threads=1,
            prepare=lambda image: asyncio.sleep(0, STAMP),
        )  # fmt: skip


async def test_a_tree_with_a_source_from_elsewhere_is_not_begun(kolla: KollaEnvironment, tmp_path: Path) -> None:
    rendered = Tree(tmp_path / "w").write()
    stray = SourceWant("top", "source", "url", "http://mirror.example.org/x.tar.gz")
    image = rendered.images[0]
    images = (RenderedImage(image.name, "", image.reference, image.folder, image.dockerfile, (stray,)),)
    changed = RenderedTree(
        **{name: getattr(rendered, name) for name in rendered.__struct_fields__} | {"images": images}
    )
    with pytest.raises(IncompleteError, match="image top: source top"):
        await run_build(
            kolla, changed, socket="unix:///none", logs=tmp_path / "logs", threads=1,
            prepare=lambda image: asyncio.sleep(0, STAMP),
        )  # fmt: skip
