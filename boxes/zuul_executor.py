"""Zuul's executor, run by Zuul's own Python: its log streamer listens on every address, here on loopback alone."""

from importlib import import_module
from typing import Any


def main() -> None:
    """Run it."""
    streaming: Any = import_module("zuul.lib.log_streamer")  # of Zuul's environment, which Airlock does not know
    original = streaming.LogStreamer

    def on_loopback(_: str, *arguments: object) -> object:
        return original("127.0.0.1", *arguments)

    streaming.LogStreamer = on_loopback
    import_module("zuul.cmd.executor").main()


if __name__ == "__main__":
    main()
