"""`genbench data`: the facts about a dataset, or a contact sheet of its images."""

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli.common import OK, as_json, count, data_root, result, say, to_path
from genbench.spec import ConfigError
from genbench.store import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["add_parser"]

_CLASSES = 20  # rows of a sheet at most, and classes that are listed with their counts


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb's arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "data",
        help="facts about a dataset: counts, classes, hashes; or a contact sheet",
        description="Prints what a dataset holds. With --sheet it writes a picture instead: the "
        "first images of each class or, where there are annotations, the first images with these.",
    )
    parser.add_argument("dataset", help="NAME, NAME@SIZE or NAME:PATH@SIZE, see genbench ls")
    parser.add_argument("changes", nargs="*", metavar="data.root=PATH")
    parser.add_argument("--sheet", type=to_path, metavar="FILE.png", help="write a contact sheet")
    parser.add_argument("--split", default="train", help="of the sheet: train (default) or test")
    parser.add_argument("--n", type=count, default=8, help="images of the sheet, or of each class")
    parser.set_defaults(command=_data)
    return parser


def _data(arguments: argparse.Namespace) -> int:
    root, rest = data_root(arguments.changes)
    if rest:
        raise ConfigError(f"data takes data.root=PATH only, not {rest[0]!r}")
    if arguments.sheet is None:
        facts = _facts(arguments.dataset, root)
        result(as_json(facts) if arguments.json else _text(facts))
        return OK
    if arguments.sheet.suffix.lower() != ".png":
        raise ConfigError(f"--sheet {arguments.sheet} does not end in .png; give it that name")
    picture = _sheet(arguments.dataset, arguments.split, arguments.n, root)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    atomic_write(arguments.sheet, buffer.getvalue(), "choose another file with --sheet")
    written = {"sheet": str(arguments.sheet)}
    result(as_json(written) if arguments.json else f"sheet: {arguments.sheet}")
    return OK


def _facts(name: str, root: Path | None) -> dict[str, Any]:
    from genbench import data

    loaded = {split: data.load(name, split, root=root) for split in data.SPLITS}
    train = loaded["train"]
    splits = {
        split: {"images": len(d), "hash": d.hash, "classes": _counts(d)}
        for split, d in loaded.items()
    }
    return {
        "dataset": name,
        "shape": list(train.images.shape[1:]),
        "classes": list(train.classes),
        "annotations": {kind: list(train.words(kind)) for kind in train.annotations},
        "splits": splits,
        "notes": train.notes,
    }


def _counts(dataset: Any) -> list[int]:
    if dataset.labels is None:
        return []
    counts: list[int] = dataset.labels.bincount(minlength=len(dataset.classes)).tolist()
    return counts


def _text(facts: dict[str, Any]) -> str:
    from genbench.text import clean

    channels, height, width = facts["shape"]
    names = [clean(name, 24) for name in facts["classes"]]
    rows = {"images": f"{width}x{height}, {'RGB' if channels == 3 else 'grey'}, 8 bits"}
    rows["classes"] = f"{len(names)}: {_listed(names)}" if names else "none"
    rows["annotations"] = ", ".join(facts["annotations"])
    rows |= {
        f"  {kind}": f"{len(words)}: {_listed([clean(w, 24) for w in words])}"
        for kind, every in facts["annotations"].items()
        if (words := [word for word in every if word])  # without the padding
    }
    for split, of in facts["splits"].items():
        rows[split] = f"{of['images']} images, sha256 {of['hash'][:12]}"
        if names:
            rows[split] += f"; of each class {_listed([str(n) for n in of['classes']])}"
    rows |= {k.replace("_", " "): clean(str(v)) for k, v in facts["notes"].items()}
    wide = max(len(name) for name in rows)
    lines = [f"  {name:<{wide}}  {text}" for name, text in rows.items()]
    return "\n".join([clean(facts["dataset"]), *lines])


def _listed(words: list[str]) -> str:
    more = len(words) - _CLASSES
    return ", ".join(words[:_CLASSES]) + (f" and {more} more" if more > 0 else "")


def _sheet(name: str, split: str, n: int, root: Path | None) -> "Image":
    from genbench import data
    from genbench.report.grid import sheet
    from genbench.text import clean

    parsed = data.parse_id(name)
    if parsed.name == "scenes":
        from genbench.data.scenes import DEFAULT_SIZE
        from genbench.data.scenes.sheet import sheet as scenes_sheet

        return scenes_sheet(split, parsed.size or DEFAULT_SIZE, n)
    loaded = data.load(name, split, root=root)
    if loaded.known:
        from genbench.data.sheet import sheet as annotated_sheet

        return annotated_sheet(loaded, min(n, len(loaded)), clean)
    images = loaded.images.numpy()
    if loaded.labels is None:
        return sheet([(split, images[:n])], columns=n)
    if len(loaded.classes) > _CLASSES:
        say(f"the sheet shows the first {_CLASSES} of {len(loaded.classes)} classes")
    labels = loaded.labels.numpy()
    rows = [(clean(label, 24), images[labels == k][:n]) for k, label in enumerate(loaded.classes)]
    return sheet([row for row in rows if len(row[1])][:_CLASSES], columns=n)
