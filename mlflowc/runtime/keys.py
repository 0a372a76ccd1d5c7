"""The key of a stage: what decides its result, and nothing else.

A key is the BLAKE3 hash of the stage's **components**: short texts under a name each.

| component | its text |
|---|---|
| `command` | the parsed commands as canonical JSON: text and placeholders, not what fills them; and `dir` |
| `input:NAME` | canonical JSON: a list of `[path, kind, hash]`, one for each file or folder of the input |
| `param:NAME` | the value as canonical JSON, so that `1`, `1.0` and `"1"` differ |
| `each:NAME` | the value of the variable of this instance |
| `code:PATH` | the hash of a source file that the command runs or imports |
| `env:PART` | one part of the environment: the resolved requirements, the Python version, a variable |
| `output:NAME` | canonical JSON `[path, kind]` |
| `secret:NAME` | that the secret is used; never its value |
| `auth:PROVIDER` | that its commands have credentials of that provider; never whose, nor which |

Files count by BLAKE3 of their bytes, folders by the listing of `mlflowc.runtime.tree`.

The hash is taken over `mlpipe-key`, the number of the key format, the number of components, and then the
components sorted by name, where every text is preceded by its length in UTF-8 bytes. So no two different
sets of components have the same encoding. The key format number changes when the *meaning* of a component
changes, not with releases.

Not in a key: the stage's name, comments and formatting of the pipeline file, runner, timeout, retries,
`after`, `keep`, values of secrets, undeclared environment variables (the command does not see them either).

The **deep key** of a stage takes, for each input that another stage writes, that stage's deep key in place
of the content. It is known before anything ran, and names what a job will make; a stage whose inputs come
out unchanged has the same key and another deep key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from blake3 import blake3

from mlflowc.ir.model import Slot, Stage, Value

KEY_FORMAT = 1


def canonical(value: Value | list[object]) -> str:
    """A value as canonical JSON: sorted names, no spaces. Types survive (`1`, `1.0`, `true` all differ)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(components: Mapping[str, str], domain: str = "mlpipe-key") -> str:
    """The key of a set of components."""
    parts = [f"{domain} {KEY_FORMAT} {len(components)}\n".encode()]
    for name in sorted(components):
        for text in (name, components[name]):
            data = text.encode("utf-8", "surrogateescape")
            parts += (b"%d:" % len(data), data)
    return blake3(b"".join(parts)).hexdigest()


def deep_digest(components: Mapping[str, str]) -> str:
    """The deep key of a set of components whose upstream inputs hold deep keys."""
    return digest(components, "mlpipe-deep-key")


def static_components(stage: Stage, params: Mapping[str, Value]) -> dict[str, str]:
    """The components that the pipeline file alone decides. `params` holds every parameter's value by name."""
    components = {"command": canonical([*(_template(c) for c in stage.commands), stage.dir])}
    values = {**params, **dict(stage.bound)} if stage.bound else params
    for name in stage.params:
        components[f"param:{name}"] = canonical(values[name])
    for variable, value in stage.each:
        components[f"each:{variable}"] = canonical(value)
    for output in stage.outputs:
        components[f"output:{output.name}"] = canonical([output.path, output.type.kind])
    for secret in stage.secrets:
        components[f"secret:{secret}"] = "used"
    for provider in stage.auth:
        components[f"auth:{provider}"] = "used"
    return components


def input_component(sources: Iterable[tuple[str, str, str]]) -> str:
    """The text of an input: `(path, kind, hash)` of each of its files and folders, in order."""
    return canonical([list(s) for s in sources])


def _template(template: tuple[str | Slot, ...]) -> list[object]:
    return [part if isinstance(part, str) else [part.kind, part.name] for part in template]
