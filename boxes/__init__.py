"""The real servers of both environments on one machine, loopback only, for the demo and the tests (docs/boxes.md).

Not part of the installed program: Airlock speaks to servers that are there already. A box is one server with a data
folder, a port and a log (:class:`boxes.box.Box`); each module here is one kind of server.
"""
