"""The static reading of rendered Dockerfiles: every command is home, a demand, or an error that names its line."""

from airlock.kolla.reading.image import read_image, run_scripts
from airlock.kolla.reading.model import Command, Detail, FileRef, ImageReading, ImageState, SourceRef
from airlock.kolla.reading.resolve import resolve_path, resolve_paths
from airlock.kolla.reading.rules import Rules, load_rules

__all__ = [
    "Command",
    "Detail",
    "FileRef",
    "ImageReading",
    "ImageState",
    "Rules",
    "SourceRef",
    "load_rules",
    "read_image",
    "resolve_path",
    "resolve_paths",
    "run_scripts",
]
