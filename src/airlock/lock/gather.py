"""What a definition asks for, freshly: Kolla rendered, its Dockerfiles read. ``lock`` and ``validate`` begin here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from airlock.core.errors import UnclassifiedError
from airlock.definition.model import Definition, LoadedDefinition
from airlock.kolla.apt_sources import AptSource, parse_deb822, parse_sources_list
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.overrides import SealedSource, own_shims
from airlock.kolla.reading import ImageReading, ImageState, load_rules, read_image
from airlock.kolla.reading.handle_fetch import extrepo_source
from airlock.kolla.render import RenderedTree, render, unsealed_sources
from airlock.lock.demands import archive_sections, image_demands, vendor_repository_demands
from airlock.lock.downloads import sealed_files
from airlock.lock.extrepo_locked import sealed_repositories
from airlock.lock.git_repositories import repository_demands
from airlock.lock.image_index import sealed_clones, sealed_indexes
from airlock.lock.keys import sealed_keys
from airlock.lock.model import Artifact, Demand, Image, Lock
from airlock.lock.proof import Expected
from airlock.lock.shortfall import Shortfall
from airlock.lock.vendors import enabled_sources


class Gathered(msgspec.Struct, frozen=True):
    """One architecture of a definition.

    Attributes:
        tree: the rendering as upstream has it.
        readings: image → the reading of its Dockerfile.
        demands: of all images, without answers.
        vendors: the vendor repositories that images enable and the definition keeps.
        by_extrepo: repository that ``extrepo`` enables → the source that it writes, where that is known by now.
    """

    tree: RenderedTree
    readings: dict[str, ImageReading]
    demands: tuple[Demand, ...]
    definition: Definition
    vendors: tuple[AptSource, ...] = ()
    by_extrepo: dict[str, str] = {}

    @property
    def arch(self) -> str:
        """Kolla's name of the architecture."""
        return self.tree.arch

    @property
    def distribution(self) -> str:
        """Kolla's ``base``."""
        return self.definition.base.distribution

    @property
    def apt_sources(self) -> list[AptSource]:
        """Every source that an image may enable."""
        written = [parse_deb822(text, extrepo_source(name)) for name, text in sorted(self.by_extrepo.items())]
        return [*self.base_sources, *self.vendors, *(source for one in written for source in one)]

    @property
    def base_sources(self) -> list[AptSource]:
        """What Kolla's source list names; the base image has the same."""
        return parse_sources_list(self.tree.apt.get("sources.list", b"").decode())

    def context(self, image: str, name: str) -> bytes | None:
        """A file of an image's build context."""
        path = self.tree.by_name[image].folder / name
        return path.read_bytes() if path.is_file() else None


def gather(
    environment: KollaEnvironment, loaded: LoadedDefinition, arch: str, work: Path, shortfall: Shortfall | None = None
) -> Gathered:
    """Render and read one architecture, parents before children.

    Args:
        work: folder for the rendering.
        shortfall: is told of images that cannot be locked, where going on is wanted.

    Raises:
        DefinitionError: see ``kolla.render.render``.
        UnclassifiedError: a command may touch the network and nothing claims it; all such commands are named.
        ResolutionError: an image wants a vendor repository that the definition leaves out.
    """
    tree = render(environment, loaded, arch, "upstream", work / f"upstream-{arch}")
    rules = load_rules()
    readings: dict[str, ImageReading] = {}
    demands: list[Demand] = []
    gaps: list[UnclassifiedError] = []
    shims = own_shims()
    for image in tree.images:
        inherited = readings[image.parent].state if image.parent else ImageState()
        reading = read_image(
            image.dockerfile.decode(),
            image=image.name,
            context_files=_files_of(image.folder),
            inherited=inherited,
            rules=rules,
            shims=shims,
        )
        readings[image.name] = reading
        try:
            sections = archive_sections(image.sources)
            demands += image_demands(reading, arch, image.parent, sections, loaded.definition.vendor_repositories)
        except UnclassifiedError as error:
            gaps.append(error)
            if shortfall is not None:
                shortfall.note(image.name, error)
        with (shortfall or Shortfall(arch)).of(image.name):
            demands += vendor_repository_demands(image, arch, loaded.definition)
    if gaps and shortfall is None:
        raise UnclassifiedError("\n".join(gap.message for gap in gaps))
    vendors = tuple(enabled_sources(readings.values()))
    return Gathered(tree, readings, tuple(demands), loaded.definition, vendors)


