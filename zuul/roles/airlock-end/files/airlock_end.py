"""End the `airlock build` that has a word among its arguments, and wait until it has left. Runs on the node."""

import os
import signal
import sys
import time
from pathlib import Path

SETTLE = 3.0  # seconds: it may just be starting, since whoever started it was killed a moment ago
POLL = 0.2


def builds(word):
    """Process ids of builds with that argument; this program itself has it too, but is no build."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            try:
                words = (place / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if b"build" in words and word.encode() in words:
                found.append(int(place.name))
    return found


def send(processes, number):
    """Signal each that still is there."""
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def wait(word, seconds, gone):
    """Until there is none (or, without ``gone``, until there is one); whether that came about."""
    end = time.monotonic() + seconds
    while bool(builds(word)) == gone:
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True


def main():
    """End it."""
    word, patience = sys.argv[1], float(sys.argv[2])
    if not wait(word, SETTLE, gone=False):
        print("no build is running")
        return
    processes = builds(word)
    print(f"ending the build (process {', '.join(map(str, processes))})", flush=True)
    send(processes, signal.SIGTERM)
    if wait(word, patience, gone=True):
        print("it has ended and left its room")
        return
    send(builds(word), signal.SIGKILL)
    wait(word, 10.0, gone=True)
    sys.exit(f"it did not end in {patience:.0f} s and was killed; the next build removes its room")


if __name__ == "__main__":
    main()
