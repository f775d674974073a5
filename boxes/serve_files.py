"""Serve a folder on loopback: serve_files.py PORT FOLDER. Run by any Python, with nothing but its own library.

Pages of other ports (Zuul's) may read what is served, which is how Zuul's web page shows a build's log.
"""

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike


class Handler(SimpleHTTPRequestHandler):
    """Files and listings."""

    def guess_type(self, path: str | PathLike[str]) -> str:
        """Logs are shown, not saved."""
        guessed = super().guess_type(path)
        return "text/plain" if guessed == "application/octet-stream" else guessed

    def end_headers(self) -> None:
        """One header more."""
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


if __name__ == "__main__":
    handler = functools.partial(Handler, directory=sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
