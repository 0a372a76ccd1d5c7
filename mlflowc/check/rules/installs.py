"""A command that installs packages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.check.shellwords import Word
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_TOOLS = {
    "pip": ("install",),
    "uv": ("add", "sync"),
    "conda": ("install", "update"),
    "mamba": ("install", "update"),
    "apt-get": ("install",),
    "apt": ("install",),
    "brew": ("install",),
    "npm": ("install", "i"),
    "poetry": ("add", "install"),
}
_PIP = re.compile(r"pip3?(\.\d+)?")

CHECK = Check(
    "MLP418",
    Severity.WARNING,
    "a command installs packages",
    explanation(
        """
        What the command installs is not part of the stage's key, so tomorrow's newer package gives other
        results under the same key; and stages that run at the same time change each other's environment.
        Packages belong into an `env`.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "pip install pandas && python src/prepare.py {{x}}"
        }
        """,
        """
        env py { requirements = "requirements.txt" }
        stage a {
          env = py
          out x = "x.csv"
          run = "python src/prepare.py {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Stages only: an action may prepare the machine that it deploys from."""
    for step in facts.typed.stages:
        for text in step.texts:
            words = facts.command(text).words
            for n, word in enumerate(words):
                if _installs(words, n, word):
                    yield Diagnostic.of(
                        CHECK,
                        f"`{step.value.name}` installs packages in its command",
                        word.span,
                        label="not part of the key",
                        help='declare them in an `env`: `env py { requirements = "requirements.txt" }`',
                    )


def _installs(words: tuple[Word, ...], n: int, word: Word) -> bool:
    """Whether the program at `n` is an installer told to install; `python -m pip install` and `sudo` too."""
    before = words[n - 1] if n and not word.first else None
    if before is not None and before.text not in ("sudo", "-m", "uv", "-y"):
        return False
    tool = "pip" if _PIP.fullmatch(word.text) else word.text
    after = words[n + 1] if n + 1 < len(words) and not words[n + 1].first else None
    return tool in _TOOLS and after is not None and after.text in _TOOLS[tool]
