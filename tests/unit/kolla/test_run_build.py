from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.errors import BuildError, ToolError
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.render import RenderedTree
from airlock.kolla.run_build import BuildOutcome, ImageOutcome, run_build


def outcome(*statuses: tuple[str, str], log: Path = Path("none.log")) -> BuildOutcome:
    return BuildOutcome(
        tuple(ImageOutcome(name=name, status=status, seconds=1.0, log=log, said=[]) for name, status in statuses)
    )


def test_all_built_is_success() -> None:
    result = outcome(("base", "built"), ("keystone", "built"))
    result.check()
    assert result.failed == []


@pytest.mark.parametrize("status", ["error", "parent_error", "connection_error", "matched", "unprocessed", "building"])
def test_anything_but_built_is_failure(status: str) -> None:
    with pytest.raises(BuildError, match=f"keystone \\({status}\\)"):
        outcome(("base", "built"), ("keystone", status)).check()


def test_the_image_that_failed_itself_comes_first_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\n" * 20 + "\nE: it broke\n\n")
    result = outcome(("base", "matched"), ("keystone", "error"), log=log)
    assert [image.name for image in result.failed] == ["keystone", "base"]
    with pytest.raises(BuildError, match=r"keystone's log ends with:(\n  one){7}\n  E: it broke$"):
        result.check()


async def no_time(image: str) -> int:
    raise AssertionError(image)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "/nonexistent/python"])
async def test_a_worker_that_does_not_answer_is_an_error_and_not_a_hang(tmp_path: Path, program: str) -> None:
    tree = RenderedTree(
        mode="sealed", arch="x86_64", root=tmp_path, conf=tmp_path / "c", conf_dir=tmp_path, images=(), apt={},
        upstreams={}, kolla_version="18.8.0", python_version="3.11",
    )  # fmt: skip
    with pytest.raises(ToolError):
        await run_build(
            KollaEnvironment(Path(program)),
            tree,
            socket="unix:///none",
            logs=tmp_path / "logs",
            threads=1,
            prepare=no_time,
        )
