"""`mlpipec cache`: results to and from a remote or a file, and keeping the cache in order."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlflowc import terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option, remote_option
from mlflowc.errors import Failure

_targets = click.argument("names", metavar="[TARGET]...", nargs=-1, shell_complete=complete.targets)
_json = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group("cache")
def command() -> None:
    """Share, check and clear up cached results."""


@command.command("push")
@_targets
@click.option(
    "--all", "everything", is_flag=True, help="All results in the cache, not only the current ones."
)
@remote_option
@_json
@file_option
def push(
    names: tuple[str, ...], everything: bool, remote: str | None, as_json: bool, file: str | None
) -> int:
    """Send the results of TARGETs (default: of all stages) to the remote.

    Ends with exit code 1 when a TARGET, or every stage, has no result here.
    """
    from mlflowc.commands import caching

    done = caching.push(file, remote, names, everything=everything)
    return _tell(as_json, done.lines, done.as_json, 1 if done.failed else 0)


@command.command("pull")
@_targets
@remote_option
@_json
@file_option
def pull(names: tuple[str, ...], remote: str | None, as_json: bool, file: str | None) -> int:
    """Fetch the results of TARGETs (default: of all stages) into the cache.

    `mlpipec run` then puts them in place. Ends with exit code 1 when a TARGET is not to be had.
    """
    from mlflowc.commands import caching

    done = caching.pull(file, remote, names)
    return _tell(as_json, done.lines, done.as_json, 1 if names and (done.missing or done.unknown) else 0)


@command.command("gc")
@click.option("--keep", metavar="DURATION", help="Drop results that were not used for so long, as in 30d.")
@click.option("--max-size", metavar="SIZE", help="Drop the least recently used until it fits, as in 50GiB.")
@click.option("--refs", is_flag=True, help="Keep what mlpipe.lock names at any branch or tag.")
@click.option("--in-remote", is_flag=True, help="Clear up the remote instead of the cache.")
@click.option(
    "--namespace",
    "namespaces",
    metavar="NAME",
    multiple=True,
    help="With --in-remote: which part of it, as in trusted; `all` is all (default: where this job writes).",
)
@click.option(
    "--grace",
    metavar="DURATION",
    help="With --in-remote: how long content stays that no result names (default: 24h).",
)
@click.option("-n", "--dry", "--dry-run", "dry", is_flag=True, help="Only say what would be done.")
@remote_option
@_json
@file_option
def gc(
    keep: str | None,
    max_size: str | None,
    refs: bool,
    in_remote: bool,
    namespaces: tuple[str, ...],
    grace: str | None,
    dry: bool,
    remote: str | None,
    as_json: bool,
    file: str | None,
) -> int:
    """Clear up the cache, or the remote.

    What `mlpipe.lock` names stays. Without limits, only content goes that no result names; in the remote that
    takes two calls, with the grace period between them.
    """
    from mlflowc.commands import caching

    limits = (_unit(keep, "duration", "--keep", "30d"), _unit(max_size, "size", "--max-size", "50GiB"))
    if in_remote:
        from mlflowc.commands import clearing

        wait = _unit(grace, "duration", "--grace", "24h")
        ask = clearing.Asked(limits, namespaces, clearing.GRACE if wait is None else wait, refs=refs, dry=dry)
        lines, values = clearing.sweep(file, remote, ask)
    elif namespaces or grace is not None or remote is not None:
        raise click.UsageError("--namespace, --grace and --remote belong to --in-remote")
    else:
        lines, values = caching.collect(file, limits, refs=refs, dry=dry)
    return _tell(as_json, lines, values)


@command.command("verify")
@click.option("--in-remote", is_flag=True, help="Read all of the remote instead of the cache.")
@click.option("--drop", is_flag=True, help="With --in-remote: remove what is damaged or not believed.")
@remote_option
@_json
@file_option
def verify(in_remote: bool, drop: bool, remote: str | None, as_json: bool, file: str | None) -> int:
    """Hash all content again. Damaged content is dropped from the cache: a stage makes it anew.

    In a remote whose results have to be signed, tells which are not. Ends with exit code 1 when something was
    damaged, or is not believed.
    """
    from mlflowc.commands import caching

    if drop and not in_remote:
        raise click.UsageError("--drop belongs to --in-remote: the cache never keeps what is damaged")
    lines, values = (
        caching.verify_remote(file, remote, drop=drop) if in_remote else caching.verify_local(file)
    )
    return _tell(as_json, lines, values, 1 if values["damaged"] or values.get("doubtful") else 0)


@command.command("stat")
@remote_option
@_json
@file_option
def stat(remote: str | None, as_json: bool, file: str | None) -> int:
    """Say how much is in the cache, and in the remote if there is one."""
    from mlflowc.commands import counting

    lines, values = counting.stat(file, remote)
    return _tell(as_json, lines, values)


@command.command("export")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@_targets
@click.option(
    "--all", "everything", is_flag=True, help="All results in the cache, not only the current ones."
)
@_json
@file_option
def export(target: Path, names: tuple[str, ...], everything: bool, as_json: bool, file: str | None) -> int:
    """Write results (of TARGETs, or of all stages) into one FILE, to be carried elsewhere.

    Ends with exit code 1 when a TARGET, or every stage, has no result here; a FILE without results is not
    written.
    """
    from mlflowc.commands import caching

    lines, values, failed = caching.export(file, target, names, everything=everything)
    return _tell(as_json, lines, values, 1 if failed else 0)


@command.command("import")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@_json
@file_option
def import_(source: Path, as_json: bool, file: str | None) -> int:
    """Take in the results of a FILE that `cache export` or a job wrote.

    FILE may be the folder of another cache: `.mlpipe/cache`, where the project uses a shared one since.
    """
    from mlflowc.commands import caching

    lines, values = caching.take_in(file, source)
    return _tell(as_json, lines, values)


@command.command("policy")
@click.argument("cloud", type=click.Choice(["aws", "gcp", "minio"]))
@click.option("--repository", metavar="OWNER/NAME", help="The repository (default: from git's `origin`).")
@click.option(
    "--service",
    type=click.Choice(["github", "gitlab"]),
    default="github",
    help="Whose tokens the jobs show (default: github).",
)
@remote_option
@file_option
def policy(cloud: str, repository: str | None, service: str, remote: str | None, file: str | None) -> int:
    """Print the rules by which the remote itself keeps pull requests out of `trusted/`."""
    from mlflowc.commands import caching

    click.echo(caching.policy(file, remote, cloud, repository, service))
    return 0


@command.group("key")
def key() -> None:
    """The key that signs results in a remote."""


@key.command("new")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the secret key goes (default: ~/.config/mlpipec/signing-key).",
)
def key_new(out: Path | None) -> int:
    """Make a key. The secret part goes into a file, the public part is printed."""
    from mlflowc.commands import signingkey

    return signingkey.new(out)


@key.command("show")
def key_show() -> int:
    """Print the public part of the key that would sign here."""
    from mlflowc.commands import signingkey

    return signingkey.show()


def _unit(text: str | None, kind: str, option: str, example: str) -> float | None:
    """Seconds of a duration, bytes of a size."""
    if text is None:
        return None
    from mlflowc.syntax.units import measure

    found = measure(text, kind)
    if found is None:
        raise Failure(f"`{option} {text}` is not a {kind}", help=f"as in {option} {example}", code=2)
    return found


def _tell(as_json: bool, lines: list[str], values: dict[str, object], code: int = 0) -> int:
    if as_json:
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return code
    for n, line in enumerate(lines):
        print(terminal.style(line, "bold") if n == len(lines) - 1 else line)
    return code
