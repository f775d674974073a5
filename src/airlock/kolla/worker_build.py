"""The build itself, inside Kolla's virtual environment; loaded by ``worker.py`` and by nothing else.

Kolla's own queue, tasks, fetching, checking of sha256 and logging are used on a tree that is rendered already. What is
added, and why Kolla or podman-py have to be wrapped for it, each at one place:

- ``BuildTask.run``: tell when an image begins and ends.
- ``podman's ImagesManager.build``: after the context is complete and before the engine gets it, ask ``go`` and set the
  times of all files in it.
- ``_render_params``: the build API's ``timestamp``, which podman-py does not know.
- ``APIClient.post``: hand on what the engine says while it says it (podman-py gives it out at the end).
- ``tarfile`` as kolla.image.tasks sees it: constant times in the plugins and additions archives, where Kolla writes
  those of folders it has just made.
"""

from __future__ import annotations

import json
import os
import queue
import tarfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

MEMBER_TIME = 315532800  # 1980-01-01, the first day that ZIP (and so a wheel made of such files) can hold
_LINE = 2000  # characters of one line that are handed on


class Gate:
    """Answers to ``ready``: the parent's lines, each for one image."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._answers: dict[str, queue.Queue[int | None]] = {}
        self._lock = threading.Lock()

    def _answer(self, image: str) -> queue.Queue[int | None]:
        with self._lock:
            return self._answers.setdefault(image, queue.Queue())

    def listen(self) -> None:
        """Read the parent's lines until it closes; then nothing of ours may go on."""
        for line in self._channel.source:
            words = json.loads(line)
            self._answer(words["go"]).put(words["timestamp"])
        os._exit(1)

    def wait(self, image: str) -> int:
        """Say that ``image`` is ready for the engine and wait for its timestamp (seconds since the epoch).

        Raises:
            RuntimeError: the parent does not want it built.
        """
        self._channel.emit("ready", image=image)
        timestamp = self._answer(image).get()
        if timestamp is None:
            raise RuntimeError("stopped before the engine's build")
        return timestamp


class SteadyTarFile(tarfile.TarFile):
    """Writes members with a constant time."""

    def addfile(self, tarinfo: tarfile.TarInfo, fileobj: Any = None) -> None:
        """As the base class does."""
        tarinfo.mtime = MEMBER_TIME
        super().addfile(tarinfo, fileobj)


def build(channel: Any, request: dict[str, Any], conf: Any) -> None:
    """Build every image of the tree at ``request["root"]``, whose ``request["paths"]`` are the images' folders."""
    from kolla.image import tasks  # type: ignore[import-not-found]
    from kolla.image.build import WorkerThread  # type: ignore[import-not-found]
    from kolla.image.kolla_worker import KollaWorker  # type: ignore[import-not-found]

    gate = Gate(channel)
    threading.Thread(target=gate.listen, daemon=True).start()
    worker = KollaWorker(conf)
    worker.working_dir = request["root"]
    worker.docker_build_paths = [f"{request['root']}/{path}" for path in request["paths"]]
    worker.build_image_list()
    worker.find_parents()
    worker.filter_images()
    steady = types.ModuleType("tarfile")
    steady.__dict__.update(vars(tarfile))
    steady.open = SteadyTarFile.open  # type: ignore[attr-defined]
    tasks.tarfile = steady
    tasks.BuildTask.run = _reporting(channel, tasks.BuildTask.run)
    _wrap_podman(channel, gate, {image.canonical_name: image.name for image in worker.images})

    pushes: queue.Queue[Any] = queue.Queue()
    builds = worker.build_queue(pushes)
    threads = [WorkerThread(conf, builds) for _ in range(conf.threads)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    builds.join()
    builds.put(WorkerThread.tombstone)
    channel.emit("done", statuses={image.name: image.status.value for image in worker.images})


def _reporting(channel: Any, original: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(task: Any) -> None:
        channel.emit("started", image=task.image.name)
        begin = time.monotonic()
        try:
            original(task)
        finally:
            channel.emit(
                "finished",
                image=task.image.name,
                status=task.image.status.value,
                seconds=round(time.monotonic() - begin, 3),
            )

    return run


def _wrap_podman(channel: Any, gate: Gate, names: dict[str, str]) -> None:
    from podman.api.client import APIClient  # type: ignore[import-not-found]
    from podman.domain.images_build import BuildMixin  # type: ignore[import-not-found]

    build_image, render_params, post = BuildMixin.build, BuildMixin._render_params, APIClient.post
    now = threading.local()  # .image and .timestamp of the build that runs in a thread

    def gated_build(self: Any, **kwargs: Any) -> Any:
        now.image = names[kwargs["tag"]]
        set_times(kwargs["path"])
        now.timestamp = gate.wait(now.image)
        return build_image(self, **kwargs)

    def stamped_params(kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**render_params(kwargs), "timestamp": now.timestamp}

    def telling_post(self: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        response = post(self, path, *args, **kwargs)
        if path == "/build":
            lines, image = response.iter_lines, now.image
            response.iter_lines = lambda: _tell(channel, image, lines())
        return response

    BuildMixin.build = gated_build
    BuildMixin._render_params = staticmethod(stamped_params)
    APIClient.post = telling_post


def _tell(channel: Any, image: str, lines: Iterator[bytes]) -> Iterator[bytes]:
    for raw in lines:
        for text in str(json.loads(raw).get("stream", "")).splitlines():
            if text.strip():
                channel.emit("line", image=image, text=text[:_LINE])
        yield raw


def set_times(folder: str) -> None:
    """Give everything in a build context one time."""
    for directory, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.utime(f"{directory}/{name}", (0, 0), follow_symlinks=False)
    os.utime(folder, (0, 0))
