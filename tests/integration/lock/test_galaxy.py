"""Collections: what is resolved is what the real ansible-galaxy installs, from the stand-in and then from the room."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import uv
from tests.ecosystem_ground import gathered, resolve, room
from tests.galaxy_upstream import GalaxyStandIn

from airlock.core.errors import AirlockError, FormatError, ResolutionError, UnclassifiedError
from airlock.core.files import exclusive
from airlock.lock.ecosystem import Answers
from airlock.lock.galaxy import Galaxy
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

CACHE = Path(__file__).resolve().parents[3] / ".cache/tests"
KOLLA = """ENV LANG en_US.UTF-8
COPY requirements.yml /var/lib/ansible/
RUN fail=1; for i in $(seq 1 5); do if \\
ansible-galaxy collection install --timeout 120 -p /usr/share/ansible/collections \\
-r /var/lib/ansible/requirements.yml \\
; then fail=0; break; fi; echo "Collection download failed, retrying"; sleep 5; done; \\
if [ "$fail" -eq 1 ]; then exit 1; fi
"""


@pytest.fixture(scope="session")
def ansible() -> Path:
    """ansible-galaxy of the ansible-core that kolla-toolbox takes."""
    folder = CACHE / "ansible-core-2.16"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "VIRTUAL"))}
    with exclusive(CACHE / "ansible-core-2.16.lock", "a test environment"):
        if not (folder / "complete").exists():
            for words in (
                ["venv", "--clear", "--python", sys.executable, str(folder)],
                ["pip", "install", "--python", str(folder / "bin/python"), "ansible-core==2.16.*"],
            ):
                subprocess.run([uv.find_uv_bin(), *words], check=True, env=environment, capture_output=True)
            (folder / "complete").touch()
    return folder / "bin/ansible-galaxy"


def install(ansible: Path, server: str, words: list[str], work: Path) -> tuple[dict[str, str], str]:
    """What the real one installs: name → version; nothing, and what it says, where it refuses."""
    work.mkdir(parents=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(work), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}
    command = [str(ansible), "collection", "install", "--server", server, "-p", str(work / "collections"), *words]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {}, done.stdout + done.stderr
    manifests = (work / "collections").glob("ansible_collections/*/*/MANIFEST.json")
    found = [json.loads(path.read_text())["collection_info"] for path in manifests]
    return {f"{one['namespace']}.{one['name']}": one["version"] for one in found}, ""


def versions(found: Answers) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in found.artifacts}


def kollas(stand_in: GalaxyStandIn) -> bytes:
    """Kolla's own six, by range, and versions on either side of every bound."""
    for name, bound in (
        ("ansible.posix", 2),
        ("community.mysql", 3),
        ("openstack.cloud", 3),
        ("community.rabbitmq", 2),
    ):
        for major in (bound - 1, bound):
            for minor in (0, 9, 10):
                stand_in.add(name, f"{major}.{minor}.0")
        stand_in.add(name, f"{bound - 1}.11.0-beta.1")
    stand_in.add("community.general", "3.8.10", ansible__posix="<1.10.0")
    stand_in.add("community.general", "4.0.0")
    stand_in.add("openvswitch.openvswitch", "2.1.1", ansible__netcommon=">=2.2.0")
    for version in ("2.1.0", "2.2.0", "2.6.1"):
        stand_in.add("ansible.netcommon", version, ansible__utils=">=2.0.0,<3.0.0")
    for version in ("1.9.0", "2.12.0", "3.0.0"):
        stand_in.add("ansible.utils", version)
    return b"""---
collections:
  - name: ansible.posix
    version: '<2'
  - name: community.general
    version: '<4'
  - name: community.mysql
    version: '<3'
  - name: community.rabbitmq
    version: '<2'
  - name: openstack.cloud
    version: '<3'
  - name: openvswitch.openvswitch
    version: '<3'
"""


