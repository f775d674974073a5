"""Asks uv which versions one pip command ends with, in a sandbox whose only way out is the witness.

``uv pip compile`` under the constraints, for the image's interpreter and platform, with what is installed as
preferences (uv takes an existing output file for that): pip's "upgrade only if needed". How exact this is against real
builds, and what goes wrong otherwise: docs/ecosystems/python.md.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import uv
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from airlock.core.errors import ResolutionError
from airlock.core.process import PATH
from airlock.fetch.witness import Witness
from airlock.lock.python_files import Target
from airlock.lock.python_model import SourceTree
from airlock.lock.sandbox import Limits, Outcome, Relay, reserve_user, run_sandboxed

LIMITS = Limits(seconds=900.0, memory=3 << 30, processes=512)
_WORDS = 1200  # characters of uv's own words in an error


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One resolution.

    Attributes:
        requirements: PEP 508 lines.
        sources: source trees asked for.
        constraints: text in the format of a constraints file.
        build_constraints: the same, for what uv itself builds to read its metadata.
        known: source trees that are installed already: used for their names if something asks for these.
        prefer: versions to keep where they still fit: normalised name → version.
        upgrade: names not to keep.
        wheels_only: take no sdist.
    """

    requirements: tuple[str, ...] = ()
    sources: tuple[SourceTree, ...] = ()
    constraints: str = ""
    build_constraints: str = ""
    known: tuple[SourceTree, ...] = ()
    prefer: tuple[tuple[str, str], ...] = ()
    upgrade: tuple[str, ...] = ()
    wheels_only: bool = False


class Compiler:
    """Runs uv for one lock.

    Args:
        witness: the only index that uv sees.
        socket: the witness's unix socket.
        upstream: the witness's name for the index.
        target: interpreter and platform.
        work: an own folder, emptied first: uv's cache must not know what this witness has not recorded.
    """

    def __init__(self, witness: Witness, socket: Path, upstream: str, target: Target, work: Path) -> None:
        self._witness, self._socket, self._upstream = witness, socket, upstream
        self._target, self._work = target, work
        shutil.rmtree(work, ignore_errors=True)
        (work / "cache").mkdir(parents=True)
        self._answers: dict[Question, dict[str, str]] = {}
        self._asked: dict[Question, asyncio.Lock] = {}
        self._at_a_time = asyncio.Semaphore(os.cpu_count() or 1)
        self._runs = itertools.count()
        self._user = reserve_user()  # whose the cache is

    async def versions(self, question: Question, where: str) -> dict[str, str]:
        """Normalised name → version of everything that the answer holds; source trees have the version ``""``.

        Args:
            where: image and line, for messages.

        Raises:
            ResolutionError: it cannot be satisfied; with uv's own words.
            UpstreamError, IntegrityError, SpaceError: the index failed while uv asked, or its answer could not be kept.
        """
        if not question.requirements and not question.sources:
            return {}
        async with self._asked.setdefault(question, asyncio.Lock()):  # the same is asked once
            if question not in self._answers:
                async with self._at_a_time:
                    self._answers[question] = await self._versions(question, where)
            return self._answers[question]

    async def _versions(self, question: Question, where: str) -> dict[str, str]:
        failures = len(self._witness.failures)
        outcome, output = await self._run(question)
        if outcome.returncode != 0:
            if self._witness.failures[failures:]:
                error = self._witness.failures[-1].error
                raise type(error)(f"{where}: {error.message}", remedy=error.remedy)
            raise ResolutionError(f"{where}: {_words(outcome)}", remedy=_REMEDY)
        return parse_output(output, where)

    async def _run(self, question: Question) -> tuple[Outcome, str]:
        folder = self._work / f"question-{next(self._runs)}"
        folder.mkdir()
        trees = {
            f"/sources/{tree.artifact or tree.name}/{tree.file}": tree for tree in (*question.known, *question.sources)
        }
        address = {tree: inside for inside, tree in trees.items()}
        asked = [*question.requirements, *(_direct(tree, address[tree]) for tree in question.sources)]
        known = [_direct(tree, address[tree], extras=False) for tree in question.known]
        (folder / "line.in").write_text(_lines(asked), "utf-8")
        (folder / "constraints.txt").write_text(question.constraints + "\n" + _lines(known), "utf-8")
        (folder / "build.txt").write_text(question.build_constraints, "utf-8")
        (folder / "out.txt").write_text(_lines(f"{name}=={version}" for name, version in question.prefer), "utf-8")
        outcome = await run_sandboxed(
            ["/run/airlock/uv", *self._arguments(question)],
            read_only={"/run/airlock/uv": Path(uv.find_uv_bin())}
            | {inside: tree.path for inside, tree in trees.items()},
            writable={"/question": folder, "/cache": self._work / "cache"},
            # Bytecode, in environments that are uv's own: it asks each backend twice, in two processes.
            environment={"UV_PYTHON_DOWNLOADS": "never", "PATH": PATH, "PYTHONDONTWRITEBYTECODE": ""},
            folder="/question",
            relay=Relay(self._witness.port, self._socket),
            limits=LIMITS,
            user=self._user,
        )
        output = (folder / "out.txt").read_text("utf-8")
        shutil.rmtree(folder)
        return outcome, output

    def _arguments(self, question: Question) -> list[str]:
        return [
            *("--no-config", "--cache-dir", "/cache", "--color", "never", "--no-progress", "--quiet"),
            *("pip", "compile", "line.in", "-c", "constraints.txt", "-b", "build.txt", "-o", "out.txt"),
            *("--default-index", self._witness.url(self._upstream)),
            *("--python-version", self._target.python, "--python-platform", self._target.uv_platform),
            *("--python", python_path(self._target.minor)),
            *("--no-header", "--no-annotate"),
            *(("--no-build",) if question.wheels_only else ()),
            *(word for name in question.upgrade for word in ("--upgrade-package", name)),
        ]


