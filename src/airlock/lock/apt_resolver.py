"""apt's own solver, asked what every apt command of an image will do, in the order of the Dockerfile.

One command at a time on the state that the former left, as apt itself will run: one call for a whole chain would
solve another problem (a package named by one line may be removed by a later one). See docs/ecosystems/apt.md.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from airlock.core.errors import AirlockError, ResolutionError
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_catalogue import Catalogue, Offer
from airlock.lock.apt_cut import cut_lists
from airlock.lock.apt_files import AptFile, preferences_in_force, settings_in_force, sources_in_force, written
from airlock.lock.apt_plan import follow, parse_plan
from airlock.lock.apt_root import AptRoot
from airlock.lock.apt_state import AptState
from airlock.lock.apt_text import fields
from airlock.lock.apt_words import SILENT_VERBS, AptWords, parse_words
from airlock.lock.model import Artifact, Demand

__all__ = ["AptCommand", "AptFile", "AptResolver", "AptResult", "AptStep"]

_SIMULATE = ("-s", "-y", "-o", "quiet=0", "-o", "quiet::NoProgress=true")
NOTHING_INSTALLED = "installs no package"


class AptCommand(msgspec.Struct, frozen=True):
    """One apt command: its words as the shell hands them on, the program first; its line in the Dockerfile."""

    words: tuple[str, ...]
    line: int

    @property
    def spec(self) -> str:
        """The demand's specification."""
        return " ".join(self.words[1:])


AptStep = AptCommand | AptFile


class AptResult(msgspec.Struct, frozen=True):
    """What the apt commands of one image do.

    Attributes:
        demands: one per command, in order.
        artifacts: every .deb they install, in the order of installation, once each.
        stanzas: artifact id → its stanza of Packages.
        state: what they leave; a child image begins with it.
    """

    demands: list[Demand]
    artifacts: list[Artifact]
    stanzas: dict[str, str]
    state: AptState

    @property
    def plan(self) -> list[tuple[int, str, tuple[str, ...]]]:
        """(line, words, ids) of each command: what must come out the same from the bundle's own index."""
        return [(demand.line, demand.spec, demand.artifacts) for demand in self.demands]


