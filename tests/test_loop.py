"""The training loop: budgets, FLOPs, averages, learning rates, exact resume, bad numbers."""

import math

import pytest
import torch
from torch import nn

from genbench import api, registry
from genbench.loop import Loop, Stream
from genbench.spec import Budget, ConfigError
from genbench.stepper import NonFiniteError
from genbench.tasks import Examples, to_float
from genbench.train import build

IMAGES = torch.randint(
    0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
DATA = api.DataSpec("toy", 1, 8)


class Conv(api.Baseline[api.Unconditional]):
    """Two convolutions, whose FLOPs can be counted by hand."""

    kind = "toy"

    class Config(api.Config):
        """Adds a learning rate."""

        lr: float = 1e-3

    def __init__(self, config, data):
        super().__init__(config, data)
        self.config = config
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 1, 3, padding=1)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def optimizers(self):
        params = [p for p in self.parameters()]
        return {"all": torch.optim.Adam(params, lr=self.config.lr)}

    def step(self, x, cond, noise, update):
        self.seen += len(x)
        loss = (self.two(self.drop(self.one(x + noise.normal(1, 8, 8)))) - x).square().mean()
        update("all", loss)
        return {"loss": loss}

    def sample(self, cond, noise, **options):
        return self.two(self.one(noise.normal(1, 8, 8))).clamp(-1, 1)


def loop(cls=Conv, budget=None, seed=0, images=IMAGES, **config):
    config = cls.Config(**{"batch": 8, **config})
    model = build(cls, config, api.DataSpec("toy", images.shape[1], images.shape[2]), seed).train()
    return Loop(model, config, budget or Budget(steps=10), seed, Examples(images))


def run(made, steps=None):
    while made.ended_by is None and (steps is None or made.meter.steps < steps):
        made.step()
        made.log()
    return made


def flops_by_hand(batch):
    """Multiply-adds of a 3x3 convolution over 8x8 outputs, times two, for each product."""
    product = 2 * batch * 64 * 4 * 9
    # forward of both, gradient of both weights, gradient of the second's input (and no other)
    return product * (2 + 2 + 1)


def test_flops_equal_a_hand_count():
    assert run(loop(budget=Budget(steps=3))).meter.flops == 3 * flops_by_hand(8)


@pytest.mark.parametrize(
    ("budget", "ended_by", "images", "steps"),
    [
        (Budget(steps=7), "steps", 56, 7),
        (Budget(images=40), "images", 40, 5),
        (Budget(images=45), "images", 45, 6),  # the last batch is cut to what is left
        (Budget(flops=4.5 * flops_by_hand(8)), "flops", 40, 5),
        (Budget(images=40, steps=3), "steps", 24, 3),
        (Budget(images=40, steps=30, flops=1e15), "images", 40, 5),
    ],
)
def test_the_first_limit_ends_training(budget, ended_by, images, steps):
    done = run(loop(budget=budget))
    assert (done.ended_by, done.meter.images, done.meter.steps) == (ended_by, images, steps)


def test_the_flops_limit_is_met_within_one_step():
    limit = 6.2 * flops_by_hand(8)
    used = run(loop(budget=Budget(flops=limit))).meter.flops
    assert limit <= used < limit + flops_by_hand(8)


def test_a_seconds_limit_ends_training_within_one_step():
    made = loop(budget=Budget(seconds=0.2))
    longest = 0.0
    while made.ended_by is None:
        before = made.meter.seconds
        made.step()
        longest = max(longest, made.meter.seconds - before)
    assert made.ended_by == "seconds" and made.meter.steps > 1
    assert 0.2 <= made.meter.seconds < 0.2 + longest + 1e-9


def test_both_networks_of_a_gan_count_their_images():
    done = run(loop(registry.load("dcgan"), Budget(images=64)))
    assert (done.meter.images, done.meter.steps, done.position) == (64, 4, 32)


