"""What every family must do, run over every file in `baselines/`."""

import functools
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from genbench import api, registry, suite, tasks
from genbench.api import Baseline, Noise, count_nfe
from genbench.data import Dataset
from genbench.data.dataset import Annotation
from genbench.loop import Loop
from genbench.spec import Budget
from genbench.stepper import Stepper

TOOL = Path(__file__).resolve().parents[2] / "tools" / "golden.py"
SPEC = importlib.util.spec_from_file_location("golden", TOOL)
assert SPEC is not None and SPEC.loader is not None
golden = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(golden)

FAMILIES = sorted(n for n, f in registry.families().items() if f.module.startswith("baselines."))
SIZES = ((1, 8), (3, 16))  # channels and side
SEED = 3
N = 24  # images of a split

# Small and quick wherever a family has a field of the name. sigma: the best variance of a batch is
# a statistic of the batch, which two ranks compute over their own halves.
SMALL = {
    "batch": 8,
    "hidden": 16,
    "depth": 1,
    "channels": 8,
    "ngf": 8,
    "ndf": 8,
    "nz": 8,
    "d": 4,
    "grow": False,
    "K": 8,
    "prior_channels": 8,
    "prior_blocks": 1,
    "prior_dropout": 0.0,  # what is dropped depends on the rank
    "sigma": 0.5,
    "warmup": 0,  # with a tiny rate, gradients behind zeroed layers stay below Adam's epsilon
}
QUICK = {"steps": 5}
UNGUIDED = {"w": 0, "scale": 0}  # guidance evaluates more than one network in a step
# Evaluations in as many steps, of families whose steps by default take more than one.
EVALUATIONS = {"edm": 9, "score_sde": 10, "ldm": 6, "vqvae": 17}

# A task for each condition. References that take any condition take the last one.
TASKS = {
    api.Unconditional: "unconditional",
    api.ClassLabel: "class_label",
    api.Caption: "caption",
    api.Paired: "paired:outline",
    api.ToDomain: "to_domain:day,night",
    api.Layout: "layout",
    api.Edit: "edit:night",
    api.LowRes: "low_res:2",
    api.Condition: "low_res:2",
}
# What a sample is for such a condition may leave no room for chance.
DETERMINED = (api.Paired, api.ToDomain, api.LowRes, api.Edit, api.Condition)

families = pytest.mark.parametrize("name", FAMILIES)
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[1]}x{s[1]}x{s[0]}")


