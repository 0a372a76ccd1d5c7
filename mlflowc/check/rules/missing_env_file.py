"""An environment whose file does not exist."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mlflowc.check.facts import Facts, normal
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.spell import nearest

CHECK = Check(
    "MLP330",
    Severity.ERROR,
    "an environment's file does not exist",
    explanation(
        """
        The requirements, lock or conda file is not in the project, so the environment cannot be made. It
        has to be committed: the CI machine installs from it, and it is part of the key of every stage that
        uses it.
        """,
        """
        env py { requirements = "requirement.txt" }
        stage a {
          env = py
          out x = "x.txt"
          run = "touch {{x}}"
        }
        """,
        """
        env py { requirements = "requirements.txt" }
        stage a {
          env = py
          out x = "x.txt"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """`requirements`, `lock` and `conda` of each `env`."""
    for block in facts.typed.envs:
        env = block.value
        for key, path in (("requirements", env.requirements), ("lock", env.lock), ("conda", env.conda)):
            if not path or facts.exists(path):
                continue
            folder = posixpath.dirname(normal(path))
            guess = nearest(normal(path), facts.loader.glob(f"{folder}/*" if folder else "*"))
            yield Diagnostic.of(
                CHECK,
                f"the environment `{env.name}` wants `{path}`, and there is no such file",
                block.settings.get(key, block.span),
                label="not found",
                help=f"did you mean `{guess}`?" if guess else "add the file, or take the setting away",
            )
