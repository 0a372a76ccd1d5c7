"""What is shown of an address, and what is not."""

from __future__ import annotations

import pytest

from mlflowc import addresses


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.csv", "https://host/a.csv"),
        ("https://ada:s3cret@host:8443/a.csv?sig=s3cret#s3cret", "https://host:8443/a.csv"),
        ("https://ada:s3@cret@host/a.csv", "https://host/a.csv"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_without_login_and_signature(url: str, shown: str) -> None:
    assert addresses.shown(url) == shown


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("https://token@host/x.git", "https://host/x.git"),
        ("https://ada:s3@cret@host/x.git", "https://host/x.git"),
        ("git+https://ada:s3cret@host/x@v1", "git+https://host/x@v1"),
        ("git@host:x.git", "git@host:x.git"),
        ("ssh://git@host/x.git", "ssh://git@host/x.git"),
        ("cannot reach 'http://a:b@host/x', ask ada@host", "cannot reach 'http://host/x', ask ada@host"),
        ("see https://host/x, or ask ada@host", "see https://host/x, or ask ada@host"),
    ],
)
def test_no_login_of_a_web_address_in_a_text(text: str, without: str) -> None:
    assert addresses.without_login(text) == without