class AptResolver:
    """Resolves images of one base and architecture.

    Args:
        root: a folder of its own (about 60 MB of lists); kept between calls, it may be deleted afterwards.
        sources: every source that any image may enable.
        addresses: upstream's name → address for apt (``witness.url``).
        keyrings: files whose keys may sign the Release files of the distribution.
        keys: path in the image → file of a vendor's keys (see ``AptRoot``).
        debian_arch: ``amd64`` …
        check_valid_until: refuse an expired Release.
        trusted: take the indexes without signature and whatever their age: for bytes that were checked otherwise,
            as those that ``lock --check`` replays and those of a bundle.
        dated: upstreams whose indexes an earlier lock has kept: they may have expired since.
        idents: (sha256, upstream) → artifact id, so that solving again, or for another architecture, speaks of the
            same ids.
    """

    def __init__(
        self,
        *,
        root: Path,
        sources: Sequence[AptSource],
        addresses: Callable[[str], str],
        keyrings: Sequence[Path] = (),
        keys: Mapping[str, Path] | None = None,
        debian_arch: str,
        check_valid_until: bool = True,
        trusted: bool = False,
        dated: Container[str] = (),
        idents: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self._root = AptRoot(
            root,
            sources=sources,
            addresses=addresses,
            keyrings=keyrings,
            keys=keys,
            debian_arch=debian_arch,
            check_valid_until=check_valid_until,
            trusted=trusted,
            dated=dated,
        )
        self.debian_arch = debian_arch
        self._idents = idents
        self._catalogue: Catalogue | None = None

    def update(self) -> None:
        """Fetch the indexes of all sources. To be called once, before anything is resolved.

        Raises:
            IntegrityError, UpstreamError, ResolutionError: see ``AptRoot.update``.
        """
        self._root.update()
        self._catalogue = Catalogue(self._root.targets(), self._idents)

    @property
    def sources(self) -> list[AptSource]:
        """Every source that an image may enable, one an upstream and suite."""
        return self._root.sources

    @property
    def refused(self) -> dict[str, AirlockError]:
        """Upstream → why the last ``update`` failed there; the others' indexes were not at fault."""
        return self._root.refused

    def leave_out(self, upstreams: Container[str]) -> None:
        """Go on without these upstreams: to be called before ``update`` is called again."""
        self._root.leave_out(upstreams)

    def cut(self, roots: Iterable[str]) -> tuple[int, int]:
        """Drop from the lists what neither the base image nor these operands of apt commands can reach.

        The catalogue still knows everything, for messages. Returns (stanzas kept, stanzas there were).
        """
        return cut_lists([target.packages for target in self._root.targets()], roots)

    @property
    def releases(self) -> dict[str, dict[str, str]]:
        """``<upstream>/<suite>`` → the fields of its Release that pins can name."""
        return dict(self._offers.releases)

    def offering(self, name: str) -> set[str]:
        """The upstreams that have a package of that name, whether or not an image enables them."""
        return self._offers.offering(name)

    @property
    def _offers(self) -> Catalogue:
        assert self._catalogue is not None, "update() comes first"
        return self._catalogue

    def base(self, arch: str = "") -> AptResult:
        """The packages of a base image made by mmdebstrap's variant ``required`` with apt (engine/mmdebstrap.py).

        Two steps, as there: Essential packages, unpacked by dpkg alone and so without marks; then apt and Priority:
        required, installed by apt. The result has one demand, ``base-image`` of line 0, for the caller to take over.
        """
        where = "the base image"
        options = self._root.mmdebstrap_options
        start = AptState(etc={"/etc/apt/sources.list": self._sources_list()})
        essential = f"?narrow(?architecture({self.debian_arch}),?essential)"
        first, unpacked = self._simulate(start, AptWords("apt-get", "install", (essential,), options), where, set())
        first = first.replace(auto=())
        required = f"?narrow(?architecture({self.debian_arch}),?and(?priority(required),?not(?essential)))"
        words = AptWords("apt-get", "install", ("apt", required), options)
        last, added = self._simulate(first, words, where, {"apt"})
        by_name = {key: fields(installed.stanza) for key, installed in last.packages.items()}
        # apt does not say which packages a pattern named.
        named = {key for key, values in by_name.items() if values.get("priority") == "required"}
        last = last.replace(auto=set(last.auto) - named)
        offers = [*unpacked, *added]
        ids = tuple(sorted({offer.artifact.id for offer in offers}))
        return _result([Demand(arch, "", 0, "base-image", "mmdebstrap", ids)], offers, last)

    def resolve(self, image: str, arch: str, steps: Sequence[AptStep], state: AptState) -> AptResult:
        """Follow the apt commands of one image.

        Args:
            image: Kolla's name, for demands and messages.
            arch: Kolla's architecture, for demands.
            steps: in the order of the Dockerfile.
            state: what the parent left.

        Raises:
            ResolutionError: no such package, a conflict; image, line, apt's words and a remedy are in the message.
            UnclassifiedError: a command or file whose effect is not known.
        """
        demands: list[Demand] = []
        installed: list[Offer] = []
        for step in steps:
            if isinstance(step, AptFile):
                state = written(state, step, image)
                continue
            where = f"image {image} ({arch}), line {step.line}"
            words = parse_words(step.words, where)
            offers: list[Offer] = []
            if words.verb not in SILENT_VERBS:
                state, offers = self._simulate(state, words, where, set(words.named))
            installed += offers
            ids = tuple(sorted({offer.artifact.id for offer in offers}))
            note = "" if ids else NOTHING_INSTALLED
            demands.append(Demand(arch, image, step.line, "apt", step.spec, ids, note))
        return _result(demands, installed, state)

    def _simulate(self, state: AptState, words: AptWords, where: str, named: set[str]) -> tuple[AptState, list[Offer]]:
        sources = sources_in_force(state, self.sources, where)
        self._root.enter(state, sources, preferences_in_force(state), settings_in_force(state))
        # The options come last: they must win over those of the Dockerfile.
        result = self._root.apt([words.program, *words.options, *_SIMULATE, words.verb, "--", *words.operands])
        output = result.stdout.decode("utf-8", "replace")
        if result.returncode != 0:
            raise self._refused(words, where, output, result.stderr.decode("utf-8", "replace"))
        try:
            plan = parse_plan(output)
        except ValueError as error:
            raise ResolutionError(f"{where}: apt said something unforeseen: {error}") from None
        return follow(state, plan, named, partial(self._offers.find, sources=sources))

    def _sources_list(self) -> str:
        """The distribution's own; a vendor's are enabled by images that take them."""
        return "".join(f"deb {source.address} {source.words}\n" for source in self.sources if not source.keyring)

    def _refused(self, words: AptWords, where: str, output: str, errors: str) -> ResolutionError:
        block = output.partition("The following packages have unmet dependencies:")
        lines = (block[1] + block[2]).splitlines() if block[1] else []
        lines += [line for line in errors.splitlines() if line.startswith(("E:", " "))]
        remedy = "Change the image's package list (<image>_packages_append, _remove, _override) or the apt sources."
        for line in errors.splitlines():
            if "Unable to locate package" in line:
                name = line.rsplit(" ", 1)[-1]
                near = self._offers.nearest(name)
                hint = f"nearest names: {', '.join(near)}" if near else "nothing there is called anything like it"
                sources = ", ".join(f"{source.upstream} {source.suite}" for source in self.sources)
                remedy = f"No package {name} in {sources}; {hint}. {remedy}"
                break
        command = " ".join([words.program, words.verb, *words.operands])
        said = "\n".join(lines)
        return ResolutionError(f"{where}: `{command}` cannot be resolved. apt said:\n{said}", remedy=remedy)


def _result(demands: list[Demand], offers: Sequence[Offer], state: AptState) -> AptResult:
    by_id = {offer.artifact.id: offer for offer in offers}
    artifacts = [offer.artifact for offer in by_id.values()]
    return AptResult(demands, artifacts, {ident: offer.stanza for ident, offer in by_id.items()}, state)
