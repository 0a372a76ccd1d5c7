"""Who may believe what: which namespaces a job reads, and in which it writes.

A job of a protected branch reads and writes `trusted` alone. A pull request, or another branch, reads
`trusted` and its own, and writes only its own. Nothing goes from one to the other: what was merged is made
again. On a person's machine nothing is written unasked, unless the pipeline says `write = all`.

The variables of a CI service say which it is. They are set by the service, and a pull request can change
what its own jobs see: so this keeps honest jobs apart, and `mlpipec cache policy` prints the rules by which
the remote's credentials keep all others.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping

from mlflowc.frozen import dataclass
from mlflowc.runtime.remotes.names import TRUSTED, untrusted


@dataclass(frozen=True, slots=True)
class Trust:
    """`reads` are namespaces, the first asked first. `writes` is where a push goes; None: nowhere.

    `unasked`: a run pushes what it made. `who` is a word for people. `person`: not a job of a CI service.
    """

    reads: tuple[str, ...]
    writes: str | None
    unasked: bool
    who: str
    person: bool = False


def decide(env: Mapping[str, str], write: str, branch: str) -> Trust:
    """The trust of this process. `write` is `trusted`, `all` or `none`, `branch` the protected branch."""
    found = _job(env, branch)
    if found is None:
        return _person(write)
    who, protected = found
    own = TRUSTED if protected else untrusted(who)
    reads = (TRUSTED,) if protected else (TRUSTED, own)
    return Trust(reads, None if write == "none" else own, write != "none", who)


def _person(write: str) -> Trust:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = "somebody"
    who = f"user-{name}"
    own = TRUSTED if write == "all" else untrusted(who)
    reads = (TRUSTED, untrusted(who))
    return Trust(reads, None if write == "none" else own, write == "all", who, person=True)


def _job(env: Mapping[str, str], branch: str) -> tuple[str, bool] | None:
    """A name for the job's ref and whether it is protected; None outside of CI."""
    if env.get("GITHUB_ACTIONS"):
        return _github(env, branch)
    if env.get("GITLAB_CI"):
        return _gitlab(env)
    if env.get("BITBUCKET_BUILD_NUMBER"):
        return _bitbucket(env, branch)
    if env.get("CI"):
        return "ci", False
    return None


def _github(env: Mapping[str, str], branch: str) -> tuple[str, bool]:
    ref = env.get("GITHUB_REF", "")
    kind, _, name = ref.removeprefix("refs/").partition("/")
    if env.get("GITHUB_EVENT_NAME", "").startswith("pull_request") or kind == "pull":
        # `pull_request_target` runs with the base's ref: for us it is a pull request all the same.
        number = name.partition("/")[0] if kind == "pull" else env.get("GITHUB_HEAD_REF") or name
        return f"pr-{number}", False
    protected = kind == "heads" and (name == branch or env.get("GITHUB_REF_PROTECTED") == "true")
    return f"{'tag' if kind == 'tags' else 'branch'}-{name}", protected


def _gitlab(env: Mapping[str, str]) -> tuple[str, bool]:
    merge = env.get("CI_MERGE_REQUEST_IID")
    if merge or env.get("CI_PIPELINE_SOURCE") == "merge_request_event":
        return f"pr-{merge}", False
    name = env.get("CI_COMMIT_REF_NAME", "")
    if env.get("CI_COMMIT_TAG"):
        return f"tag-{name}", False
    return f"branch-{name}", env.get("CI_COMMIT_REF_PROTECTED") == "true"


def _bitbucket(env: Mapping[str, str], branch: str) -> tuple[str, bool]:
    pull = env.get("BITBUCKET_PR_ID")
    if pull:
        return f"pr-{pull}", False
    if env.get("BITBUCKET_TAG"):
        return f"tag-{env['BITBUCKET_TAG']}", False
    name = env.get("BITBUCKET_BRANCH", "")
    return f"branch-{name}", name == branch
