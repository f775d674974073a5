"""Handlers by the name that rules use."""

from __future__ import annotations

from airlock.kolla.reading import handle_fetch, handle_files, handle_shell
from airlock.kolla.reading.call import Handler

HANDLERS: dict[str, Handler] = {
    "": handle_shell.exact,
    "apt": handle_fetch.apt,
    "cd": handle_shell.change_folder,
    "copy": handle_files.copy,
    "curl": handle_fetch.curl,
    "dnf": handle_fetch.dnf,
    "dnf-config": handle_fetch.dnf_config,
    "echo": handle_shell.echo,
    "export": handle_shell.export,
    "extrepo": handle_fetch.extrepo,
    "find": handle_files.find,
    "galaxy": handle_fetch.galaxy,
    "git": handle_fetch.git,
    "gpg": handle_fetch.gpg,
    "link": handle_files.link,
    "names": handle_fetch.names,
    "pip": handle_fetch.pip,
    "playbook": handle_fetch.playbook,
    "python": handle_shell.python,
    "remove": handle_files.remove,
    "sed": handle_files.sed,
    "shell": handle_shell.run_shell,
    "source": handle_shell.source,
    "tar": handle_files.tar,
    "tee": handle_files.tee,
    "test": handle_shell.test,
    "touch": handle_files.touch,
}
