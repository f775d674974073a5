"""Files out of layers are those that a container of the image would see; hostile layers are refused."""

import gzip
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.image_registry import link, tar

from airlock.core.errors import FormatError, IntegrityError
from airlock.lock import image_layers
from airlock.lock.image_layers import Layer, member_path, read_layers


@pytest.fixture
def layers(tmp_path):
    def make(*datas: bytes, compress: bool = True) -> list[Layer]:
        made = []
        for number, data in enumerate(datas):
            path = tmp_path / f"layer{number}"
            path.write_bytes(gzip.compress(data, 1) if compress else data)
            made.append(Layer(path, ".tar.gz" if compress else ".tar", hashlib.sha256(data).hexdigest()))
        return made

    return make


def everything(path: str) -> bool:
    return True


def test_upper_layers_replace_and_whiteouts_take_away(layers):
    lowest = tar(
        {"./etc/a": b"1", "/etc/b": b"1", "etc/d/c": b"1", "etc/e/f": b"1", "etc/file": b"1", "etc/dir/x": b"1"}
    )
    middle = tar({"etc/a": b"2", "etc/.wh.b": b"", "etc/.wh.d": b"", "etc/file/inside": b"2", "etc/file": None,
                  "etc/dir": b"now a file"})  # fmt: skip
    top = tar({"etc/d/new": b"3", "etc/e/g": b"3", "etc/e/.wh..wh..opq": b""})
    assert read_layers(layers(lowest, middle, top), everything) == {
        "etc/a": b"2", "etc/file/inside": b"2", "etc/dir": b"now a file", "etc/d/new": b"3", "etc/e/g": b"3",
    }  # fmt: skip
    assert read_layers(layers(lowest), lambda path: path == "etc/b") == {"etc/b": b"1"}
    assert read_layers(layers(lowest, compress=False), lambda path: path == "etc/a") == {"etc/a": b"1"}


def test_links_are_no_files_but_hard_links_are(layers):
    data = tar({"a": b"1", "b": link("a", tarfile.LNKTYPE), "c": link("/etc/passwd"), "d": link("x", tarfile.CHRTYPE)})
    assert read_layers(layers(data), everything) == {"a": b"1", "b": b"1", "c": None, "d": None}
    folder = tar({"etc": link("usr/etc")})
    assert read_layers(layers(tar({"etc/a": b"1"}), folder), lambda path: path == "etc/a") == {}


@pytest.mark.parametrize("name", ["../etc/a", "etc/../../a", "/..", "./../x", "a/.wh../.."])
def test_a_name_that_climbs_is_refused(layers, name):
    with pytest.raises(FormatError, match="called"):
        read_layers(layers(tar({name: b"1"})), everything)


@given(st.text(st.sampled_from("ab./"), max_size=20))
def test_a_members_path_never_leaves_the_root(name):
    try:
        path = member_path(name)
    except FormatError:
        assert ".." in name
    else:
        assert not path.startswith("/")
        assert ".." not in Path(path).parts


def test_another_tar_than_the_configuration_names_is_refused(layers):
    (layer,) = layers(tar({"a": b"1"}))
    with pytest.raises(IntegrityError, match="configuration names"):
        read_layers([Layer(layer.path, layer.extension, "0" * 64)], everything)


def test_cut_off_garbled_and_oversized_layers_are_refused(layers, monkeypatch):
    (layer,) = layers(tar({"a": b"1" * 50_000, "b": b"2"}))
    whole = layer.path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-4] + b"oops",
        b"no gzip at all",
        b"",
        gzip.compress(b"no tar" * 99),
    ):
        layer.path.write_bytes(damaged)
        with pytest.raises((FormatError, IntegrityError)):
            read_layers([layer], everything)
    layer.path.write_bytes(whole)
    monkeypatch.setattr(image_layers, "MAX_FILE", 49_999)
    with pytest.raises(FormatError, match="larger"):
        read_layers([layer], everything)
    monkeypatch.setattr(image_layers, "MAX_LAYER", 1000)
    with pytest.raises(FormatError, match="larger"):
        read_layers([layer], lambda path: False)


def test_a_giant_name_is_refused_before_it_is_read(layers):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    with pytest.raises(FormatError, match="extended header"):
        read_layers(layers(header.tobuf(tarfile.GNU_FORMAT) + b"a" * 4096), everything)


names = st.sampled_from(["a", "b", "a/b", "a/c", "b/a/c", "a/b/c"])
changes = st.dictionaries(names, st.sampled_from(["file", "dir", "whiteout", "opaque"]), max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(changes, min_size=1, max_size=4))
def test_what_is_found_is_what_unpacking_layer_by_layer_gives(layers, tmp_path, stack):
    """Against GNU tar and rm, as image-spec tells an unpacker to go about it."""
    root = tmp_path / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    datas = []
    for number, changed in enumerate(stack):
        # A tar that unpacks: a name is a folder for the names below it.
        kinds = {
            name: kind for name, kind in changed.items()
            if not any(other != name and name.startswith(f"{other}/") and changed[other] in ("file", "whiteout")
                       for other in changed)
        }  # fmt: skip
        members: dict[str, bytes | None] = {}
        for name, kind in sorted(kinds.items()):
            folder, _, base = name.rpartition("/")
            parents = [str(parent) for parent in list(Path(name).parents)[-2::-1]]
            members |= dict.fromkeys(parents)
            if kind == "whiteout":
                members[f"{folder}/.wh.{base}".lstrip("/")] = b""
                subprocess.run(["rm", "-rf", root / name], check=True)
            elif kind == "opaque":
                members |= {name: None, f"{name}/.wh..wh..opq": b""}
                subprocess.run(["rm", "-rf", root / name], check=True)
            else:
                members[name] = None if kind == "dir" else f"{number}".encode()
        for name, data in members.items():
            target = root / name
            if ".wh." in name:
                continue
            if target.is_dir() != (data is None) and target.exists():
                subprocess.run(["rm", "-rf", target], check=True)
            if data is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        datas.append(tar(members))
    expected = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert read_layers(layers(*datas), everything) == expected