async def test_what_kolla_asks_for_is_what_ansible_galaxy_installs_and_again_from_the_room(tmp_path, ansible):
    stand_in = GalaxyStandIn()
    requirements = kollas(stand_in)
    asked = gathered({"kolla-toolbox": KOLLA}, tmp_path / "context", {"requirements.yml": requirements})
    words = ["-r", str(tmp_path / "context/kolla-toolbox/requirements.yml")]
    with stand_in.serving() as address:
        found = await resolve(Galaxy(), asked, address, Pool(tmp_path / "pool"))
        real, why = install(ansible, address, words, tmp_path / "real")
    assert why == ""
    assert versions(found) == real
    assert real["ansible.posix"] == "1.9.0", "an older one, since another collection wants it"
    assert real["community.mysql"] == "2.10.0", "neither a pre-release nor above the range"
    (demand,) = found.demands
    assert demand.kind == "galaxy"
    assert demand.artifacts == tuple(sorted(artifact.id for artifact in found.artifacts))
    files = {hashlib.sha256(data).hexdigest(): data for data in stand_in.files().values()}
    for artifact in found.artifacts:
        assert len(files[artifact.sha256]) == artifact.size
        assert (artifact.upstream, artifact.path) == ("galaxy", f"api/v3/artifacts/{artifact.file}")
    with room(Galaxy(), found, files) as (address, asked_for):
        assert install(ansible, f"{address}/api/", words, tmp_path / "room") == (real, "")
    assert sum(path.endswith(".tar.gz") for path in asked_for) == len(found.artifacts), "each of them, and no more"


@pytest.mark.parametrize("seed", range(4))
async def test_any_universe_is_resolved_as_ansible_galaxy_resolves_it(tmp_path, ansible, seed):
    choose = random.Random(seed)
    names = [f"a.c{number}" for number in range(6)]
    stand_in = GalaxyStandIn()
    for at, name in enumerate(names):
        for _ in range(choose.randint(2, 5)):
            numbers = f"{choose.randint(0, 3)}.{choose.randint(0, 11)}.{choose.randint(0, 2)}"
            version = numbers + choose.choice(["", "", "-rc.1"])
            ranges = ["*", ">=1.0.0", "<3", ">=1,<3", "!=2.0.0", "<=2.5"]
            below = choose.sample(names[at + 1 :], min(len(names[at + 1 :]), choose.randint(0, 2)))
            stand_in.add(name, version, **{one.replace(".", "__"): choose.choice(ranges) for one in below})
    words = [f"{name}:{choose.choice(['<3', '>=0.1.0', '*'])}" for name in choose.sample(names, 2)]
    quoted = " ".join(f"'{word}'" for word in words)
    asked = gathered({"one": f"RUN ansible-galaxy collection install {quoted}"}, tmp_path)
    with stand_in.serving() as address:
        real, why = install(ansible, address, words, tmp_path / "real")
        shortfall = Shortfall("x86_64", keep_going=True)
        found = versions(await resolve(Galaxy(), asked, address, Pool(tmp_path / "pool"), shortfall=shortfall))
    assert found == real, why
    assert [one.image for one in shortfall.refused] == ([] if real else ["one"])


async def test_a_collection_that_wants_an_older_one_than_is_asked_for_names_both_sides(tmp_path, ansible):
    stand_in = GalaxyStandIn()
    stand_in.add("a.new", "1.0.0", a__old="<2.0.0")
    stand_in.add("a.old", "1.5.0")
    stand_in.add("a.old", "2.0.0")
    words = ["a.new", "a.old:>=2.0.0"]
    asked = gathered({"one": "RUN ansible-galaxy collection install a.new 'a.old:>=2.0.0'"}, tmp_path)
    with stand_in.serving() as address:
        with pytest.raises(ResolutionError) as caught:
            await resolve(Galaxy(), asked, address, Pool(tmp_path / "pool"))
        real, _ = install(ansible, address, words, tmp_path / "real")
    assert real == {}
    assert "a.old <2.0.0, by a.new 1.0.0" in str(caught.value)
    assert "a.old >=2.0.0, by image one (x86_64), line 2" in str(caught.value)
    assert "template override" in caught.value.remedy


