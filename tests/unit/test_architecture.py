"""The house's own rules: layering, a page for every verb, a code for every error, fields that are documented."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
import pytest

from airlock.core import errors
from airlock.core.errors import AirlockError
from airlock.core.settings import FactoryFile, SiteFile
from airlock.definition.model import Definition
from airlock.evidence.record import Record
from airlock.evidence.window import WindowRecord

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def lint_imports(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(source), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    command = [str(program), "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_rooms_import_downwards_only(tmp_path):
    result = lint_imports(tmp_path, ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_upwards_would_be_found(tmp_path):
    shutil.copytree(ROOT / "src" / "airlock", tmp_path / "src" / "airlock")
    with (tmp_path / "src" / "airlock" / "store" / "pool.py").open("a", encoding="utf-8") as stream:
        stream.write("\nfrom airlock.lock.model import Lock  # noqa\n")
    result = lint_imports(tmp_path, tmp_path / "src")
    assert result.returncode != 0
    assert "airlock.store.pool -> airlock.lock.model" in result.stdout


def verbs() -> dict[str, Any]:
    import typer.main

    app = import_module("airlock.cli.main").make_app()
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def commands_of(command: Any) -> list[Any]:
    """A verb, or what it groups."""
    return list(getattr(command, "commands", {}).values()) or [command]


def test_every_verb_has_a_page_that_names_its_options():
    found = verbs()
    assert len(found) >= 11
    for name, command in found.items():
        page = DOCS / "verbs" / f"{name}.md"
        assert page.is_file(), f"docs/verbs/{name}.md is missing"
        text = page.read_text("utf-8")
        parameters = [parameter for one in commands_of(command) for parameter in one.params]
        options = {option for parameter in parameters for option in parameter.opts if option.startswith("--")}
        missing = sorted(option for option in options - {"--help"} if not re.search(rf"{option}\b", text))
        assert not missing, f"docs/verbs/{name}.md does not name {missing}"


def test_every_verb_answers_in_json():
    for name, command in verbs().items():
        for one in commands_of(command):
            assert any("--json" in parameter.opts for parameter in one.params), (name, one.name)


def test_no_page_is_about_a_verb_that_does_not_exist():
    assert {page.stem for page in (DOCS / "verbs").glob("*.md")} <= set(verbs())


def error_classes() -> list[type[AirlockError]]:
    for module in (ROOT / "src" / "airlock").rglob("*.py"):
        text = module.read_text("utf-8")
        if re.search(r"^class \w+\((?:AirlockError|UpstreamError)\)", text, re.MULTILINE):
            assert module.name == "errors.py", f"{module} defines an error of its own; errors.py is their one place"
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AirlockError)]


def test_every_error_has_an_exit_code_of_its_own_that_is_documented():
    classes = error_classes()
    assert len(classes) >= 17
    codes = {kind.exit_code: kind.__name__ for kind in classes}
    assert len(codes) == len(classes), "two classes share an exit code"
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (DOCS / "exit-codes.md").read_text("utf-8"), re.MULTILINE)
    documented = {int(code): name for code, name in rows}
    assert documented == codes


def fields_of(table: type, prefix: str = "") -> Iterator[str]:
    """Every field of a struct and of the structs in it, as ``a.b``."""
    hints = get_type_hints(table)
    for field in msgspec.structs.fields(table):
        name = f"{prefix}{field.encode_name}"
        yield name
        for inner in (hints[field.name], *get_args(hints[field.name])):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from fields_of(inner, f"{name}.")


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("definition.md", Definition),
        ("settings.md", FactoryFile),
        ("settings.md", SiteFile),
        ("record.md", Record),
        ("window.md", WindowRecord),
    ],
)
def test_every_field_of_a_format_is_documented(page, table):
    text = (DOCS / "formats" / page).read_text("utf-8")
    documented = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    fields = set(fields_of(table))
    assert fields <= documented, f"docs/formats/{page} lacks {sorted(fields - documented)}"
    if table is not FactoryFile and table is not SiteFile:
        assert documented <= fields, f"docs/formats/{page} tells of {sorted(documented - fields)}, which is not there"


def test_settings_tell_of_no_key_that_is_not_there():
    text = (DOCS / "formats" / "settings.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    assert documented <= {*fields_of(FactoryFile), *fields_of(SiteFile)}


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]


def test_every_link_in_the_documentation_leads_to_a_file():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not urlsplit(target).scheme and not (page.parent / target).exists()
    ]
    assert not broken


def test_every_page_that_a_message_or_comment_sends_people_to_exists():
    sent = {
        (path.relative_to(ROOT).as_posix(), page)
        for folder in ("src", "boxes")
        for path in (ROOT / folder).rglob("*.py")
        for page in re.findall(r"\b(?:docs|examples)/[\w/.-]+\.(?:md|toml)\b", path.read_text("utf-8"))
    }
    assert sent
    assert not sorted((path, page) for path, page in sent if not (ROOT / page).exists())


def tree() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def configured_hosts() -> set[str]:
    """Hosts of package registries: pip's own defaults and configuration, apt's configuration. None is written here."""
    index = import_module("pip._internal.models.index").PyPI
    addresses = {index.url, f"//{index.file_storage_domain}"}
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    addresses.update(re.findall(r"https?://[^\s'\"]+", pip.stdout))
    examples = Path("/usr/share/doc/apt/examples/sources.list")
    for sources in [*Path("/etc/apt").glob("**/*.list"), *Path("/etc/apt").glob("**/*.sources"), examples]:
        if sources.is_file():
            addresses.update(re.findall(r"https?://[^\s'\"]+", sources.read_text("utf-8", "replace")))
    hosts = {urlsplit(address).hostname or "" for address in addresses}
    return {
        host for host in hosts if re.search(r"\.[a-z]+$", host) and not host.endswith((".example.org", ".internal"))
    }


def test_no_package_registry_is_named_in_the_tree_or_its_history():
    hosts = {host.encode() for host in configured_hosts()}
    assert hosts
    named = [
        (path.relative_to(ROOT).as_posix(), host.decode())
        for path in tree()
        for host in hosts
        if host in path.read_bytes()
    ]
    assert not named
    history = subprocess.run(["git", "log", "--format=%B"], cwd=ROOT, capture_output=True, check=True).stdout
    assert not [host for host in hosts if host in history]


def test_no_file_names_the_place_of_this_checkout():
    place = str(ROOT).encode()
    assert not [path.relative_to(ROOT).as_posix() for path in tree() if place in path.read_bytes()]


def test_every_module_and_folder_that_the_documentation_names_exists():
    missing = []
    for page in pages():
        text = page.read_text("utf-8")
        for name in re.findall(r"`((?:src|boxes|tests|scripts|examples)/[\w/.-]*)`", text):
            missing += [] if (ROOT / name).exists() else [(page.name, name)]
        for dotted in re.findall(r"`(airlock(?:\.[a-z_]+)+)`", text):
            place = ROOT / "src" / dotted.replace(".", "/")
            if not (place.is_dir() or place.with_suffix(".py").is_file()) and not dotted.endswith(
                (".lock", ".internal")
            ):
                missing.append((page.name, dotted))
        for dotted in re.findall(r"`(boxes(?:\.[a-z_]+)+)`", text):
            missing += [] if (ROOT / dotted.replace(".", "/")).with_suffix(".py").is_file() else [(page.name, dotted)]
    assert not missing
