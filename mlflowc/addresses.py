"""Addresses as people may see them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

# Up to the last `@` before the path: a password may have one, too.
_LOGIN = re.compile(r"(https?://)[^/\s]*@")


def shown(url: str) -> str:
    """A url without login and query, which may be a signature."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_login(text: str) -> str:
    """A text without the names and passwords of the web addresses in it."""
    return _LOGIN.sub(r"\1", text)
