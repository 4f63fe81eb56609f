"""`genbench eval`: score images that are there already."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli.common import (
    CELLS_FAILED,
    OK,
    as_json,
    data_root,
    result,
    say,
    thread_count,
    to_path,
)
from genbench.spec import ConfigError

if TYPE_CHECKING:
    from genbench.evaluation import EvalSpec
    from genbench.inputs import Source

__all__ = ["add_parser"]

_SOURCES = (
    "a folder or zip of images, an .npz (arr_0) or .npy of uint8 NHWC, DATASET:SPLIT, or a run: "
    "its results folder, RESULTS#ROW, or a record"
)


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "eval",
        help="score images: FID, IS, KID, precision and recall, CLIP score, SSIM, ...",
        description="Scores images that are there already, against a reference where the metric "
        "has one. Every image is decoded once and every network sees it once, however many "
        "metrics are asked for; what is known of a reference is kept and not computed again.",
        epilog="options: protocol=clean  resize=64  on_error=skip  alpha=white  n=50000  "
        "dtype=bfloat16  compile=true  captions=FILE  kid.subset_size=100  prdc.k=5  "
        "data.root=PATH.  Captions of clip: a .txt with one a line in the order of the images, a "
        ".jsonl or .csv of file and caption.  Exit codes: 0 ok, 2 usage, 3 some metrics could not "
        "be computed",
    )
    parser.add_argument("generated", nargs="?", metavar="GENERATED", help=_SOURCES)
    parser.add_argument("changes", nargs="*", metavar="key=value", help="options, see below")
    parser.add_argument("--reference", metavar="REF", help="the same, for what it is compared to")
    parser.add_argument(
        "--metrics",
        metavar="A,B",
        help="metrics or groups, each with @EXTRACTOR if it has one of its own (default: fid,is)",
    )
    parser.add_argument("--extractor", metavar="E", help="e.g. inception/clean, digits-cnn")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[E=]FILE",
        help="weights file of the extractor, or of the one that is named",
    )
    parser.add_argument("--protocol", help="how images are prepared (default: the first, tf1)")
    parser.add_argument("--save-stats", type=to_path, metavar="FILE", help="keep the reference's")
    parser.add_argument("--load-stats", type=to_path, metavar="FILE", help="use a kept reference")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--threads", type=thread_count, help="CPU threads (default: all)")
    parser.set_defaults(command=_eval)
    return parser


def _eval(arguments: argparse.Namespace) -> int:
    if arguments.generated is not None and _is_change(arguments.generated):
        arguments.changes.insert(0, arguments.generated)
        arguments.generated = None
    root, changes = data_root(arguments.changes)
    flags = {
        "extractor": arguments.extractor,
        "protocol": arguments.protocol,
        "metrics": tuple(arguments.metrics.split(",")) if arguments.metrics else None,
    }
    from genbench.evaluation import jobs, read_changes

    spec = read_changes(changes, {k: v for k, v in flags.items() if v is not None})
    wanted = jobs(spec, _weights(arguments.weights))
    _check_sides(arguments)

    from genbench.runtime import Runtime
    from genbench.worker import configure

    runtime = Runtime(out=Path(), device=arguments.device, threads=arguments.threads or 0)
    configure(runtime)
    made = _open(arguments.generated, spec, root)
    real = _open(arguments.reference, spec, root)

    from genbench.console import Bar
    from genbench.evaluation import evaluate

    with Bar() as bar:
        found = evaluate(
            made,
            real,
            wanted,
            spec,
            device=runtime.device,
            load_stats=arguments.load_stats,
            save_stats=arguments.save_stats,
            progress=bar.watch,
        )
    if arguments.save_stats is not None:
        say(f"statistics of the reference: {arguments.save_stats}")
    if found is None:
        return OK
    from genbench.report import scores

    for warning in found.warnings:
        say(f"genbench: warning: {warning}")
    result(
        as_json(json.loads(found.model_dump_json())) if arguments.json else scores.render(found)
    )
    return CELLS_FAILED if found.failed else OK


def _is_change(text: str) -> bool:
    """Whether a first argument is an option, and no file with an equals sign in its name."""
    head = text.partition("=")[0]
    return "=" in text and "/" not in head and not Path(text).exists()


def _check_sides(arguments: argparse.Namespace) -> None:
    if arguments.generated is None and arguments.save_stats is None:
        raise ConfigError(f"name the images to score: {_SOURCES}")
    if arguments.generated is None and arguments.reference is None:
        raise ConfigError("--save-stats needs --reference, whose statistics are saved")


def _weights(given: list[str]) -> dict[str, Path]:
    """Files by extractor; "" for the extractor that most metrics look through."""
    found: dict[str, Path] = {}
    for text in given:
        head, equals, tail = text.partition("=")
        named = bool(equals) and not Path(text).exists()
        file = to_path(tail if named else text)
        if not file.is_file():
            raise ConfigError(f"--weights {text}: there is no file {file}")
        found[head if named else ""] = file
    return found


def _open(text: str | None, spec: "EvalSpec", root: Path | None) -> "Source | None":
    if text is None:
        return None
    from genbench.inputs import open_source

    return open_source(
        text, resize=spec.resize, on_error=spec.on_error, alpha=spec.alpha, data_root=root
    )
