"""Several boxes at once: most of a start is waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from boxes.box import Box


def start_all(boxes: Sequence[Box]) -> None:
    """Start boxes that do not need each other, at the same time.

    Raises:
        AirlockError: one could not be started. Then none of them runs, but those that ran before.
    """
    given_up = threading.Event()
    before = [box for box in boxes if box.running]
    with ThreadPoolExecutor(max(1, len(boxes))) as pool:
        starts = [pool.submit(box.start, given_up) for box in boxes]
        try:
            for start in starts:
                start.result()
        except BaseException:
            given_up.set()
            pool.shutdown(wait=True)
            stop_all([box for box in boxes if box not in before])
            raise


def stop_all(boxes: Sequence[Box]) -> None:
    """Stop boxes at the same time. Every one is tried.

    Raises:
        AirlockError: one could not be stopped.
    """
    with ThreadPoolExecutor(max(1, len(boxes))) as pool:
        stops = [pool.submit(box.stop) for box in boxes]
    for stop in stops:
        stop.result()
