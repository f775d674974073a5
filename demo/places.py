"""Where the demonstration keeps what it makes, and on which ports its servers listen."""

from __future__ import annotations

from pathlib import Path

from demo.steps import ROOT

DEMO = ROOT / ".demo" / "real"
FACTORY = DEMO / "factory"
MEDIA = DEMO / "media"
SITE = DEMO / "site"
NETNS = "airlock-demo-real"
LOCK = Path("/run/lock/airlock-demo.lock")
"""Demos of all checkouts share the namespaces' names; ``scripts/demo`` takes it, too."""

DEFINITION = FACTORY / "definition"
FACTORY_BOXES = FACTORY / "boxes"
SITE_BOXES = SITE / "boxes"
SITE_AIRLOCK = SITE / "airlock"

# The factory's servers listen on the machine's loopback; the site's on that of its own namespace: no port is taken.
FACTORY_NEXUS, FACTORY_REGISTRY, FACTORY_GERRIT, FACTORY_GERRIT_SSH = 28081, 28050, 28080, 28022
SITE_NEXUS, SITE_REGISTRY, SITE_GERRIT, SITE_GERRIT_SSH = 8081, 5000, 8080, 29418
FACTORY_ZUUL, SITE_ZUUL = 28900, 9000  # the first of a few in a row

FACTORY_REPOSITORY = "factory"
SITE_REPOSITORY = "airlock"
DEFINITIONS = "definitions"  # the factory's project of release definitions
SITE_CONFIG = "project-config"  # what the site's Zuul is configured by
KOLLA = "openstack/kolla"
