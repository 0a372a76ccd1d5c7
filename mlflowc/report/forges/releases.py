"""Releases at a service: one for a tag, with its text and files. Done again, the same one is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mlflowc.report.forges.bitbucket import Bitbucket
from mlflowc.report.forges.forge import cut
from mlflowc.report.forges.github import GitHub
from mlflowc.report.forges.gitlab import GitLab
from mlflowc.report.forges.http import Client, Trouble
from mlflowc.report.forges.place import Place

# Bytes of a release's text: GitHub takes 125,000 characters, GitLab a million.
_LONGEST = 120_000


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that belongs to a release, and what it is called there."""

    name: str
    path: Path


def publish(place: Place, tag: str, text: str, assets: list[Asset]) -> str:
    """Makes the release of a tag, or changes it, and gives it the files; its address. Raises `Trouble`."""
    kinds: dict[str, Any] = {"github": (GitHub, _github), "gitlab": (GitLab, _gitlab)}
    forge, does = kinds.get(place.service.name, (Bitbucket, _bitbucket))
    client = Client(place, forge.headers(place.token))
    try:
        found: str = does(place, client, tag, cut(text, _LONGEST), assets)
    finally:
        client.close()
    return found


def _github(place: Place, client: Client, tag: str, text: str, assets: list[Asset]) -> str:
    path = f"/repos/{place.repository}/releases"
    there = _found(client, f"{path}/tags/{quote(tag, safe='')}")
    said = {"tag_name": tag, "name": tag, "body": text}
    if there is None:
        row = client.send("POST", path, said).data
    else:
        row = client.send("PATCH", f"{path}/{there['id']}", said).data
    upload = _uploads(place, str(row["upload_url"]).partition("{")[0])
    old = {a.get("name"): a.get("id") for a in row.get("assets") or [] if isinstance(a, dict)}
    for asset in assets:
        if asset.name in old:
            client.delete(f"{path}/assets/{old[asset.name]}")
        client.send_file("POST", f"{upload}?name={quote(asset.name, safe='')}", asset.path)
    return str(row.get("html_url") or "")


def _uploads(place: Place, url: str) -> str:
    """The address for uploads that the service named, if it is the service's own: the token goes there."""
    api = urlsplit(place.api)
    named = urlsplit(url)
    hosts = {api.netloc, "uploads." + api.netloc.removeprefix("api.")}
    if named.scheme != api.scheme or named.netloc not in hosts:
        raise Trouble(
            "refused", f"{place.service.title} names {named.netloc} for uploads, which is not its own"
        )
    return url


def _gitlab(place: Place, client: Client, tag: str, text: str, assets: list[Asset]) -> str:
    """Files go into the project's package registry, and the release links to them."""
    project = f"/projects/{quote(place.repository, safe='')}"
    artifact, _, version = tag.partition("@")
    folder = f"{project}/packages/generic/{artifact.replace('/', '-')}/{quote(version[1:], safe='')}"
    links = []
    for asset in assets:
        inside = f"{folder}/{quote(asset.name)}"
        client.send_file("PUT", inside, asset.path)
        links.append({"name": asset.name, "url": place.api + inside})
    releases = f"{project}/releases"
    one = f"{releases}/{quote(tag, safe='')}"
    there = _found(client, one)
    if there is None:
        body = {"tag_name": tag, "name": tag, "description": text, "assets": {"links": links}}
        row = client.send("POST", releases, body).data
    else:
        row = client.send("PUT", one, {"name": tag, "description": text}).data
        known = {k.get("name") for k in (there.get("assets") or {}).get("links") or []}
        for link in (k for k in links if k["name"] not in known):
            client.send("POST", f"{one}/assets/links", link)
    return str(((row or {}).get("_links") or {}).get("self") or "")


def _bitbucket(place: Place, client: Client, tag: str, text: str, assets: list[Asset]) -> str:
    """Bitbucket has no releases: the files are downloads of the repository, called after the tag."""
    prefix = tag.replace("/", "-").replace("@", "-")
    path = f"/repositories/{quote(place.repository, safe='/')}/downloads"
    for asset in assets:
        client.upload_file(path, "files", f"{prefix}-{asset.name}", asset.path)
    return f"https://bitbucket.org/{place.repository}/downloads/"


def _found(client: Client, path: str) -> dict[str, Any] | None:
    try:
        data = client.get(path).data
    except Trouble as e:
        if e.kind == "missing":
            return None
        raise
    return data if isinstance(data, dict) else None
