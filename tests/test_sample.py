"""The sampling stage: one sample is one sample, whatever the batch; rounding, counting."""

import numpy as np
import pytest
import torch
from torch import nn
from toys import tiny_train

from genbench import api, data, own_code, registry
from genbench.runtime import Runtime
from genbench.sample import draw, restore, sample, to_uint8
from genbench.spec import ConfigError, SampleSpec
from genbench.stepper import NonFiniteError
from genbench.store import Store
from genbench.tasks import asked
from genbench.train import train

NOTHING = asked("unconditional", lambda split: pytest.fail("no data is needed"))


def trained(tmp_path, baseline="vae", **budget):
    cls, spec = registry.load(baseline), tiny_train(baseline, **budget)
    runtime = Runtime(out=tmp_path, device="cpu")
    store = Store(tmp_path)
    artifact = train(cls, spec, lambda split: data.load("digits", split), store, runtime)
    return cls, spec, artifact, store, runtime


@pytest.mark.parametrize(
    ("baseline", "options", "tolerance"),
    [
        ("dcgan", {}, 1e-5),
        ("vae", {}, 1e-5),
        ("ddpm", {"sampler": "ddim", "steps": 10}, 1e-5),
        ("ddpm", {"sampler": "ddim", "steps": 10, "eta": 1.0}, 1e-5),
        ("ddpm", {"sampler": "ddpm", "steps": 300}, 1e-4),
        ("real", {}, 0),
        ("memoriser", {}, 0),
        ("gaussian", {}, 1e-5),
        ("noise", {}, 0),
    ],
)
def test_samples_do_not_depend_on_the_batch(tmp_path, baseline, options, tolerance):
    cls, spec, artifact, _, _ = trained(tmp_path, baseline, steps=5)
    full = cls.Options(**options).model_dump()
    wanted = SampleSpec(train=spec, options=full, n=70)
    model = restore(cls, wanted, artifact, "cpu")
    device = torch.device("cpu")
    whole = draw(model, wanted, device, NOTHING, range(70))
    for size in (1, 7, 64):
        # every batch of 64, every 7th of 7, the ends for 1: each a different neighbourhood
        starts = range(0, 70, max(size, 23))
        for start in starts:
            index = range(start, min(start + size, 70))
            part = draw(model, wanted, device, NOTHING, index)
            torch.testing.assert_close(part, whole[start : index.stop], rtol=0, atol=tolerance)
    assert whole.std() > 0.01  # an untrained DCGAN is faint


def test_rounding_is_half_up_and_inverts_the_input_map():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)
    halves = torch.arange(255, dtype=torch.float64) + 0.5
    assert torch.equal(to_uint8((halves + 1e-6) / 127.5 - 1), levels[1:])
    assert torch.equal(to_uint8((halves - 1e-6) / 127.5 - 1), levels[:-1])
    assert to_uint8(torch.tensor([0.0])).item() == 128  # 127.5 exactly: half goes up
    assert to_uint8(torch.tensor([-1.0005, 1.0005])).tolist() == [0, 255]


def test_the_stage_keeps_counts_and_pictures(tmp_path):
    cls, spec, artifact, store, runtime = trained(tmp_path, "ddpm", steps=2)
    runtime.batch = 16
    options = cls.Options(sampler="ddim", steps=5).model_dump()
    wanted = SampleSpec(train=spec, options=options, n=40)
    seen = []
    runtime.progress = seen.append
    made = sample(cls, wanted, artifact, NOTHING, store, runtime)
    assert made.tensors["images"].shape == (40, 1, 8, 8)
    assert made.info["nfe"] == 5
    assert made.info["params"] == artifact.info["params"]
    assert [p.share for p in seen] == pytest.approx([1 / 3, 2 / 3, 1])
    runtime.batch = 40
    again = sample(cls, wanted, artifact, NOTHING, Store(tmp_path / "other"), runtime)
    close = np.abs(made.tensors["images"].astype(int) - again.tensors["images"])
    assert close.max() <= 1


def test_batches_that_were_kept_are_used(tmp_path):
    cls, spec, artifact, store, runtime = trained(tmp_path, "vae", steps=2)
    runtime.batch = 4
    wanted = SampleSpec(train=spec, n=8)
    kept = np.full((4, 1, 8, 8), 77, dtype=np.uint8)
    part = f"{wanted.key}-{own_code.digest()[:8]}-4-8"
    store.put("samples", part, {"images": kept}, {"seconds": 1, "nfe": 1, "params": 1})
    made = sample(cls, wanted, artifact, NOTHING, store, runtime)
    assert (made.tensors["images"][4:] == 77).all() and (made.tensors["images"][:4] != 77).any()
    assert not store.has("samples", part)


def test_asking_for_an_average_that_was_not_kept_is_refused(tmp_path):
    cls, spec, artifact, _, _ = trained(tmp_path, "vae", steps=1)
    with pytest.raises(ConfigError, match=r"vae keeps no average .* vae\.ema"):
        restore(cls, SampleSpec(train=spec, n=2, weights="ema"), artifact, "cpu")


class Bad(api.Baseline[api.Unconditional]):
    kind = "toy"
    value = 0.0

    def __init__(self, config, data):
        super().__init__(config, data)
        self.net = nn.Linear(1, 1)

    def optimizers(self):
        return {}

    def step(self, x, cond, noise, update):
        return {}

    def sample(self, cond, noise, **options):
        x = torch.zeros(len(noise), 1, 8, 8)
        x[-1, 0, 0, 0] = self.value
        return x if self.value != 9 else x[:1]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), NonFiniteError, "samples 0 to 2 have NaN"),
        (float("inf"), NonFiniteError, "samples 0 to 2 have NaN or infinite"),
        (1.5, ValueError, r"must stay in \[-1, 1\], it gave \[0\.000, 1\.500\]"),
        (9, ValueError, r"gave shape \(1, 1, 8, 8\) for 3 conditions"),
    ],
)
def test_samples_that_break_the_contract_are_refused(value, error, message):
    model = Bad(api.Config(), api.DataSpec("x", 1, 8))
    model.value = value
    spec = SampleSpec(train=tiny_train(), n=3)
    with pytest.raises(error, match=message):
        draw(model, spec, torch.device("cpu"), NOTHING, range(3))


def test_guidance_on_a_doubled_batch_counts_two():
    class Guided(Bad):
        def sample(self, cond, noise, **options):
            rows = noise.uniform(1)
            for _ in range(3):
                self.net(torch.cat((rows, rows)))
            return rows.view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    model = Guided(api.Config(), api.DataSpec("x", 1, 8))
    with api.count_nfe(model) as nfe:
        model.sample(api.Unconditional(), api.Noise(0, range(5)))
    assert nfe.per_sample(5) == 6 and nfe.params == 2
    model.sample(api.Unconditional(), api.Noise(0, range(5)))
    assert nfe.per_sample(5) == 6  # the hooks are gone


def test_conditions_slice_and_move():
    cond = api.ClassLabel(torch.arange(6))
    assert cond[2:4].label.tolist() == [2, 3]
    assert cond.to("cpu") == cond or torch.equal(cond.to("cpu").label, cond.label)