def _files_of(folder: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    return read


def sealed_sources(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> dict[str, SealedSource]:
    """Section of kolla-build.conf → the locked file that answers it; sections without an answer are left out."""
    return {
        demand.spec: SealedSource(by_id[ident].file, by_id[ident].sha256)
        for demand in demands
        if demand.kind == "source"
        for ident in demand.artifacts
        if ident in by_id
    }


def image_lines(gathered: Gathered, sealed: RenderedTree) -> list[Image]:
    """The lock's image lines: digests of both renderings."""
    built = sealed.by_name
    return [
        Image(
            base=gathered.distribution,
            arch=gathered.arch,
            name=image.name,
            parent=image.parent,
            dockerfile=image.dockerfile_digest,
            context=image.context_digest,
            sealed=built[image.name].sealed_digest,
        )
        for image in gathered.tree.images
    ]


def render_sealed(
    environment: KollaEnvironment,
    loaded: LoadedDefinition,
    arch: str,
    work: Path,
    demands: Iterable[Demand],
    by_id: Mapping[str, Artifact],
) -> RenderedTree:
    """The tree that is built in the room, with every address that is locked leading to the mirror.

    Args:
        demands: answered; those of other architectures are passed over.
        by_id: the artifacts that answer them.

    Raises:
        UnclassifiedError: an address cannot be led to the mirror.
    """
    own = [demand for demand in demands if demand.arch == arch]
    sources, files, indexes = sealed_sources(own, by_id), sealed_files(own, by_id), sealed_indexes(own, by_id)
    for addresses in (sealed_keys(own, by_id), sealed_clones(own, by_id)):
        for image, places in addresses.items():
            files.setdefault(image, {}).update(places)
    extrepo = sealed_repositories(own, by_id)
    return render(environment, loaded, arch, "sealed", work / f"sealed-{arch}", sources, files, indexes, extrepo)


def require_sealed(tree: RenderedTree) -> None:
    """See that Kolla fetches every archive from the mirror.

    Raises:
        UnclassifiedError: it would fetch one from elsewhere.
    """
    if outside := unsealed_sources(tree):
        lines = [f"image {image}: the archive of section {want.section} is not locked" for image, want in outside]
        raise UnclassifiedError("\n".join(lines), remedy="Run `airlock lock` again.")


def expectation(
    environment: KollaEnvironment, loaded: LoadedDefinition, lock: Lock, tools: Iterable[str], work: Path
) -> tuple[Expected, dict[str, Gathered], dict[str, RenderedTree]]:
    """Everything a lock is proved against, and the renderings it came from, by architecture."""
    gathered: dict[str, Gathered] = {}
    sealed: dict[str, RenderedTree] = {}
    images: list[Image] = []
    demands = repository_demands(loaded.definition)
    for arch in loaded.definition.base.architectures:
        assert environment.description  # asked for once, for both
        with ThreadPoolExecutor(1) as other:
            rendered = other.submit(render_sealed, environment, loaded, arch, work, lock.demands, lock.by_id)
            gathered[arch] = gather(environment, loaded, arch, work)
            sealed[arch] = rendered.result()
        images += image_lines(gathered[arch], sealed[arch])
        demands += gathered[arch].demands
    return Expected(loaded.digest, tuple(images), tuple(demands), tuple(tools)), gathered, sealed
