"""What was built becomes public: every image under the build's own tag first, then, when all are in, the bundle's tag.

So whoever takes images by the bundle's tag never meets half a set, and what a build pushed can be told from any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from airlock.build.image_facts import image_facts
from airlock.bundle.stored import StoredBundle
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.engine.destination import destination, staging_tag
from airlock.engine.push import publish, retag
from airlock.engine.skopeo import Access
from airlock.evidence.record import BuiltImage, Check
from airlock.kolla.overrides import NAMESPACE, TAG
from airlock.kolla.render import RenderedTree
from airlock.lock.stand_ins import imitations
from airlock.room.sealed import SealedRoom


class Publisher:
    """Publishes the images of one build from its room.

    Args:
        folder: for skopeo's temporary files.
    """

    def __init__(
        self, room: SealedRoom, site: Site, bundle: StoredBundle, build_id: str, access: Access, folder: Path
    ) -> None:
        self._room, self._site, self._bundle, self._build_id = room, site, bundle, build_id
        self._access, self._folder = access, folder

    async def run(
        self,
        tree: RenderedTree,
        images: list[BuiltImage],
        *,
        times: Mapping[str, int],
        seconds: Mapping[str, float],
        checks: Mapping[str, list[Check]],
        base: str,
        reporter: Reporter,
    ) -> None:
        """Publish every image of a tree, parents first.

        Args:
            images: gets an entry an image as soon as it is pushed, under its staging tag until all are in.
            times, seconds, checks: by image.
            base: id of the base image.

        Raises:
            UpstreamError, IntegrityError: see ``engine.push.publish``; the bundle's tag then stays what it was.
        """
        locked = {image.name: image.sealed for image in self._bundle.lock.images if image.arch == tree.arch}
        imitated = imitations(self._bundle.lock, tree.arch)
        self._room.image = ""
        with reporter.task("publishing", len(tree.images), unit="items") as task:
            for image in tree.images:
                place = destination(self._site, image.name, staging_tag(self._build_id))
                name = f"localhost/{NAMESPACE}/{image.name}:{TAG}"
                facts = await image_facts(self._room.engine, name)
                digest = await publish(self._room.engine.paths, name, place.transport, self._access)
                images.append(
                    BuiltImage(
                        name=image.name,
                        digest=digest,
                        id=facts.id,
                        reference=place.reference,
                        staging=place.reference,
                        parent=image.parent or f"sha256:{base}",
                        timestamp=times[image.name],
                        sealed=locked[image.name],
                        diff_ids=facts.diff_ids,
                        packages=facts.packages,
                        seconds=seconds[image.name],
                        log=f"logs/{image.name}.log",
                        checks=checks.get(image.name, []),
                        stand_ins=imitated.get(image.name, []),
                    )
                )
                task.advance(1)
        with reporter.task(f"tagging {self._bundle.id}", len(images), unit="items") as task:
            for number, built in enumerate(images):
                staged = destination(self._site, built.name, staging_tag(self._build_id))
                final = destination(self._site, built.name, self._bundle.id)
                await retag(staged.transport, final.transport, built.digest, self._access, self._folder)
                images[number] = msgspec.structs.replace(built, reference=final.reference)
                task.advance(1)
