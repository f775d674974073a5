"""Leaves that speak to one container tool each: podman, skopeo, mmdebstrap."""
