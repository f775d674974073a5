from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.build.compare import Comparison, ImageComparison, compare_records
from airlock.evidence.record import Package, UsedWheel


def of(comparison: Comparison, name: str) -> ImageComparison:
    (found,) = [image for image in comparison.images if image.name == name]
    return found


def test_two_builds_with_the_same_digests_are_the_same_although_they_differ_in_time(records):
    other = records.make("b2", started="2025-01-01T00:00:00Z", stages={"build": 1.0})
    comparison = compare_records(records.make(), other)
    assert comparison.same
    assert [image.same for image in comparison.images] == [True, True]
    assert comparison.inputs == ()


def test_nothing_at_all_is_never_called_the_same(records):
    assert not compare_records(records.make(images=[]), records.make("b2", images=[])).same


def test_the_first_differing_layer_is_named_and_children_are_said_to_inherit_it(records):
    left = records.make()
    right = records.with_image(left, "base", digest="sha256:x", diff_ids=["sha256:l0", "sha256:changed"])
    right = records.with_image(
        right, "keystone", digest="sha256:y", diff_ids=["sha256:l0", "sha256:changed", "sha256:new"]
    )
    comparison = compare_records(left, right)
    assert not comparison.same
    base, keystone = of(comparison, "base"), of(comparison, "keystone")
    assert (base.layer, base.inherited_from) == (1, "")
    assert "layer 2 of 2: l1 ≠ changed" in base.first
    assert (keystone.layer, keystone.inherited_from) == (1, "base")
    assert "inherited from base" in keystone.first


def test_a_difference_that_begins_in_the_child_is_not_blamed_on_the_parent(records):
    left = records.make()
    right = records.with_image(left, "keystone", digest="sha256:y", diff_ids=["sha256:l0", "sha256:l1", "sha256:z"])
    keystone = of(compare_records(left, right), "keystone")
    assert (keystone.layer, keystone.inherited_from) == (2, "")


def test_inheritance_is_traced_to_the_furthest_ancestor(records):
    left = records.make()
    fernet = records.image("fernet", "keystone", ["sha256:l0", "sha256:l1", "sha256:l2", "sha256:l3"])
    left = msgspec.structs.replace(left, images=[*left.images, fernet])
    right = left
    for name in ("base", "keystone", "fernet"):
        (one,) = [image for image in left.images if image.name == name]
        right = records.with_image(right, name, digest=f"sha256:{name}", diff_ids=["sha256:X", *one.diff_ids[1:]])
    comparison = compare_records(left, right)
    assert of(comparison, "fernet").inherited_from == "base"
    assert of(comparison, "keystone").inherited_from == "base"


def test_a_parent_that_names_itself_does_not_loop(records):
    left = records.with_image(records.make(), "base", parent="keystone", diff_ids=["sha256:a"])
    right = records.with_image(left, "base", digest="sha256:x", diff_ids=["sha256:b"])
    right = records.with_image(right, "keystone", digest="sha256:y", diff_ids=["sha256:b"])
    assert not compare_records(left, right).same


def test_a_further_layer_is_a_difference(records):
    left = records.make()
    right = records.with_image(
        left, "keystone", digest="sha256:y", diff_ids=["sha256:l0", "sha256:l1", "sha256:l2", "sha256:l3"]
    )
    keystone = of(compare_records(left, right), "keystone")
    assert (keystone.layer, keystone.layers) == (3, (3, 4))
    assert "one has 3 layers, the other 4" in keystone.first


def test_equal_layers_with_another_configuration_or_manifest_are_told_apart(records):
    left = records.make()
    config = records.with_image(left, "keystone", digest="sha256:y", id="sha256:other", timestamp=1)
    manifest = records.with_image(left, "keystone", digest="sha256:y")
    first = of(compare_records(left, config), "keystone")
    assert "configuration differs" in first.first
    assert [(item.what, item.left, item.right) for item in first.differences] == [("timestamp", "1700000000", "1")]
    assert "only the manifest" in of(compare_records(left, manifest), "keystone").first


def test_packages_that_differ_are_named_with_both_versions(records):
    left = records.make()
    right = records.with_image(
        left,
        "base",
        digest="sha256:x",
        packages=[
            Package(kind="dpkg", name="libc6", version="2.36-10", arch="amd64"),
            Package(kind="dpkg", name="curl", version="7", arch="amd64"),
        ],
    )
    found = {item.what: (item.left, item.right) for item in of(compare_records(left, right), "base").differences}
    assert found["dpkg libc6:amd64"][0].startswith("2.36-9 (sha256 aaaa")
    assert found["dpkg libc6:amd64"][1] == "2.36-10"
    assert found["dpkg curl:amd64"] == ("", "7")


def test_the_same_version_from_another_file_is_a_difference(records):
    left = records.make()
    packages = [Package(kind="dpkg", name="libc6", version="2.36-9", arch="amd64", sha256=records.sha["f"])]
    right = records.with_image(left, "base", digest="sha256:x", packages=packages)
    assert [item.what for item in of(compare_records(left, right), "base").differences] == ["dpkg libc6:amd64"]


def test_an_image_in_one_record_only_is_reported_and_counts(records):
    left = records.make()
    right = msgspec.structs.replace(left, images=left.images[:1])
    comparison = compare_records(left, right)
    assert not comparison.same
    keystone = of(comparison, "keystone")
    assert (keystone.where, keystone.right) == ("left", "")
    assert of(compare_records(right, left), "keystone").where == "right"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kolla": {"version": "18.9.0"}}, "kolla version"),
        ({"git": {"keystone": "abc"}}, "git keystone"),
        ({"engine": {"podman": "5", "driver": "overlay"}}, "engine podman"),
        ({"served": []}, "served /pool/aa/" + "a" * 64 + "/libc6_2.36-9_amd64.deb"),
        ({"wheels": []}, "wheel gssapi-1.8.3-cp311-cp311-linux_x86_64.whl for keystone"),
        ({"state": "failure"}, "state"),
    ],
)
def test_every_kind_of_input_that_differs_is_named_even_when_the_images_are_the_same(records, changes, what):
    comparison = compare_records(records.make(), records.make("b2", **changes))
    assert comparison.same
    assert what in [item.what for item in comparison.inputs]


def test_a_wheel_built_anew_with_other_bytes_is_named(records):
    left = records.make()
    (wheel,) = left.wheels
    changed = msgspec.structs.replace(wheel, sha256=records.sha["f"])
    assert isinstance(changed, UsedWheel)
    (item,) = compare_records(left, records.make("b2", wheels=[changed])).inputs
    assert item.left.startswith(records.sha["b"])
    assert item.right.startswith(records.sha["f"])


@pytest.mark.parametrize("field", ["digest", "lock", "definition"])
def test_another_bundle_is_an_input_that_differs(records, field):
    left = records.make()
    bundle = msgspec.structs.replace(left.bundle, **{field: records.sha["0"]})
    (item,) = compare_records(left, records.make("b2", bundle=bundle)).inputs
    assert field in item.what


def test_another_delivery_of_the_same_content_is_no_difference(records):
    left = records.make()
    bundle = msgspec.structs.replace(left.bundle, manifest=records.sha["0"])
    assert compare_records(left, records.make("b2", bundle=bundle)).inputs == ()


@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_the_named_layer_is_where_the_two_lists_part(one, other):
    from airlock.build.compare import _first_layer

    index = _first_layer(one, other)
    if index is None:
        assert one == other
    else:
        assert one[:index] == other[:index]
        assert one[index : index + 1] != other[index : index + 1]
