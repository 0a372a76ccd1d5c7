"""The environment variables of a command: an allow-list, then what the pipeline declares. Nothing else gets
through.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Stage

# What a program needs to start, find its files and reach the network; none of it should decide a result.
ALLOWED = frozenset(
    (
        *(
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "TMPDIR",
            "TEMP",
            "TMP",
            "XDG_CACHE_HOME",
            "XDG_RUNTIME_DIR",
        ),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSH_AUTH_SOCK"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    )
)

# Of these, what has a meaning in a container, which has programs and folders of its own.
_INSIDE = frozenset(n for n in ALLOWED if n.lower().endswith("_proxy") or "_VISIBLE_DEVICES" in n)

# The same everywhere: sorting, dates and the order of sets must not differ between two machines.
_FIXED = {
    "LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    "LANG": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    # Python takes a module's bytecode as current when second and size agree: after a quick edit it is stale.
    "PYTHONDONTWRITEBYTECODE": "1",
}


def variables(
    stage: Stage, env: Env | None, prepared: Mapping[str, str], host: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables for the stage's command: the host's allowed ones, the fixed ones, those of the prepared
    environment, `vars`, `pass`, secrets; later ones win. Raises `Failure` when a secret is not set.
    """
    # What was prepared for an image is what a container needs; nothing, where we are in that image already.
    enclosed = env is not None and env.image is not None and bool(prepared)
    allowed = _INSIDE if enclosed else ALLOWED
    found = {name: host[name] for name in host if name in allowed}
    found.update(_FIXED)
    found.update(prepared)
    if env is not None:
        found.update({name: host[name] for name in env.passed if name in host})
        found.update(env.vars)
    found.update(secrets(stage, host))
    return found


def secrets(stage: Stage, host: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values of the stage's secrets. Raises `Failure` that names those that are not set."""
    missing = [s for s in stage.secrets if not host.get(s)]
    if missing:
        names = ", ".join(f"`{m}`" for m in missing)
        raise Failure(
            f"`{stage.id}` needs the secret {names}, and no such environment variable is set",
            help=f"set it for this run, as in: {missing[0]}=... mlpipec …",
        )
    return {s: host[s] for s in stage.secrets}
