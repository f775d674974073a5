"""A Gerrit that can be run, put together from the archives that its plugin authors get (docs/boxes.md).

The war that Gerrit's makers publish is on no Maven repository; the same classes are, in the plugin API and in the
acceptance framework. All is there but the web interface.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

from boxes.cache import cache, made_once
from boxes.java import archives, pinned

_LAUNCHER = "com/google/gerrit/launcher/"
_MANIFEST = "Manifest-Version: 1.0\nMain-Class: com.google.gerrit.launcher.GerritLauncher\n\n"
# Without one, log4j writes at DEBUG: megabytes a minute.
_LOG4J = """log4j.rootLogger=INFO, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=[%d] %-5p %c %x: %m%n
"""


def gerrit_war() -> Path:
    """The war in the cache; put together when it is missing.

    Raises:
        ToolError, UpstreamError, IntegrityError: see :func:`boxes.java.archives`.
    """
    version = next(one.version for one in pinned("gerrit") if one.artifact == "gerrit-plugin-api")
    return made_once(cache() / f"gerrit-{version}.war", partial(_assemble, version), needed=128 << 20)


def _assemble(version: str, path: Path) -> None:
    jars = archives("gerrit")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as war:
        war.writestr("META-INF/MANIFEST.MF", _MANIFEST)
        # Else it calls itself "(dev)", a version that Zuul cannot read.
        war.writestr("com/google/gerrit/common/Version", version)
        war.writestr("log4j.properties", _LOG4J)
        with zipfile.ZipFile(jars[0]) as plugin_api:
            for name in plugin_api.namelist():
                if name.startswith(_LAUNCHER) and name.endswith(".class"):
                    war.writestr(name, plugin_api.read(name))
        for jar in jars:
            war.write(jar, f"WEB-INF/lib/{jar.name}")
