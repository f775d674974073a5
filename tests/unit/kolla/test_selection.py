"""Which images a definition means: names, expressions, profiles, all; what is left out, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import DefinitionError
from airlock.definition.model import Definition, LoadedDefinition
from airlock.kolla.environment import WorkerImage
from airlock.kolla.selection import select, wanted


def image(name: str, parent: str, **changes: Any) -> WorkerImage:
    found = WorkerImage(name, f"kolla/{name}:airlock", parent, name, "matched", [])
    return msgspec.structs.replace(found, **changes)


IMAGES = [
    image("base", ""),
    image("fluentd", "base", profiles=["infra"]),
    image("nova-base", "base"),
    image("nova-api", "nova-base", profiles=["main"]),
    image("nova-ssh", "nova-base"),
    image("mtail-base", "base", status="unbuildable", unbuildable="aarch64"),
    image("mtail", "mtail-base", status="unbuildable", profiles=["main"]),
]


def define(**changes: Any) -> LoadedDefinition:
    table = {
        "name": "t",
        "openstack": "2024.1",
        "kolla": {"version": "18.8.0"},
        "base": {"distribution": "debian", "release": "bookworm", "architectures": ["aarch64"]},
    }
    return LoadedDefinition(msgspec.convert(table | changes, Definition), Path("release.toml"), {}, "")


def chosen(**changes: Any) -> list[str]:
    return [one.name for one in select(define(**changes), IMAGES, "18.8.0", "aarch64").images]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"images": ["nova-api"]}, ["base", "nova-base", "nova-api"]),
        ({"images": ["^nova"]}, ["base", "nova-base", "nova-api", "nova-ssh"]),
        ({"images": ["fluentd", "api$"]}, ["base", "fluentd", "nova-base", "nova-api"]),
        ({"profile": ["main"]}, ["base", "nova-base", "nova-api"]),
        ({"profile": ["infra"], "images": ["nova-ssh"]}, ["base", "fluentd", "nova-base", "nova-ssh"]),
        ({"images": "all"}, ["base", "fluentd", "nova-base", "nova-api", "nova-ssh"]),
        ({"images": "all", "leave_out": {"nova-base": "no"}}, ["base", "fluentd"]),
    ],
)
def test_what_is_asked_for_comes_with_its_ancestors_parents_first(asked, names):
    assert chosen(**asked) == names


def test_a_name_means_one_image_and_no_other_that_holds_it():
    assert "nova-ssh" not in chosen(images=["nova-base"])


def test_what_is_left_out_says_why_and_takes_its_descendants_along():
    found = select(define(images="all", leave_out={"nova-base": "not used here"}), IMAGES, "18.8.0", "aarch64")
    assert found.left_out == {
        "nova-base": "not used here",
        "nova-api": "its ancestor nova-base: not used here",
        "nova-ssh": "its ancestor nova-base: not used here",
        "mtail-base": "Kolla lists it as unbuildable on aarch64",
        "mtail": "its ancestor mtail-base: Kolla lists it as unbuildable on aarch64",
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"images": ["nova-apii"]}, "has no image 'nova-apii'; did you mean 'nova-api'?"),
        ({"images": ["^cinder"]}, "no image that '^cinder' matches"),
        ({"images": ["nova-("]}, "is no regular expression"),
        ({"images": "all", "leave_out": {"fluentdd": "x"}}, "has no image 'fluentdd'; did you mean 'fluentd'?"),
        ({"images": ["nova-api"], "leave_out": {"nova-base": "x"}}, "asked for by name, and left out"),
        ({"images": ["mtail"]}, "cannot be built on debian for aarch64: its ancestor mtail-base"),
        ({"images": ["^mtail"]}, "nothing is left to build"),
        ({"profile": ["gate"]}, "the profile gate matches no image"),
        ({"images": ["base"], "checks": {"keystone": ["true"]}}, "has no image 'keystone'"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, said):
    with pytest.raises(DefinitionError) as caught:
        chosen(**asked)
    assert said in caught.value.message
    assert caught.value.remedy


@given(st.sets(st.sampled_from([one.name for one in IMAGES])))
def test_of_all_images_each_is_either_built_with_its_parents_or_left_out_with_a_reason(names):
    if "base" in names:
        return
    found = select(define(images="all", leave_out=dict.fromkeys(names, "no")), IMAGES, "18.8.0", "aarch64")
    built = {one.name for one in found.images}
    assert built | found.left_out.keys() == {one.name for one in IMAGES}
    assert not built & found.left_out.keys()
    assert all(one.parent in built for one in found.images if one.parent)
    assert all(found.left_out.values())


PARENTS = {"base": "", "cron": "base", "nova-base": "base", "nova-api": "nova-base", "nova-ssh": "nova-base"}


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ([], ["base", "cron", "nova-base", "nova-api", "nova-ssh"]),
        (["nova-ssh"], ["base", "nova-base", "nova-ssh"]),
        (["api$", "cron"], ["base", "cron", "nova-base", "nova-api"]),
        (["base"], ["base"]),
    ],
)
def test_a_rehearsals_words_mean_images_of_the_definition_and_their_ancestors_in_depth(words, order):
    assert wanted(words, PARENTS, "release.toml") == order


@pytest.mark.parametrize(
    ("word", "told"), [("nova-aip", "did you mean 'nova-api'"), ("^glance", "matches"), ("(", "no reg")]
)
def test_a_rehearsals_word_that_means_nothing_is_refused(word, told):
    with pytest.raises(DefinitionError, match=told):
        wanted([word], PARENTS, "release.toml")


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_images_that_are_built_from_each_other_are_named(parents: dict[str, str]) -> None:
    images = [image(name, parent) for name, parent in parents.items()]
    with pytest.raises(DefinitionError, match="image a is built from itself: a ← ") as caught:
        select(define(images=["a"]), images, "18.8.0", "aarch64")
    assert "FROM" in caught.value.remedy