_REMEDY = (
    "Correct the requirement in the Kolla override that adds it, pin a version that fits under [python] pins in the "
    "release definition, or change its constraints file."
)


def python_path(minor: tuple[int, int]) -> str:
    """The system's interpreter of that version, or whichever there is; only metadata is built with it."""
    exact = Path(f"/usr/bin/python{minor[0]}.{minor[1]}")
    return str(exact) if exact.exists() else "/usr/bin/python3"


def parse_output(text: str, where: str) -> dict[str, str]:
    """Normalised name → version of what ``uv pip compile`` wrote.

    Raises:
        ResolutionError: a line is neither ``name==version`` nor ``name @ address``.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition(" #")[0].strip()
        if not words or words.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(words)
        except InvalidRequirement:
            raise ResolutionError(f"{where}: uv answers {words!r}, which is no requirement") from None
        version = "" if requirement.url else next(iter(requirement.specifier)).version
        found[str(canonicalize_name(requirement.name))] = version
    return found


def preferences(versions: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A mapping as ``Question.prefer``; source trees, which have no version on the index, are left out."""
    return tuple(sorted((name, version) for name, version in versions.items() if version))


def _direct(tree: SourceTree, inside: str, *, extras: bool = True) -> str:
    words = f"[{','.join(sorted(tree.extras))}]" if extras and tree.extras else ""
    fragment = f"#subdirectory={tree.folder}" if tree.folder else ""
    return f"{tree.name}{words} @ file://{inside}{fragment}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _words(outcome: Outcome) -> str:
    """uv's own words, on one line, shortened; addresses of the relay left out."""
    if outcome.stopped:
        return f"uv was stopped: too much {outcome.stopped}"
    text = outcome.stderr.decode("utf-8", "replace")
    text = re.sub(r"http://127\.0\.0\.1:\d+", "", text)
    text = " ".join(text.replace("×", " ").replace("╰─▶", " ").replace("│", " ").split())
    return text if len(text) <= _WORDS else f"{text[: _WORDS // 3]} … {text[-_WORDS * 2 // 3 :]}"


def names_of(requirements: Sequence[str]) -> tuple[str, ...]:
    """Normalised names of PEP 508 requirements, sorted."""
    return tuple(sorted({str(canonicalize_name(Requirement(one).name)) for one in requirements}))