@pytest.mark.parametrize(("name", "data"), [("dcgan", 48), ("vae", 48)])
def test_updates_count_those_of_the_networks_that_are_sampled(name, data):
    done = run(loop(registry.load(name), Budget(updates=6)))
    assert (done.ended_by, done.meter.updates, done.meter.steps) == ("updates", 6, 6)
    assert done.meter.data == done.position == data
    assert done.meter.images == data * len(done.update.optimizers)


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(ConfigError, match="DCGAN makes 2 updates .*set budget.images=2 or more"):
        loop(registry.load("dcgan"), Budget(images=1))
    done = run(loop(registry.load("dcgan"), Budget(images=2)))
    assert (done.meter.steps, done.meter.images) == (1, 2)


def test_a_sampled_network_has_an_optimizer():
    class Misnamed(registry.load("dcgan")):
        sampled = ("gen",)

    with pytest.raises(ConfigError, match=r"Misnamed.sampled: no optimizer 'gen'; .*valid: d, g"):
        loop(Misnamed, Budget(updates=1))


def test_a_budget_is_needed_to_train_and_not_to_fit():
    with pytest.raises(ConfigError, match="needs a budget"):
        loop(budget=Budget())
    with pytest.raises(ConfigError, match=r"update\('al', \.\.\.\): did you mean 'all'"):
        loop().update("al", torch.zeros(()))


def test_the_first_step_of_a_gan_knows_that_it_counts_twice():
    done = run(loop(registry.load("dcgan"), Budget(images=12)))
    assert (done.meter.images, done.meter.steps) == (12, 1)


def test_a_step_without_an_update_is_explained():
    class Idle(Conv):
        def step(self, x, cond, noise, update):
            return {}

    with pytest.raises(ConfigError, match=r"step\(\) must call update\(\)"):
        run(loop(Idle))


def test_a_family_that_replaces_a_buffer_is_refused():
    class Replaces(Conv):
        def step(self, x, cond, noise, update):
            self.seen = self.seen + len(x)
            loss = self.two(self.one(x)).square().mean()
            update("all", loss)
            return {"loss": loss}

    with pytest.raises(ConfigError, match="change it in place"):
        run(loop(Replaces, ema=64.0))


def test_phases_are_counted_apart():
    class Growing(Conv):
        def phase(self, progress):
            return int(progress >= 0.5)

        def step(self, x, cond, noise, update):
            for _ in range(1 + int(update.progress >= 0.5)):
                loss = self.two(self.one(x)).square().mean()
                update("all", loss)
            return {"loss": loss}

    done = run(loop(Growing, Budget(steps=4)))
    assert done.meter.flops == 2 * flops_by_hand(8) + 2 * 2 * flops_by_hand(8)


# --- averages, learning rates, clipping ----------------------------------------------------------


def test_the_average_has_the_half_life_that_was_asked_for():
    made = loop(budget=Budget(steps=40), ema=64.0, ema_rampup=1e9)
    start = {k: v.clone() for k, v in made.ema.items()}
    target = {k: torch.full_like(v, 3) for k, v in start.items()}
    made.baseline.load_state_dict(target)
    made.meter.images = 64
    for _ in range(8):  # 8 batches of 8 images: one half-life
        made._move_average(8)
    for name, average in made.ema.items():
        if average.is_floating_point():
            expected = (start[name] + target[name]) / 2
            torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(average, target[name])  # counters are copied


def test_a_short_run_forgets_its_start():
    made = run(loop(budget=Budget(steps=6), ema=1e9, ema_rampup=0.05))
    start = build(Conv, made.config, DATA, 0).state_dict()["one.weight"]
    live = made.baseline.state_dict()["one.weight"]
    moved = (live - start).norm()
    assert (made.ema["one.weight"] - live).norm() < 0.2 * moved


def rates(**config):
    made, seen = loop(budget=Budget(steps=100), lr=1.0, **config), []
    for _ in range(100):
        made.step()
        seen.append(made.update.optimizers["all"].param_groups[0]["lr"])
    return seen


def test_warm_up_and_cosine_decay():
    expected = [
        min(1.0, (8 * i + 8) / 80) * 0.5 * (1 + math.cos(math.pi * i / 100)) for i in range(100)
    ]
    assert rates(warmup=80, decay="cosine") == pytest.approx(expected)


def test_linear_decay_begins_at_half_of_the_budget():
    expected = [1.0] * 50 + [1 - i / 50 for i in range(50)]
    assert rates(decay="linear") == pytest.approx(expected)


