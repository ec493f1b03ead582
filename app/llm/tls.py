"""Whom the clients of models and of the search trust."""

import ssl
from functools import cache

import httpx2


@cache
def trusted_certificates() -> ssl.SSLContext:
    """The system's, or those of SSL_CERT_FILE. One for all clients: reading them takes some 40 ms each time."""
    return httpx2.create_ssl_context()
