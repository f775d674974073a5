"""What is handed to Zuul's job: one parameter, encoded so that neither Jinja nor a shell finds anything in it.

Zuul keeps parameters as variables of the job, and a variable is a template: Ansible would evaluate a reason that holds
``{{ … }}``. So all of it travels as base64 (RFC 4648, its alphabet for URLs) of JSON; the role of the job decodes it
where it runs ``airlock build``. The same in plain words goes along under names that no job declares: Zuul keeps them
with the buildset, for people, and drops them from the variables of the job.
"""

from __future__ import annotations

import base64

import msgspec

from airlock.core.canonical import canonical

PARAMETER = "airlock_order"
FORMAT = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One build that somebody wants.

    Attributes:
        id: unique; finds the buildset that this became.
        requester: whose token it is.
        account, host: who ran ``airlock trigger``, where.
        commit: what the ref was when it was looked up; exactly this is enqueued.
        git: the repository's name in the bundle, whose commit the bundle must name; empty where it names none.
    """

    format: int = FORMAT
    id: str
    bundle: str
    reason: str
    requester: str
    account: str
    host: str
    project: str
    ref: str
    commit: str
    git: str = ""

    def parameters(self) -> dict[str, str]:
        """What is sent."""
        encoded = base64.urlsafe_b64encode(canonical(self)).decode("ascii")
        return {PARAMETER: encoded, "bundle": self.bundle, "reason": self.reason, "requester": self.requester}
