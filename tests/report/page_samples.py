"""Results folders made by hand for the tests of the page: well, failed, with seeds, hostile."""

from pathlib import Path
from typing import Any

from report_samples import FD, IS, cell, failure, pictures, record

from genbench.record import Counters, Environment, Failure, Timings
from genbench.report import write
from genbench.store import Store

HOSTILE = (
    "<script>window.pwned=1;alert(1)</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</style></title></script><svg onload=alert(1)>",
    "' onmouseover='window.pwned=1",
    "{{ 7*7 }}{% raw %}",
    '=HYPERLINK("https://example.org","x")',
    "@SUM(1+1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "[x] \x1b[31mred\x1b[0m \u202egnp\\input{x} 50% $y$",
    "https://example.org/a.js",
)


def counted(flops: float, ms: float, **more: Any) -> dict[str, Any]:
    """Counters and timings of a record."""
    counters = Counters(
        nfe=1, params=1000, train_images=600, train_steps=9, train_flops=flops, ended_by="images"
    )
    return {"counters": counters, "timings": Timings(train=1.0, ms_per_image=ms), **more}


def well(root: Path) -> Path:
    """Seven rows with pictures; one has two seeds, one no scores, one failed."""
    store = Store(root)
    options = [{"sampler": "ddim", "steps": n} for n in (10, 50)]
    cells = [
        cell("dcgan", metrics=(FD, IS)),
        cell("cgan", seed=0, metrics=(FD, IS)),
        cell("cgan", seed=1, metrics=(FD, IS)),
        cell("vae", metrics=(FD, IS)),
        *(cell("ddpm", options=o, metrics=(FD, IS)) for o in options),
        cell("real", metrics=(FD, IS)),
        cell("pix2pix", metrics=(FD, IS)),
    ]
    store.put_plan("made by hand", cells)
    when = "2026-01-02T03:04:05+00:00"
    values = ((13.5, 5.0), (9.0, 5.5), (11.0, 5.7), (100.0, 4.0), (5.0, 7.0), (4.0, 7.5), (0.5, 9))
    flops = (1e9, 2e9, 2e9, 5e8, 8e9, 8e9, 0.0)
    times = (0.02, 0.03, 0.03, 0.01, 0.5, 2.5, 0.001)
    for c, value, cost, ms in zip(cells, values, flops, times, strict=False):
        store.put_record(record(c, *value, **counted(cost, ms, finished=when)))
        store.put("sample", c.sample.key, {"images": pictures(70)}, {})
    error = Failure(
        stage="train",
        type="FloatingPointError",
        message="loss is nan after step 12",
        traceback='Traceback:\n  File "x.py", line 3, in step\n    loss = <nan>\n',
        rerun="genbench run --cell abc --out runs/x",
    )
    store.put_record(record(cells[-1], status="failed", error=error))
    write(store, root)
    return root / "report.html"


def hostile(root: Path) -> Path:
    """Names, settings, data, versions, errors and a metric that want to be run."""
    store = Store(root)
    bad = FD.model_copy(update={"name": HOSTILE[0], "weights": ""})
    cells = [
        cell(text, config={"note": text}, options={"steps": 1, "x": text}, metrics=(FD, bad),
             dataset=HOSTILE[i % 3])
        for i, text in enumerate(HOSTILE)
    ]  # fmt: skip
    cells += [cell("dcgan", config={text: text}, metrics=(FD,), dataset="d") for text in HOSTILE]
    store.put_plan(HOSTILE[2], cells)
    environment = Environment(
        packages=dict.fromkeys(HOSTILE, HOSTILE[1]),
        machine={"processor": HOSTILE[0]},
        device=HOSTILE[1],
        threads=1,
        hashes={HOSTILE[1]: HOSTILE[0]},
    )
    for i, c in enumerate(cells):
        text = HOSTILE[i % len(HOSTILE)]
        more = {"environment": environment, "data": {text: text}, "finished": HOSTILE[0]}
        if i % 3 == 2:
            error = failure(text, rerun=text).model_copy(
                update={"type": text, "traceback": "\n".join(HOSTILE)}
            )
            store.put_record(record(c, status="failed", error=error, kind=text, **more))
        else:
            store.put_record(
                record(c, 1.0 + i, 2.0, kind=text, **counted(1e9 + i, 0.1 + i, **more))
            )
            store.put("sample", c.sample.key, {"images": pictures(4)}, {})
    write(store, root)
    return root / "report.html"