def test_clipping_bounds_the_norm_of_what_is_applied():
    class Sgd(Conv):
        def optimizers(self):
            return {"all": torch.optim.SGD(self.parameters(), lr=1.0)}

    made = loop(Sgd, clip=0.01)
    before = nn.utils.parameters_to_vector(made.baseline.parameters()).detach().clone()
    made.step()
    moved = nn.utils.parameters_to_vector(made.baseline.parameters()).detach() - before
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


# --- order, randomness, resume -------------------------------------------------------------------


def test_the_stream_shows_every_image_once_an_epoch_in_an_order_of_its_own():
    stream = Stream(50, seed=1, device=torch.device("cpu"))
    rows = torch.cat([stream.rows(i, i + 20) for i in range(0, 200, 20)])
    epochs = rows.view(4, 50)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(50))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(Stream(50, 1, torch.device("cpu")).rows(90, 130), rows[90:130])


@pytest.mark.parametrize("name", [None, "dcgan", "vae", "vqvae", "ddpm"])
def test_a_resumed_training_ends_in_the_same_bits(name):
    cls = Conv if name is None else registry.load(name)
    budget = Budget(steps=9)
    whole = run(loop(cls, budget, ema=32.0, decay="cosine"))
    first = run(loop(cls, budget, ema=32.0, decay="cosine"), steps=4)
    tensors, info = first.state()
    tensors = {k: v.clone() for k, v in tensors.items()}
    second = loop(cls, budget, seed=0, ema=32.0, decay="cosine")
    for p in second.baseline.parameters():
        nn.init.zeros_(p)
    second.load(tensors, info)
    run(second)
    expected, facts = whole.state()
    got, new_facts = second.state()
    assert expected.keys() == got.keys()
    for key, value in expected.items():
        assert torch.equal(value, got[key]), key
    for key in ("position", "per_step", "flops", "history", "scalars", "losses"):
        assert facts[key] == new_facts[key]


def test_training_leaves_the_global_generator_to_its_seed_alone():
    torch.manual_seed(5)
    a = run(loop(budget=Budget(steps=3))).state()[0]
    torch.manual_seed(6)
    b = run(loop(budget=Budget(steps=3))).state()[0]
    c = run(loop(budget=Budget(steps=3), seed=1)).state()[0]
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["model/one.weight"], c["model/one.weight"])


# --- bad numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_under_a_finite_loss_is_found(clip):
    class Broken(Conv):
        def step(self, x, cond, noise, update):
            value = self.two(self.one(x)).sum()
            loss = (value * 0).sqrt()  # 0, and its gradient is 0 / 0
            update("all", loss)
            return {"loss": loss}

    with pytest.raises(NonFiniteError, match="a weight is NaN|the gradient 'all' is nan"):
        run(loop(Broken, clip=clip), steps=1)


def test_a_loss_that_is_not_finite_is_refused_before_it_is_applied():
    class Broken(Conv):
        def step(self, x, cond, noise, update):
            loss = self.two(self.one(x)).mean() * (float("nan") if update.progress > 0.3 else 1.0)
            update("all", loss)
            return {"loss": loss}

    made = loop(Broken)
    with pytest.raises(NonFiniteError, match=r"the loss 'all' is nan after 40\.0%"):
        run(made)
    assert all(torch.isfinite(p).all() for p in made.baseline.parameters())


def test_a_logged_loss_that_is_not_finite_is_refused():
    class Broken(Conv):
        def step(self, x, cond, noise, update):
            super().step(x, cond, noise, update)
            return {"loss": torch.tensor(float("inf"))}

    with pytest.raises(NonFiniteError, match="loss 'loss' is inf after 1 steps"):
        run(loop(Broken))


def test_pixels_map_to_the_range():
    x = to_float(torch.tensor([0, 255, 127, 128], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([-1.0, 1.0, -1 / 255, 1 / 255]), rtol=0, atol=1e-6)


def test_bfloat16_trains_and_differs():
    a = run(loop(budget=Budget(steps=2))).state()[0]["model/one.weight"]
    b = run(loop(budget=Budget(steps=2), precision="bfloat16")).state()[0]["model/one.weight"]
    assert b.dtype == torch.float32 and not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=5e-3, rtol=0)
