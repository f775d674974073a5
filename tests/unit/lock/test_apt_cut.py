"""Cutting apt's lists keeps all that can be reached, byte for byte, and nothing else."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from airlock.lock.apt_cut import cut_lists

NAMES = [f"p{number}" for number in range(8)]


def stanza(name: str, depends: list[str], provides: list[str], priority: str = "optional") -> str:
    text = f"Package: {name}\nVersion: 1\nPriority: {priority}\n"
    text += f"Depends: {', '.join(f'{d} (>= 1) | other-{d}:any' for d in depends)}\n" if depends else ""
    text += f"Provides: {', '.join(f'{p} (= 1)' for p in provides)}\n" if provides else ""
    return text


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True), min_size=1),
    st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_what_can_be_reached_stays_and_nothing_else(
    tmp_path_factory: object, depends: dict[str, list[str]], roots: set[str]
) -> None:
    path = tmp_path_factory.mktemp("cut") / "Packages"  # type: ignore[attr-defined]
    blocks = {name: stanza(name, found, []) for name, found in depends.items()}
    path.write_text("\n".join(blocks.values()))
    kept, there = cut_lists([path], roots)
    reached, pending = set(), set(roots)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending |= set(depends.get(name, []))
    expected = [block for name, block in blocks.items() if name in reached]
    assert path.read_text() == "".join(block + "\n" for block in expected)
    assert (kept, there) == (len(expected), len(blocks))


def test_providers_required_packages_and_globs_are_reached(tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    blocks = [
        stanza("dash", [], [], "required"),
        stanza("mta-a", [], ["mail-transport-agent"]),
        stanza("mta-b", ["lib-b"], ["mail-transport-agent"]),
        stanza("lib-b", [], []),
        stanza("grub-efi-amd64-signed", [], []),
        stanza("vim", [], []),
    ]
    path.write_text("\n".join(blocks))
    cut_lists([path], {"mail-transport-agent", "grub-efi-*64-signed"})
    text = path.read_text()
    assert [
        name
        for name in ("dash", "mta-a", "mta-b", "lib-b", "grub-efi-amd64-signed")
        if f"Package: {name}\n" not in text
    ] == []
    assert "vim" not in text


def test_a_missing_list_is_passed_over(tmp_path: Path) -> None:
    assert cut_lists([tmp_path / "absent"], {"x"}) == (0, 0)
