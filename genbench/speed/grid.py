"""The ways to sample that `genbench speed` compares: the grid, and the options of its rows."""

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any, get_args

from pydantic import PositiveInt

from genbench import registry, suite
from genbench.spec import ConfigError, Spec, content_key, nearest, parse

__all__ = ["VARIED", "Grid", "rows"]

STEPS = (1000, 250, 100, 50, 20, 10)
_SAME_AT_T = ("uniform", "leading")  # with as many steps as levels they are "trailing"
VARIED = ("sampler", "steps", "spacing", "eta", "variance")  # the options that it varies


class Grid(Spec):
    """Which ways to sample are compared.

    Attributes:
        steps: Step counts.
        samplers: Samplers of the family; none is DDPM and DDIM, or all where it has neither.
        spacing: Time-step sequences, by name.
        eta: Of DDIM alone.
        variance: Of DDPM alone.
        against: The row that speed-ups are measured to, `SAMPLER:STEPS`; "auto" is DDPM with all
            of its steps, "none" is none.
        quality: Whether samples are scored.
        suite: Whose settings a baseline is trained with; by default the one with its dataset.
    """

    steps: tuple[PositiveInt, ...] = STEPS
    samplers: tuple[str, ...] = ()
    spacing: tuple[str, ...] = ("auto",)
    eta: tuple[float, ...] = (0.0,)
    variance: tuple[str, ...] = ("posterior",)
    against: str = "auto"
    quality: bool = True
    suite: str | None = None


def rows(base: suite.Suite, asked: Grid) -> list[tuple[dict[str, Any], bool]]:
    """Sampling options of each row, no two equal, and whether it is the reference."""
    row = base.rows[0]
    cls = registry.load(row.baseline)
    fields = cls.Options.model_fields
    _check_known(row.baseline, asked, fields)
    if "steps" not in fields:
        return [(row.options, False)]
    config = parse(cls.Config, row.config, row.baseline)
    levels = getattr(config, "T", max(asked.steps))
    fixed = {k: v for k, v in row.options.items() if k not in VARIED}
    known = get_args(fields["sampler"].annotation) if "sampler" in fields else ()
    reference = _reference(asked.against, levels, known)
    found: list[dict[str, Any]] = [] if reference is None else [reference]
    usual = [name for name in ("ddpm", "ddim") if name in known] or known or (None,)
    for sampler, spacing in product(asked.samplers or usual, asked.spacing):
        etas = asked.eta if sampler == "ddim" else (None,)
        variances = asked.variance if sampler == "ddpm" else (None,)
        for steps, eta, variance in product(asked.steps, etas, variances):
            if steps > levels and asked.steps == STEPS:
                continue  # the default list is for 1000 levels
            full = steps == levels and spacing in _SAME_AT_T
            choice = {
                "sampler": sampler,
                "steps": steps,
                "spacing": "trailing" if full else None if spacing == "auto" else spacing,
                "eta": eta,
                "variance": variance,
            }
            found.append({k: v for k, v in choice.items() if v is not None and k in fields})
    where = f"{row.baseline} options"
    read = [parse(cls.Options, fixed | o, where).model_dump(mode="json") for o in found]
    first = content_key(read[0]) if reference else ""
    unique = {content_key(o): o for o in read}
    return [(options, key == first) for key, options in unique.items()]


def _check_known(baseline: str, asked: Grid, fields: Collection[str]) -> None:
    """Refuse to vary an option that the family does not have."""
    for name in VARIED:
        key = name if name in Grid.model_fields else f"{name}s"
        if key in asked.model_fields_set and name not in fields:
            raise ConfigError(
                f"{baseline} has no sampling option {name!r}, so {key}= cannot vary it; "
                f"{nearest(name, fields)}"
            )


def _reference(against: str, levels: int, samplers: Sequence[str]) -> dict[str, Any] | None:
    if against == "none" or (against == "auto" and "ddpm" not in samplers):
        return None
    if against == "auto":
        return {"sampler": "ddpm", "steps": levels}
    sampler, _, steps = against.partition(":")
    if sampler not in samplers or not (steps.isdecimal() and int(steps) > 0):
        raise ConfigError(
            f"against={against} is not SAMPLER:STEPS, such as ddpm:{levels}; "
            f"{nearest(sampler, samplers)}"
        )
    return {"sampler": sampler, "steps": int(steps)}