async def refused(tmp_path: Path, stand_in: GalaxyStandIn, run: str, kind: type[AirlockError], **files: bytes) -> str:
    contexts = {name.replace("_", "."): data for name, data in files.items()}
    asked = gathered({"one": run}, tmp_path / "context", contexts)
    with stand_in.serving() as address, pytest.raises(kind) as caught:
        await resolve(Galaxy(), asked, address, Pool(tmp_path / "pool"))
    return str(caught.value)


ASK = "RUN ansible-galaxy collection install a.b"
FILE = "COPY requirements.yml /var/lib/ansible/\n"
FILE += "RUN ansible-galaxy collection install -r /var/lib/ansible/requirements.yml"


async def test_a_collection_that_is_nowhere_is_named(tmp_path):
    assert "a.b *, by image one (x86_64), line 2" in await refused(tmp_path, GalaxyStandIn(), ASK, ResolutionError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "9.9.9"}, "a.b 1.0.0 has a page of something else"),
        ({"artifact": {"sha256": "../../etc", "size": 1}}, "one without sha256"),
        ({"metadata": {"dependencies": {"../../etc": "*"}}}, "neither a collection's name nor a range"),
        ({"metadata": {"dependencies": {"a.c": "newest"}}}, "neither a collection's name nor a range"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(tmp_path, change, said):
    stand_in = GalaxyStandIn()
    stand_in.add("a.b", "1.0.0")
    stand_in.changed["a.b", "1.0.0"] = change
    assert said in await refused(tmp_path, stand_in, ASK, ResolutionError)


@pytest.mark.parametrize(
    "requirements",
    [
        b"- src: a.b\n",
        b"collections: 1\n",
        b"collections:\n  - {name: a.b, source: 'http://mirror.example.org'}\n",
        b"collections:\n  - {name: 'git+https://mirror.example.org/a.git', type: git}\n",
        b"collections:\n  - {name: a.b, version: 1.0}\n",
        b"collections:\n  - {name: ../../etc}\n",
        b"collections:\n  - {name: a.b, version: '>=1.0, <2'}\n",
        b"collections: [\n",
        b"collections: [!!python/object/apply:os.system ['true']]\n",
    ],
)
async def test_a_requirements_file_that_asks_for_more_than_names_and_ranges_is_refused(tmp_path, requirements):
    said = await refused(tmp_path, GalaxyStandIn(), FILE, UnclassifiedError, requirements_yml=requirements)
    assert "image one (x86_64), line 3, /var/lib/ansible/requirements.yml" in said


async def test_what_is_no_galaxy_is_said_to_be_none(tmp_path):
    stand_in = GalaxyStandIn()
    stand_in.answer = lambda *_: b"<html>"  # type: ignore[method-assign]
    assert "no Galaxy of version 3" in await refused(tmp_path, stand_in, ASK, FormatError)


async def test_without_an_address_the_image_is_refused_and_the_setting_named(tmp_path):
    asked = gathered({"one": ASK}, tmp_path)
    with pytest.raises(ResolutionError, match=r"image one \(x86_64\), line 2 asks Ansible Galaxy") as caught:
        await resolve(Galaxy(), asked, "", Pool(tmp_path / "pool"))
    assert "[upstreams.galaxy]" in caught.value.remedy
    shortfall = Shortfall("x86_64", keep_going=True)
    assert (await resolve(Galaxy(), asked, "", Pool(tmp_path / "pool"), shortfall=shortfall)).demands == ()
    assert [one.image for one in shortfall.refused] == ["one"]


async def test_a_file_at_another_host_is_an_upstream_of_its_own(tmp_path):
    stand_in = GalaxyStandIn()
    stand_in.add("a.b", "1.0.0")
    stand_in.changed["a.b", "1.0.0"] = {"download_url": "https://files.example.org/x/a-b-1.0.0.tar.gz?token=1"}
    with stand_in.serving() as address:
        found = await resolve(Galaxy(), gathered({"one": ASK}, tmp_path), address, Pool(tmp_path / "pool"))
    (artifact,) = found.artifacts
    assert (artifact.upstream, artifact.path) == ("files-example-org", "x/a-b-1.0.0.tar.gz?token=1")
    assert found.upstreams == {"files-example-org": "https://files.example.org"}
