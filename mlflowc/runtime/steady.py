"""What a stage reads must stay as it is from the making of its key to the end of its command."""

from __future__ import annotations

from collections.abc import Sequence

from mlflowc.runtime.checkout import Seen
from mlflowc.runtime.plan import Step
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.workspace import Workspace


class Steady:
    """Watches the inputs of one run of one stage, from now on."""

    def __init__(self, ws: Workspace, step: Step, inputs: Sequence[OutputRecord]) -> None:
        """`inputs` are those that other stages made; they are in place."""
        self._ws = ws
        seen: dict[tuple[str, bool], Seen] = {(s.path, source): s for s, source in step.seen}
        for made in inputs:
            there = ws.checkout.look(made.path, source=False)
            if there is not None:
                seen[made.path, False] = there
        self._seen = [
            (s, source, ws.checkout.taken_mark(s, source=source)) for (_, source), s in seen.items()
        ]

    def changed(self) -> list[str]:
        """The paths whose content is another, or was in between: written and put back is changed, too.

        A change of the ctime alone is none, if the content is the same: a link may have been made to it.
        """
        checkout = self._ws.checkout
        changed = []
        for seen, source, mark in self._seen:
            if checkout.same(seen, source=source):
                continue
            checkout.forget(seen.path)
            now = checkout.look(seen.path, source=source)
            if now is None or now.hash != seen.hash or checkout.mark(seen.path, source=source) != mark:
                changed.append(seen.path)
        return list(dict.fromkeys(changed))
