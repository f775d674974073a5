"""``python -m demo``: run by ``make demo STORES=real``; ``python -m demo site BUNDLE DIGEST`` is its second half."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from boxes.box import STARTED, stop_started
from boxes.network import Network

from airlock.core.errors import AirlockError, StateError, ToolError
from airlock.core.files import exclusive
from demo import places
from demo.factory import Factory
from demo.forward import Forward
from demo.site import Site
from demo.steps import ROOT, StepError, Steps

KEEP = bool(os.environ.get("KEEP"))


def main() -> int:
    """The whole way, or the site's half of it; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends as by Ctrl-C
    try:
        if os.geteuid() != 0:
            raise ToolError(
                "the demo makes namespaces and builds images, which wants root", remedy="sudo make demo STORES=real"
            )
        if sys.argv[1:2] == ["site"]:
            at_site(sys.argv[2], sys.argv[3])
        elif sys.argv[1:2] == ["clean"]:
            with exclusive(places.LOCK, "the demos of this machine"):
                clean()
        else:
            with exclusive(places.LOCK, "the demos of this machine"):
                whole_way()
    except AirlockError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  → {error.remedy}", file=sys.stderr)
        return error.code if isinstance(error, StepError) else error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def whole_way() -> None:
    """Factory, media, site; in that order, and nothing but the media in common."""
    began, steps = time.monotonic(), Steps()
    leave()
    images = [word for word in re.split(r"[ ,]+", os.environ.get("IMAGES", "")) if word]
    with Factory(steps, images) as factory:
        factory.seed()
        factory.lock()
        factory.review()
        bundle, paper = factory.bundle()
    with site_network():
        at = [str(ROOT / "scripts/at-site"), places.NETNS, str(places.FACTORY), str(places.MEDIA)]
        command = [*at, sys.executable, "-m", "demo", "site", bundle, paper]
        # Lines of ours that still wait would come after the other process's.
        sys.stdout.flush()
        if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise StepError("the site's half failed; what happened stands above", code)
        steps.say(f"Done in {time.monotonic() - began:.0f} s")
        for one in steps.took:
            print(f"{one.seconds:8.1f} s  {one.title}")
        print("`make demo STORES=real` again is fast: nothing is fetched twice. `make clean-demo` removes all of it.")
        if KEEP:
            look_around()


def at_site(bundle: str, paper: str) -> None:
    """What runs where the factory cannot be seen."""
    steps = Steps()
    steps.say(f"Environment B: the site ({places.SITE}), a namespace whose only interface is loopback")
    steps.run("ip", "-br", "address")
    places.SITE.mkdir(parents=True, exist_ok=True)
    (places.SITE / "secrets").mkdir(exist_ok=True, mode=0o700)
    with Site(steps, bundle, paper, keep=KEEP) as site:
        site.arrive()
        site.serve()
        site.take_in()
        site.inspect(site.build())
    steps.say("The site's half")
    for one in steps.took:
        print(f"{one.seconds:8.1f} s  {one.title}")


@contextlib.contextmanager
def site_network() -> Iterator[None]:
    """The site's network: loopback and nothing else."""
    subprocess.run(["ip", "netns", "add", places.NETNS], check=True)
    try:
        subprocess.run(["ip", "-n", places.NETNS, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        leave()


def look_around() -> None:
    """Let a person look at the site's servers until Ctrl-C."""
    ports = [places.SITE_ZUUL, places.SITE_ZUUL + 1, places.SITE_NEXUS, places.SITE_REGISTRY, places.SITE_GERRIT]
    print("\nThe site's servers go on. On this machine's loopback, under the ports that they have at the site:")
    print(f"  Zuul    http://127.0.0.1:{places.SITE_ZUUL}/t/airlock/builds")
    print(f"  logs    http://127.0.0.1:{places.SITE_ZUUL + 1}/")
    print(f"  Nexus   http://127.0.0.1:{places.SITE_NEXUS}/ (admin; password in {places.SITE_BOXES}/nexus/secrets)")
    print("Ctrl-C ends them.", flush=True)

    async def forward() -> None:
        async with Forward(Network(places.NETNS), ports):
            await asyncio.Event().wait()

    try:
        asyncio.run(forward())
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise StateError(
            f"the site's ports cannot be shown on this machine's loopback: {error.strerror or error}",
            remedy=f"Stop what listens on one of {', '.join(map(str, ports))}, and run it again.",
        ) from None


def leave() -> None:
    """End whatever of the demo runs, this run's or a killed one's."""
    for root in (places.FACTORY_BOXES, places.SITE_BOXES):
        for place in [path.parent for path in root.glob(f"**/{STARTED}")]:
            stop_started(place)
    subprocess.run(["ip", "netns", "delete", places.NETNS], check=False, stderr=subprocess.DEVNULL)


def clean() -> None:
    """Remove all that it made."""
    leave()
    shutil.rmtree(places.DEMO, ignore_errors=True)


sys.exit(main())
