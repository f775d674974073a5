"""What everything that speaks HTTP shares: whose certificates count, and errors of the network in words."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import aiohttp


def trust() -> ssl.SSLContext:
    """The machine's authorities, and those that pip's and curl's variables name."""
    context = ssl.create_default_context()  # knows SSL_CERT_FILE and SSL_CERT_DIR
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if (bundle := os.environ.get(variable)) and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return context


def reason(error: BaseException) -> str:
    """An error of the network in words for a person."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted here: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {error.os_error.strerror or error.os_error}"
    if isinstance(error, TimeoutError):
        return "nothing arrived for too long"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer broke off"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was cut"
    return str(error) or type(error).__name__
