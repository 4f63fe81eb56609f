"""What a family keeps of the training images after training, for each set of weights."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from genbench import api, data, store
from genbench.loop import Loop
from genbench.runtime import Runtime
from genbench.spec import Budget, ConfigError, TrainSpec
from genbench.tasks import Examples, task
from genbench.train import _fit, build, train

N = 40
IMAGES = torch.randint(
    0, 256, (N, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


class Coder(api.Baseline[api.Unconditional]):
    """Keeps the mean latent."""

    kind = "toy"

    def __init__(self, config, data):
        super().__init__(config, data)
        self.net = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.shapes = []

    def optimizers(self):
        return {"all": torch.optim.Adam(self.net.parameters(), lr=0.1)}

    def encode(self, x):
        return self.net(self.drop(x.float().flatten(1) / 127.5 - 1))

    def step(self, x, cond, noise, update):
        loss = (self.net(x.flatten(1)) - 1).square().mean()
        update("all", loss)
        return {"loss": loss}

    def finish(self, x):
        assert not self.training and not torch.is_grad_enabled() and x.dtype == torch.uint8
        self.mean.copy_(self.encode(x).mean(0))
        self.calls += 1

    def sample(self, cond, noise, **options):
        return self.mean.view(1, 1, 2, 2).expand(len(noise), -1, -1, -1).clamp(-1, 1)


def loop(cls=Coder, steps=6, **config):
    settings = cls.Config(batch=8, **config)
    model = build(cls, settings, api.DataSpec("toy", 1, 2), 0).train()
    return Loop(model, settings, Budget(steps=steps), 0, Examples(IMAGES))


def run(made, steps=None):
    while made.ended_by is None and (steps is None or made.meter.steps < steps):
        made.step()
    return made


def mean_latent(tensors, prefix):
    x = IMAGES.flatten(1) / 127.5 - 1
    return (x @ tensors[f"{prefix}/net.weight"].T + tensors[f"{prefix}/net.bias"]).mean(0)


def test_raw_and_averaged_weights_each_keep_what_is_theirs():
    made = run(loop(ema=64.0, ema_rampup=1.0))
    live = made.baseline.net.weight.detach().clone()
    made.finish()
    tensors, _ = made.state()
    assert torch.equal(made.baseline.net.weight, live) and made.baseline.training
    for prefix in ("model", "ema"):
        torch.testing.assert_close(tensors[f"{prefix}/mean"], mean_latent(tensors, prefix))
        assert tensors[f"{prefix}/calls"] == 1
    assert not torch.allclose(tensors["model/mean"], tensors["ema/mean"], atol=1e-3)


def test_without_an_average_it_is_called_once():
    made = run(loop())
    made.finish()
    tensors, _ = made.state()
    torch.testing.assert_close(tensors["model/mean"], mean_latent(tensors, "model"))
    assert tensors["model/calls"] == 1 and made.ema is None


def test_a_family_without_it_is_left_alone():
    class Plain(Coder):
        finish = api.Baseline.finish

    made = run(loop(Plain, ema=64.0))
    before = {k: v.clone() for k, v in made.state()[0].items()}
    made.finish()
    after = made.state()[0]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_buffer_that_is_replaced_would_not_be_saved_and_is_refused():
    class Replaces(Coder):
        def finish(self, x):
            self.mean = self.encode(x).mean(0)

    with pytest.raises(ConfigError, match=r"finish\(\) replaced .*change it in place"):
        run(loop(Replaces)).finish()


def split(name):
    return data.Dataset("toy", name, IMAGES, None, (), "", {}, {})


def trained(folder, runtime=None, steps=6):
    settings = Coder.Config(batch=8, ema=64.0)
    what = TrainSpec(
        baseline="coder",
        config=settings.model_dump(mode="json"),
        dataset="toy",
        budget=Budget(steps=steps),
        version="1",
    )
    runtime = runtime or Runtime(out=folder, device="cpu")
    kept = store.Store(folder)
    return train(Coder, what, split, kept, runtime), kept, what


def test_training_ends_with_it_and_a_resumed_training_does_too(tmp_path):
    whole, kept, what = trained(tmp_path / "whole")
    assert int(whole.tensors["model/calls"]) == int(whole.tensors["ema/calls"]) == 1
    assert whole.tensors["model/mean"].any()
    saved = kept.get("train", what.key)
    assert (saved.tensors["ema/mean"] == whole.tensors["ema/mean"]).all()

    class Stops:
        """Asks to stop after the last step, whose checkpoint is then what is gone on from."""

        def __init__(self):
            self.asked = 0

        @property
        def requested(self):
            self.asked += 1
            return self.asked == 6

        def deferred(self):
            return nullcontext()

    runtime = Runtime(out=tmp_path, device="cpu", interrupts=Stops())
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", runtime)
    again, _, _ = trained(tmp_path / "stopped")
    assert again.info["steps"] == 6
    for name, value in whole.tensors.items():
        assert (value == again.tensors[name]).all(), name


class Whitewash(Coder):
    """Changes what it is shown in place."""

    def fit(self, x):
        self.seen = int(x.sum())
        x.fill_(255)

    def finish(self, x):
        assert int(x.sum()) == int(IMAGES.sum())
        super().finish(x)
        x.zero_()


def test_a_family_that_changes_what_it_is_shown_changes_its_own_copy():
    whole = loop(Whitewash, ema=100.0)
    while whole.ended_by is None:
        whole.step()
    before = IMAGES.clone()
    whole.finish()
    assert int(whole.baseline.calls) == 1 and torch.equal(IMAGES, before)
    shown = data.load("digits", "train").images
    before = shown.clone()
    _fit(whole.baseline, task("unconditional"), lambda split: data.load("digits", split), "")
    assert whole.baseline.seen == int(before.sum()) and torch.equal(shown, before)
