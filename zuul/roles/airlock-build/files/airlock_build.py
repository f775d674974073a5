"""Become `airlock build`, with what `airlock trigger` ordered. Runs on the node, read from standard input."""

import argparse
import base64
import json
import os
import sys

FIELDS = ("bundle", "reason", "requester", "account", "host", "project", "ref", "commit", "git", "id")


def read_order(text):
    """The order, or the end with exit code 2."""
    try:
        order = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        if order["format"] != 1:
            raise ValueError(f"it is of format {order['format']!r}")
        for field in FIELDS:
            if not isinstance(order[field], str):
                raise ValueError(f"{field} is no text")
    except (KeyError, TypeError, ValueError) as error:
        leave(f"the order cannot be read ({error!r}): this job is started by `airlock trigger build`", 2)
    return order


def leave(message, code):
    """Say what is wrong and end."""
    print(f"error: {message}", flush=True)
    sys.exit(code)


def arguments(order, given):
    """The words of the command; each value is joined to its option, so that none is taken for another option."""
    words = [given.command, "build", f"--site={given.site}", f"--bundle={order['bundle']}", "--through=zuul"]
    words += [f"--reason={order['reason']}", f"--requester={order['requester']}"]
    words += [f"--detail={detail}" for detail in given.detail]
    words += [f"--detail={name}={order[name]}" for name in ("project", "ref", "commit")]
    words += [f"--detail=ordered-by={order['account']}@{order['host']}", f"--detail=order={order['id']}"]
    if order["git"]:
        words.append(f"--git={order['git']}={given.commit}")
    return words


def main():
    """Read, check, become the build."""
    parser = argparse.ArgumentParser()
    for option in ("--command", "--site", "--order", "--commit"):
        parser.add_argument(option, required=True)
    parser.add_argument("--detail", action="append", default=[])
    given = parser.parse_args()
    order = read_order(given.order)
    if order["commit"] != given.commit:
        leave(f"Zuul was given commit {given.commit or '(none)'}; {order['commit']} was ordered", 10)
    words = arguments(order, given)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environment |= {name: os.environ[name] for name in ("HOME", "SUDO_USER") if name in os.environ}
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execve(words[0], words, environment)
    except OSError as error:
        leave(f"{words[0]} cannot be run: {error.strerror}; airlock_command names the program", 11)


if __name__ == "__main__":
    main()
