"""Airlock: build OpenStack container images with Kolla where there is no internet."""

__version__ = "0.1.0"
