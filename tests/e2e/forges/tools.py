"""The validating proxy and the descriptions, in `.cache/tools/forges` of the checkout.

`make tools` installs them. The description of all of GitHub has 13 MB, and the package 440: what is kept are
the paths that we use and what they refer to, so that the proxy starts in two seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from tests.e2e.harness import tools as toolbox

HERE = Path(__file__).resolve().parent
CACHE = toolbox.CACHE / "forges"
PATHS = (
    r"/user",
    r"/repos/\{owner\}/\{repo\}/issues/\{issue_number\}/comments",
    r"/repos/\{owner\}/\{repo\}/issues/comments/\{comment_id\}",
    r"/repos/\{owner\}/\{repo\}/statuses/\{sha\}",
    r"/repos/\{owner\}/\{repo\}/pulls(/\{pull_number\})?",
    r"/repos/\{owner\}/\{repo\}/releases(/\{release_id\}(/assets)?|/tags/\{tag\}|/assets/\{asset_id\})?",
)
_LAYOUT = 1  # raise it when this file installs something in another way


def ready() -> bool:
    """Whether they are installed and up to date. Fast."""
    stamp = CACHE / "stamp"
    return stamp.exists() and stamp.read_text() == _digest()


def prism() -> Path:
    """The proxy, a program for Node."""
    return CACHE / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"


def description(service: str) -> Path:
    """The description of the service's API."""
    return CACHE / "github.json" if service == "github" else HERE / f"{service}.yaml"


def install() -> None:
    """Installs what is missing. Safe to call from several processes at once; needs the other tools."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (toolbox.CACHE / "forges.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready():
            return
        shutil.rmtree(CACHE)
        shutil.copytree(HERE / "node", CACHE)
        toolbox.npm_ci(CACHE)
        package = CACHE / "node_modules" / "@octokit" / "openapi"
        whole = json.loads((package / "generated" / "api.github.com.json").read_text())
        (CACHE / "github.json").write_text(json.dumps(cut(whole, PATHS)))
        shutil.rmtree(package)
        (CACHE / "stamp").write_text(_digest())


def cut(whole: dict[str, Any], patterns: tuple[str, ...]) -> dict[str, Any]:
    """The description with the paths that fully match one of `patterns`, and all that these refer to."""
    paths = {p: v for p, v in whole["paths"].items() if any(re.fullmatch(r, p) for r in patterns)}
    components: dict[str, dict[str, Any]] = {}

    def follow(value: Any) -> None:
        if isinstance(value, list):
            for v in value:
                follow(v)
        if not isinstance(value, dict):
            return
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/components/"):
            kind, name = reference.split("/")[2:]
            if name not in components.setdefault(kind, {}):
                components[kind][name] = whole["components"][kind][name]
                follow(components[kind][name])
        for v in value.values():
            follow(v)
        # It documents `application/json` where clients ask for, and get, GitHub's own name of that.
        content = value.get("content")
        if isinstance(content, dict) and "application/json" in content and "description" in value:
            content.setdefault("application/vnd.github+json", content["application/json"])

    follow(paths)
    kept = {k: v for k, v in whole.items() if k not in ("webhooks", "x-webhooks")}
    return {**kept, "paths": paths, "components": components}


def _digest() -> str:
    h = hashlib.sha256(f"{_LAYOUT} {CACHE} {PATHS}".encode())
    for name in ("package.json", "package-lock.json"):
        h.update((HERE / "node" / name).read_bytes())
    return h.hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("LANG", "C.UTF-8")
    install()
