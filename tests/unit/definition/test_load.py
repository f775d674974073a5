"""A release definition: what is refused, and how well the error helps."""

from pathlib import Path

import pytest

from airlock.core.errors import DefinitionError
from airlock.definition.load import definition_digest, load_definition

GOOD = """
name = "s"
openstack = "2024.1"
images = ["keystone"]
[kolla]
version = "18.8.0"
[base]
distribution = "debian"
release = "bookworm"
architectures = ["x86_64"]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "upper-constraints.txt").write_text("pbr===6.0.0\n")
    (folder / "release.toml").write_text(text)
    return folder


def test_the_example_of_all_images_is_of_the_same_constraints_and_names_each_section_once() -> None:
    root = Path(__file__).parents[3] / "examples"
    loaded = load_definition(root / "all-debian")
    assert loaded.definition.images == "all"
    assert loaded.files["upper-constraints.txt"] == (root / "keystone/upper-constraints.txt").read_bytes()
    assert all(reason.strip() for reason in loaded.definition.leave_out.values())


def test_the_example_loads() -> None:
    loaded = load_definition(Path(__file__).parents[3] / "examples/keystone")
    assert set(loaded.files) == {"release.toml", "upper-constraints.txt"}
    assert loaded.definition.images == ["keystone", "keystone-fernet", "keystone-ssh"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("images =", "imges ="), "did you mean 'images'"),
        (("distribution =", "distribtion ="), "did you mean 'distribution'"),
        (('"debian"', '"debain"'), "did you mean 'debian'"),
        (('"x86_64"', '"x86-64"'), "did you mean 'x86_64'"),
        (('["keystone"]', "[]"), "neither images nor profile names anything"),
        (("[kolla]", '[leave_out]\nfluentd = ""\n[kolla]'), "[leave_out] fluentd wants a reason"),
        (('version = "18.8.0"', ""), "kolla.version"),
        (('name = "s"', 'name = "../s"'), "cannot name a bundle"),
        (('name = "s"', "name = "), "is not TOML"),
        (("[kolla]", '[kolla]\ntemplate_overrides = ["../x.j2"]'), "must lie beside"),
        (("[kolla]", '[kolla]\ntemplate_overrides = ["x.j2"]'), "does not exist"),
        (('name = "s"', 'name = "s..t"'), "cannot name a bundle"),
        (('version = "18.8.0"', 'source = "git"'), "kolla.ref = '' names no ref"),
        (('version = "18.8.0"', 'source = "git"\nref = "--upload-pack=x"'), "names no ref"),
        (('version = "18.8.0"', 'source = "git"\nref = "1"\n[git.kolla]\nref = "2"'), "carries already"),
        (("[kolla]", '[git.config]\nref = "-x"\n[kolla]'), "git.config.ref = '-x' names no ref"),
        (("[kolla]", '[git.config]\nref = "main@{1}"\n[kolla]'), "names no ref"),
        (("[kolla]", "[git.config]\n[kolla]"), "ref"),
        (("[kolla]", '[git.config]\nref = "m"\nrev = "x"\n[kolla]'), "did you mean 'ref'"),
        (("[kolla]", '[git."../x"]\nref = "m"\n[kolla]'), "cannot name a repository"),
        (("[kolla]", '[git.A]\nref = "m"\n[kolla]'), "cannot name a repository"),
    ],
)
def test_a_wrong_definition_is_refused_with_the_nearest_valid_name(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_definition(write(tmp_path, GOOD.replace(*change)))
    assert says in caught.value.message
    assert caught.value.remedy


def test_the_digest_changes_with_every_file_and_only_then(tmp_path: Path) -> None:
    first = load_definition(write(tmp_path, GOOD)).digest
    assert load_definition(tmp_path / "release.toml").digest == first
    (tmp_path / "unrelated").write_text("x")
    assert load_definition(tmp_path).digest == first
    (tmp_path / "upper-constraints.txt").write_text("pbr===6.0.1\n")
    assert load_definition(tmp_path).digest != first
    assert definition_digest({"a": b"1"}) != definition_digest({"a": b"2"})
