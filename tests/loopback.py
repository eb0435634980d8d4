"""For HTTP clients of servers on loopback, which have no certificates."""

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. Without it each client of httpx reads the public authorities, for 20 ms of a core."""
