"""What of a process has entered where it is confined: its threads, and what these start."""

from __future__ import annotations

import json
import sys

import pytest

SCRIPT = """
import asyncio, json, os, sys
from pathlib import Path
from airlock.core.progress import SilentReporter
from airlock.core.settings import load_factory
from airlock.lock.passage import Passage

def space():
    return os.stat("/proc/thread-self/ns/net").st_ino

async def work(way, first, second):
    found = [await asyncio.to_thread(space)]  # an idle worker is left behind
    way.admit(json.loads(first))
    found.append(await asyncio.to_thread(space))
    if second:
        way.admit(json.loads(second))
    found += await asyncio.gather(*(asyncio.to_thread(space) for _ in range(8)))
    return found

with Passage(load_factory(Path(sys.argv[1])), "refresh", "a test", SilentReporter()) as way:
    print(json.dumps(way.run(work(way, *sys.argv[2:4]))))
"""
MIRROR = '{"debian": "http://mirror.example.org"}'


@pytest.mark.parametrize(("first", "second"), [(MIRROR, ""), ('{"pypi": "http://127.0.0.1:8080"}', MIRROR)])
def test_no_thread_of_before_works_outside_of_the_namespace(lab, factory, first, second):
    here = factory(window=f'confine = ["namespace:{lab.box}"]\nnameservers = ["203.0.113.53"]')
    done = lab.run(sys.executable, "-c", SCRIPT, here.root, first, second)
    assert done.returncode == 0, done.stderr
    before, *after = json.loads(done.stdout)
    assert before not in after
    assert len(set(after)) == 1