def known(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The values that the model has a field for."""
    return {k: v for k, v in values.items() if k in model.model_fields}


@functools.cache
def dataset(size: tuple[int, int] = SIZES[0]) -> Dataset:
    """Random images with every annotation."""
    channels, side = size
    g = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (N, channels, side, side), generator=g) for _ in range(3)]
    day, night, other = (x.to(torch.uint8) for x in images)
    low, high = (torch.rand(N, 3, 2, generator=g) * 0.5 + c for c in (0, 0.5))
    kinds = torch.randint(-1, 6, (N, 3), generator=g)
    kinds[:, 0] = torch.arange(N) % 6
    tokens = torch.randint(1, 63, (N, 28), generator=g)
    tokens[:, 20:] = 0
    made = {
        "tokens": (tokens, tuple(map(str, range(63)))),
        "boxes": (torch.cat((low, high), 2), ()),
        "box_classes": (kinds, tuple("abcdef")),
        "style/day": (day, ()),
        "style/night": (night, ()),
        "outline": (other[:, :1], ()),
    }
    annotations = {k: Annotation(lambda t=t: t, words) for k, (t, words) in made.items()}
    labels = torch.arange(N) % 4
    return Dataset("tiny", "train", day, labels, tuple("abcd"), "", {}, annotations)


def task_of(name: str) -> tasks.Task:
    return tasks.task(TASKS[registry.load(name).cond])


def build(name: str, size: tuple[int, int] = SIZES[0], seed: int = SEED) -> Baseline[Any]:
    cls = registry.load(name)
    data = task_of(name).data_spec(dataset(size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(cls.Config(**known(cls.Config, SMALL)), data)


def fitted(name: str, size: tuple[int, int] = SIZES[0]) -> Baseline[Any]:
    baseline = build(name, size)
    baseline.fit(dataset(size).images)
    if baseline.kind == "reference" and baseline.cond is not api.Unconditional:
        asked = task_of(name).questions(dataset(size))
        baseline.fit_answers(asked.images, asked.condition(torch.arange(len(asked))))
    return baseline


def training(name: str, baseline: Baseline[Any], size: tuple[int, int] = SIZES[0]) -> Loop:
    baseline.train()
    examples = task_of(name).training(dataset(size))
    return Loop(baseline, baseline.config, Budget(steps=99), SEED, examples)


def shares(baseline: Baseline[Any]) -> list[float]:
    """Where in the budget to look at training: at its start, and late if that is another phase."""
    return [0.0] if baseline.phase(0.0) == baseline.phase(0.9) else [0.0, 0.9]


def steps_in_each_phase(loop: Loop, steps: int) -> Iterator[None]:
    for share in shares(loop.baseline):
        loop.meter.steps = round(share * 99)
        for _ in range(steps):
            loop.step()
            yield


@functools.cache
def trained(name: str, size: tuple[int, int] = SIZES[0], steps: int = 4) -> Baseline[Any]:
    """Fitted and trained a little, so that no output is constant; shared, so never change it."""
    baseline = fitted(name, size)
    if baseline.optimizers():
        loop = training(name, baseline, size)
        for _ in steps_in_each_phase(loop, steps):
            pass
        loop.finish()
    return baseline.eval()


def sample(
    name: str,
    rows: range,
    size: tuple[int, int] = SIZES[0],
    seed: int = 0,
    of: Baseline[Any] | None = None,
    **options: Any,
) -> Tensor:
    baseline = of or trained(name, size)
    index = torch.tensor(list(rows))
    cond = task_of(name).questions(dataset(size)).condition(index)
    options = known(baseline.Options, QUICK) | options
    with torch.no_grad():
        return baseline.sample(cond, Noise(seed, index), **options)


def trainable() -> list[str]:
    return [name for name in FAMILIES if build(name).optimizers()]


@pytest.mark.parametrize(
    ("name", "preset", "options"),
    [
        ("ddpm", "paper", {"sampler": "ddpm", "steps": 1000, "variance": "large"}),
        ("ddpm", "improved", {"steps": 4000, "variance": "learned"}),
        ("classifier_guidance", "paper", {"steps": 250, "variance": "learned", "scale": 1.0}),
        ("classifier_free_guidance", "paper", {"steps": 256, "w": 0.1}),
        ("ldm", "paper", {"sampler": "ddim", "steps": 250, "w": 0.5}),
    ],
)
def test_presets_sample_as_for_the_figure_of_the_paper(
    name: str, preset: str, options: dict[str, Any]
) -> None:
    _, chosen = suite.chosen(suite.Row(baseline=name, preset=preset))
    assert options == {option: getattr(chosen, option) for option in options}


@families
def test_what_defines_a_family_is_one_of_its_settings_and_readable_without_it(name: str) -> None:
    cls = registry.load(name)
    assert registry.defining(name) == cls.defining
    assert cls.defining or cls.kind == "reference" or name == "dcgan"
    assert set(cls.defining) <= {*cls.Config.model_fields, *cls.Options.model_fields}


@families
def test_no_name_is_both_a_setting_and_an_option(name: str) -> None:
    cls = registry.load(name)
    assert not set(cls.Config.model_fields) & set(cls.Options.model_fields)


@families
def test_config_and_options_refuse_unknown_names(name: str) -> None:
    cls = registry.load(name)
    assert cls.kind
    for model in (cls.Config, cls.Options):
        with pytest.raises(ValidationError, match="no_such_name"):
            model(no_such_name=1)
    with pytest.raises(ValidationError, match="no_such_name"):
        sample(name, range(1), no_such_name=1)


@families
def test_every_parameter_has_exactly_one_optimizer(name: str) -> None:
    baseline = build(name)
    optimizers = baseline.optimizers().values()
    owned = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in baseline.parameters())


@sizes
@pytest.mark.parametrize("name", trainable())
def test_training_moves_every_parameter(name: str, size: tuple[int, int]) -> None:
    baseline = build(name, size)
    before = {k: p.detach().clone() for k, p in baseline.named_parameters()}
    loop = training(name, baseline, size)
    # zero-initialised layers hide those before them for two steps
    for _ in steps_in_each_phase(loop, 4):
        assert loop.losses
        assert all(math.isfinite(v.detach()) and v.ndim == 0 for v in loop.losses.values())
    still = [k for k, p in baseline.named_parameters() if torch.equal(before[k], p)]
    assert not still


@pytest.mark.parametrize("name", trainable())
def test_each_optimizer_is_updated_once_per_step(name: str) -> None:
    baseline = build(name)
    calls = []
    index = range(N)
    pixels, cond = (
        task_of(name).training(dataset()).draw(torch.arange(N), Noise(0, index, stream="task"))
    )
    x = tasks.to_float(pixels)

    class Record:
        def __init__(self, progress: float) -> None:
            self.progress = progress

        def __call__(self, key: str, loss: Tensor) -> None:
            assert loss.ndim == 0 and loss.requires_grad
            calls.append(key)

    for share in shares(baseline):
        before = len(calls)
        logged = baseline.step(x, cond, Noise(0, range(N)), Record(share))
        assert 0 < len(set(calls[before:])) == len(calls) - before
        assert all(isinstance(v, Tensor) for v in logged.values())
    assert set(calls) == set(baseline.optimizers())


@pytest.mark.parametrize("name", trainable())
def test_the_networks_that_are_sampled_are_named_by_their_optimizers(name: str) -> None:
    baseline = trained(name)
    optimizers = baseline.optimizers()
    owner = {
        p: key
        for key, o in optimizers.items()
        for group in o.param_groups
        for p in group["params"]
    }
    with api.count_nfe(baseline) as nfe:
        sample(name, range(2), of=baseline)
    called = {owner[p] for module in nfe.modules for p in module.parameters()}
    assert set(baseline.sampled or optimizers) <= called
    if baseline.kind == "gan":  # what only trains the others is not among them
        assert set(baseline.sampled) == called < set(optimizers)


@pytest.mark.parametrize("name", trainable())
def test_an_update_changes_its_own_network_and_leaves_no_gradient_elsewhere(name: str) -> None:
    baseline, looked = fitted(name), set()

    class Looking(Stepper):
        def __call__(self, key: str, loss: Tensor) -> None:
            own = {id(p) for p in self.params[key]}
            others = [p for p in baseline.parameters() if id(p) not in own]
            before = [p.detach().clone() for p in others]
            for p in others:
                p.grad = None
            super().__call__(key, loss)
            assert all(torch.equal(p, old) for p, old in zip(others, before, strict=True))
            assert all(p.grad is None for p in others)
            looked.add(key)

    loop = training(name, baseline)
    loop.update = Looking(baseline, baseline.config)
    for _ in steps_in_each_phase(loop, 1):
        pass
    assert looked == set(baseline.optimizers())


@sizes
@families
def test_samples_are_images(name: str, size: tuple[int, int]) -> None:
    x = sample(name, range(6), size)
    assert x.shape == (6, size[0], size[1], size[1])
    assert x.dtype == torch.float32
    assert x.min() >= -1 and x.max() <= 1
    assert len(x.flatten(1).unique(dim=0)) == 6


@families
def test_samples_are_float32_whatever_the_network_computes_in(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert sample(name, range(2)).dtype == torch.float32


@families
def test_sample_i_depends_on_seed_and_i_alone(name: str) -> None:
    whole = sample(name, range(14))
    for size in (1, 7):
        parts = [sample(name, range(i, i + size)) for i in range(0, 14, size)]
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=0)
    assert torch.equal(sample(name, range(14)), whole)
    if registry.load(name).cond not in DETERMINED:
        assert not torch.allclose(sample(name, range(14), seed=1), whole, atol=1e-3)


@families
def test_hundreds_of_steps_stay_split_invariant(name: str) -> None:
    if "steps" not in registry.load(name).Options.model_fields:
        pytest.skip("one evaluation only")
    whole = sample(name, range(6), steps=300)
    parts = [sample(name, range(i, i + 2), steps=300) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)


@families
def test_weights_are_a_function_of_the_seed(name: str) -> None:
    one, same, other = (dict(build(name, seed=s).named_parameters()) for s in (0, 0, 1))
    assert all(torch.equal(p, same[k]) for k, p in one.items())
    if one:
        assert not all(torch.equal(p, other[k]) for k, p in one.items())


@sizes
@families
def test_a_state_dict_carries_everything(name: str, size: tuple[int, int]) -> None:
    old, new = trained(name, size), build(name, size, seed=SEED + 1).eval()
    new.load_state_dict({k: v.clone() for k, v in old.state_dict().items()})
    assert torch.equal(sample(name, range(6), size), sample(name, range(6), size, of=new))


@families
def test_a_networks_calls_are_counted(name: str) -> None:
    baseline = trained(name)
    with count_nfe(baseline) as nfe:
        sample(name, range(6), of=baseline, **known(baseline.Options, UNGUIDED))
    expected = QUICK["steps"] if "steps" in baseline.Options.model_fields else 1
    expected = EVALUATIONS.get(name, expected)
    assert nfe.per_sample(6) == (expected if baseline.optimizers() else 0)


def _rank(rank: int, folder: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=2
    )
    torch.save({name: _steps(name) for name in names}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _steps(name: str) -> dict[str, Tensor]:
    """The state after two steps of each phase, on all ranks that there are, in double precision.

    Adam divides by the gradient's size: in single precision, a bias in front of a normalisation
    would move by a full step in the direction of rounding errors.
    """
    dataset()  # made once, in single precision
    with golden.double():
        baseline = build(name)
        loop = training(name, baseline)
        for _ in steps_in_each_phase(loop, 2):
            pass
        loop.finish()
    return baseline.state_dict()


def test_two_ranks_train_as_one(tmp_path: Any) -> None:
    names = trainable()
    torch.multiprocessing.spawn(_rank, (str(tmp_path), names), nprocs=2)
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in names:
        for key, value in states[0][name].items():
            assert torch.equal(value, states[1][name][key]), f"{name}: {key} differs between ranks"
        # statistics of a batch, and a pool of earlier samples, are of what one rank sees
        batches = any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in build(name).modules()
        )
        if not batches and not getattr(registry.load(name).Config(), "pool", 0):
            alone = _steps(name)
            for key, value in alone.items():
                torch.testing.assert_close(
                    states[0][name][key], value, atol=1e-6, rtol=1e-6, msg=f"{name}: {key}"
                )
