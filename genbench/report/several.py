"""Several results folders read as one."""

from collections.abc import Sequence

from genbench.record import Record
from genbench.spec import Cell
from genbench.store import Artifact, Store

__all__ = ["Several"]


class Several(Store):
    """A store that reads from several folders; its root is that of the first.

    Where two folders have a record of one cell, one that ran to its end is taken before one that
    did not, then that of the folder named first.

    Args:
        parts: The folders, at least one.
    """

    def __init__(self, parts: Sequence[Store]) -> None:
        super().__init__(parts[0].root)
        self.parts = tuple(parts)

    def record(self, key: str) -> Record | None:
        """The record of a cell, or None."""
        found = [record for part in self.parts if (record := part.record(key)) is not None]
        return min(found, key=lambda record: record.status != "ok", default=None)

    def records(self) -> list[Record]:
        """All records, one for each cell, sorted by key."""
        best: dict[str, Record] = {}
        for record in (record for part in self.parts for record in part.records()):
            known = best.get(record.key)
            if known is None or (known.status != "ok" and record.status == "ok"):
                best[record.key] = record
        return [best[key] for key in sorted(best)]

    def plan(self) -> tuple[str, list[Cell]] | None:
        """The plans one after the other; a folder without one adds the cells of its records."""
        plans = [part.plan() for part in self.parts]
        if not any(plans):
            return None
        cells: dict[str, Cell] = {}
        for plan, part in zip(plans, self.parts, strict=True):
            mine = plan[1] if plan else [record.cell for record in part.records()]
            cells |= {cell.key: cell for cell in mine}
        names = dict.fromkeys(plan[0] for plan in plans if plan)
        return "+".join(names), list(cells.values())

    def get(self, stage: str, key: str) -> Artifact | None:
        """An artifact of the first folder that has it."""
        return next((found for part in self.parts if (found := part.get(stage, key))), None)
