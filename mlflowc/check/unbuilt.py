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
CHECKS = (UNBUILT,)


class Row(NamedTuple):
    """`what` begins the message; `instead` is the help."""

    what: str
    instead: str = ""


# Building one of these is deleting its row.
ROWS: dict[str, Row] = {
    "runner.cloud": Row(
        "starting cloud machines", 'name runners of the service: `github = ["self-hosted", "gpu"]`'
    ),
}


def refuse(ctx: Context, row: str, span: Span, *related: Label) -> bool:
    """Reports the construct `row` at `span` where it is not built yet; whether it did."""
    found = ROWS.get(row)
    if found is None:
        return False
    message = f"{found.what} is not built yet in this version"
    ctx.report(UNBUILT, message, span, related=related, help=found.instead)
    return True
