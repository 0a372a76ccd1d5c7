"""What the language can say and this version cannot do yet: one row each, refused where it would be
needed."""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.check.context import Context
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.span import Span

UNBUILT = Check(
    "MLP501",
    Severity.ERROR,
    "something that this version cannot do yet",
    """
The language has the construct, it was read and type-checked, and what would carry it out is not there yet
in this version. Declaring it is fine; the message stands where something needs it.

```mlpipe fails
mlpipe 1
pipeline example
runner big { cloud = aws(region = "eu-west-1"), timeout = 1h }
stage train {
  runner = big
  out model = "model.txt"
  run    = "train {{model}}"
}
on push("main") { run = [train] }
```

```mlpipe
mlpipe 1
pipeline example
runner big { github = ["self-hosted", "big"], timeout = 1h }
stage train {
  runner = big
  out model = "model.txt"
  run    = "train {{model}}"
}
on push("main") { run = [train] }
```
""",
)
UNUSED = Check(
    "MLP502",
    Severity.WARNING,
    "something that this version does not act on yet",
    """
The block was read and checked, and this version does not act on it: the pipeline works as if it were not
there.

```mlpipe fails
mlpipe 1
pipeline example
auth aws { role = "arn:aws:iam::123456789012:role/ci" }
stage train { run = "train" }
```

```mlpipe
mlpipe 1
pipeline example
stage train { run = "train" }
```
""",
)
CHECKS = (UNBUILT, UNUSED)


class Row(NamedTuple):
    """`what` begins the message; `instead` is the help."""

    what: str
    instead: str = ""
    check: Check = UNBUILT


# Building one of these is deleting its row.
ROWS: dict[str, Row] = {
    "runner.cloud": Row(
        "starting cloud machines", 'name runners of the service: `github = ["self-hosted", "gpu"]`'
    ),
    "auth": Row("taking credentials through OIDC", "pass `secrets` to the steps that need them", UNUSED),
}


def refuse(ctx: Context, row: str, span: Span, *related: Label) -> bool:
    """Reports the construct `row` at `span` where it is not built yet; whether it did."""
    found = ROWS.get(row)
    if found is None:
        return False
    end = (
        "is not built yet in this version"
        if found.check is UNBUILT
        else "is not built yet: this has no effect"
    )
    ctx.report(found.check, f"{found.what} {end}", span, related=related, help=found.instead)
    return True
