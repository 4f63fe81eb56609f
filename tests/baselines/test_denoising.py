"""What denoisers share: schedules, predictions, weights, the bound, their networks, the chain."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from baselines._nn import denoising, diffusion, variational
from baselines._nn.blocks import CrossAttention, ResMLP, UNet
from baselines._nn.denoising import Chain, ChainConfig, NetworkConfig, Sampling
from baselines._nn.diffusion import Level
from genbench.api import Noise

LINEAR, COSINE = (diffusion.alpha_bar(name, 1000) for name in ("linear", "cosine"))
PREDICTIONS = ("epsilon", "x0", "v")
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)
B, SHAPE = 6, (2, 4, 4)


def normal(seed: int, *shape: int, rows: int = B, dtype: Any = torch.float64) -> Tensor:
    return Noise(seed, range(rows)).normal(*shape, dtype=dtype)


# --- schedules -----------------------------------------------------------------------------------


def test_cosine_schedule_has_the_published_values() -> None:
    beta = 1 - COSINE / torch.cat((torch.ones(1, dtype=torch.float64), COSINE[:-1]))
    assert COSINE.dtype == torch.float64
    assert beta[0].item() == pytest.approx(4.12842e-5, rel=1e-5)
    assert beta[999].item() == pytest.approx(0.999, rel=1e-12)
    assert (beta[:-1] < 0.999).all()
    assert COSINE[499].item() == pytest.approx(0.493844, rel=1e-5)
    assert COSINE[999].item() == pytest.approx(2.42877e-9, rel=1e-5)
    long = diffusion.cosine_alpha_bar(4000)
    assert 1 - long[0].item() == pytest.approx(9.8658e-6, rel=1e-4)


@pytest.mark.parametrize("T", [21, 50, 250, 4000])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_every_chain_goes_from_the_image_to_noise(name: Any, T: int) -> None:
    alpha_bar = diffusion.alpha_bar(name, T)
    assert alpha_bar.shape == (T,)
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[0] > 0.99 and 0 < alpha_bar[-1] < 1e-4


# --- the posterior -------------------------------------------------------------------------------


def levels(alpha_bar: Tensor) -> list[Level]:
    """Of the whole chain, the clean image first."""
    return diffusion.levels(range(len(alpha_bar) - 1, -1, -1), alpha_bar)[::-1]


def test_posterior_has_the_published_values() -> None:
    chain = levels(LINEAR)
    found = diffusion.posterior(chain[501], chain[500])
    assert found == pytest.approx((0.00305806, 0.99410435, 0.01005134, 0.01005996), rel=1e-6)
    assert diffusion.posterior(chain[1], chain[0]) == pytest.approx((1, 0, 0, 1e-4), abs=1e-12)
    small = [diffusion.posterior(t, p)[2] for p, t in pairwise(chain[:4])]
    assert small == pytest.approx((0, 5.45319e-5, 8.54891e-5), rel=1e-5)


@pytest.mark.parametrize("alpha_bar", [LINEAR, COSINE], ids=["linear", "cosine"])
@pytest.mark.parametrize("steps", [(0, -1), (1, 0), (500, 499), (999, 998), (999, 300)])
def test_posterior_is_bayes_rule(alpha_bar: Tensor, steps: tuple[int, int]) -> None:
    """q(x_p | x_0) q(x_t | x_p), two Gaussians in x_p: precisions add, means weigh by them."""
    table = {-1: 1.0, **{t: alpha_bar[t].item() for t in steps if t >= 0}}
    t, p = (Level(step, table[step]) for step in steps)
    c_0, c_t, small, beta = diffusion.posterior(t, p)
    kept = t.alpha_bar / p.alpha_bar
    assert beta == pytest.approx(1 - kept, rel=1e-12)
    # at x_t = a_t x_0 the mean is a_p x_0
    assert c_0 + c_t * t.a == pytest.approx(p.a, rel=1e-9)
    if p.s > 0:
        precision = 1 / (1 - p.alpha_bar) + kept / (1 - kept)
        assert small == pytest.approx(1 / precision, rel=1e-9)
        assert c_0 == pytest.approx(p.a / (1 - p.alpha_bar) / precision, rel=1e-9)
        assert c_t == pytest.approx(math.sqrt(kept) / (1 - kept) / precision, rel=1e-9)


# --- predictions and weights ---------------------------------------------------------------------


@predictions
@pytest.mark.parametrize("each_row", [False, True])
def test_the_target_leads_back_to_the_image(prediction: Any, each_row: bool) -> None:
    x_0, epsilon = normal(0, *SHAPE), normal(1, *SHAPE)
    a: Any = torch.linspace(0.1, 0.9, B).double().view(-1, 1, 1, 1) if each_row else 0.6
    s: Any = (1 - a**2) ** 0.5
    x_t = a * x_0 + s * epsilon
    answer = diffusion.target(prediction, x_0, epsilon, a, s)
    torch.testing.assert_close(diffusion.x_0(prediction, answer, x_t, a, s), x_0)
    if prediction == "v":  # its sign is a choice: at s = 0 it is the noise
        torch.testing.assert_close(s * x_t + a * answer, epsilon)


@predictions
def test_an_error_counts_as_one_of_x_0(prediction: Any) -> None:
    """|epsilon|^2 = SNR |x_0|^2 and |v|^2 = (SNR + 1) |x_0|^2, and min-SNR makes them one."""
    for t in (0, 1, 129, 500, 999):
        alpha_bar = LINEAR[t]
        a, s, snr = alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), alpha_bar / (1 - alpha_bar)
        x_t, answer = normal(0, *SHAPE), normal(1, *SHAPE)
        other = answer + 0.1 * normal(2, *SHAPE)
        error = (other - answer).square().sum()
        x_0, wrong = (diffusion.x_0(prediction, v, x_t, a, s) for v in (answer, other))
        of_x_0 = (wrong - x_0).square().sum()
        torch.testing.assert_close(
            error, {"epsilon": snr, "x0": 1, "v": snr + 1}[prediction] * of_x_0
        )
        for gamma in (5.0, 1.0):
            weight = diffusion.min_snr(prediction, alpha_bar, gamma)
            torch.testing.assert_close(weight * error, snr.clamp(max=gamma) * of_x_0)


def test_min_snr_of_epsilon_is_one_where_noise_prevails() -> None:
    weights = diffusion.min_snr("epsilon", LINEAR)
    assert (weights[140:] == 1).all() and (weights[:120] < 1).all()
    assert weights[0].item() == pytest.approx(5 * 1e-4 / 0.9999, rel=1e-9)


# --- the bound -----------------------------------------------------------------------------------


def test_learned_variance_lies_between_its_bounds() -> None:
    u = torch.tensor([-1.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    found = variational.learned_log_variance(u, math.log(0.01), math.log(0.04)).exp()
    torch.testing.assert_close(found, torch.tensor([0.01, 0.02, 0.04, 0.16]).double())


def test_kl_of_gaussians_against_torch() -> None:
    m, m_, log_v, log_v_ = (normal(k, 9) for k in range(4))
    theirs = kl_divergence(Normal(m, (0.5 * log_v).exp()), Normal(m_, (0.5 * log_v_).exp()))
    torch.testing.assert_close(variational.gaussian_kl(m_ - m, log_v, log_v_), theirs)


GREYS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.93, 0.05), (-1.4, 0.5), (0.2, 2.0)])
def test_likelihood_of_pixels_against_the_normal_distribution(mean: float, std: float) -> None:
    log_var = torch.full_like(GREYS, 2 * math.log(std))
    found = variational.discretised_nll(GREYS, torch.full_like(GREYS, mean), log_var)
    edges = stats.norm.cdf((np.arange(255) + 0.5) / 127.5 - 1, mean, std)
    shares = np.diff(edges, prepend=0, append=1)
    assert (-found).exp().sum().item() == pytest.approx(1, rel=1e-12)
    usual = shares > 1e-9  # where the difference of the oracle has digits left
    np.testing.assert_allclose((-found).exp().numpy()[usual], shares[usual], rtol=1e-5)


def test_likelihood_of_impossible_pixels_is_finite_and_so_is_its_gradient() -> None:
    x = GREYS[[0, 1, 128, 254, 255]].float().repeat(4)
    mean = torch.tensor([-40.0, -0.9, 0.9, 40.0]).repeat_interleave(5).requires_grad_()
    log_var = torch.full_like(x, -9.0).requires_grad_()
    found = variational.discretised_nll(x, mean, log_var)
    found.sum().backward()
    assert found.isfinite().all() and found.max() > 1e3
    assert mean.grad is not None and mean.grad.isfinite().all()
    assert log_var.grad is not None and log_var.grad.isfinite().all()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_terms_of_the_bound(name: Any) -> None:
    """Each against the distributions it is between, with t and t-1 written out."""
    T = 40
    alpha_bar = diffusion.alpha_bar(name, T)
    t = torch.tensor([0, 1, 2, 17, 38, 39])
    x_0 = GREYS[(normal(0, *SHAPE).abs() * 300).long().clamp(max=255)]
    predicted, u, x_t = x_0 + 0.03 * normal(1, *SHAPE), normal(2, *SHAPE), normal(3, *SHAPE)
    found = variational.Bound(alpha_bar).terms(x_0, predicted, u, t)
    assert found.shape == (6,)
    chain = levels(alpha_bar)
    for row, k in enumerate(t.tolist()):
        c_0, c_t, small, beta = diffusion.posterior(chain[k + 1], chain[k])
        if k == 0:
            small = diffusion.posterior(chain[2], chain[1])[2]
        f = (u[row] + 1) / 2
        std = (beta**f * small ** (1 - f)).sqrt()
        if k == 0:
            model = Normal(predicted[row], std)
            low, high = (model.cdf(x_0[row] + d / 255) for d in (-1, 1))
            low, high = low * (x_0[row] > -0.999), torch.where(x_0[row] > 0.999, 1.0, high)
            expected = -(high - low).log()
        else:
            mean, mean_ = (c_0 * v[row] + c_t * x_t[row] for v in (x_0, predicted))
            truth = Normal(mean, torch.full_like(mean, math.sqrt(small)))
            expected = kl_divergence(truth, Normal(mean_, std))
        bits = expected.mean().item() / math.log(2)
        assert found[row].item() == pytest.approx(bits, rel=1e-5)


# --- networks ------------------------------------------------------------------------------------

LABELS, CONTEXT = 3, 5
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"net": "mlp", "hidden": 12, "depth": 2},
    "unet": {"net": "unet", "channels": 8, "patch": 1, "attention": (4,)},
}
networks = pytest.mark.parametrize("name", list(NETWORKS))


def make(name: str, side: int = 8, answering: bool = True, **asked: Any) -> nn.Module:
    """A network; it is born with zeros in its last layer, so `answering` fills all of it."""
    torch.manual_seed(0)
    found = denoising.network(NetworkConfig(**NETWORKS[name]), (3, side, side), **asked).eval()
    for p in found.parameters() if answering else ():
        nn.init.normal_(p, 0, 0.2)
    return found


def shown(rows: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, t, y and a context."""
    x = normal(0, 3, 8, 8, rows=rows, dtype=torch.float32)
    t, y = torch.linspace(10, 990, rows), torch.arange(rows) % LABELS
    return x, t, y, normal(1, 6, CONTEXT, rows=rows, dtype=torch.float32)


def test_the_network_follows_the_side_and_the_settings() -> None:
    for side, net, expected in (
        (8, "auto", ResMLP), (16, "auto", UNet), (8, "unet", UNet), (16, "mlp", ResMLP),
    ):  # fmt: skip
        config = NetworkConfig(net=net, hidden=8, channels=8)
        assert isinstance(denoising.network(config, (1, side, side)), expected)
        rate = denoising.learning_rate(config, (1, side, side))
        assert rate == (2e-3 if expected is ResMLP else 1e-3)
    assert denoising.learning_rate(NetworkConfig(lr=0.5), (1, 8, 8)) == 0.5


@networks
def test_labels_and_context_are_read_row_by_row(name: str) -> None:
    net, (x, t, y, context) = make(name, classes=LABELS, context=CONTEXT), shown()
    answer = net(x, t, y, context)
    assert answer.shape == x.shape
    for key, other in (("y", (y + 1) % LABELS), ("context", -context)):
        given = {"y": y, "context": context}
        given[key] = torch.cat((other[:1], given[key][1:]))
        found = net(x, t, **given)
        torch.testing.assert_close(found[1:], answer[1:])
        assert (found[0] - answer[0]).abs().max() > 1e-3


@networks
def test_no_label_is_a_label_of_its_own(name: str) -> None:
    net, (x, t, y, _) = make(name, classes=LABELS), shown()
    null = net(x, t, torch.full_like(y, LABELS))
    assert torch.equal(net(x, t), null)
    each = [net(x, t, torch.full_like(y, k)) for k in range(LABELS)]
    assert all((other - null).abs().max() > 1e-3 for other in each)


@networks
def test_attention_to_a_context_is_a_weighted_mean_of_its_values(name: str) -> None:
    """The order of the tokens says nothing, nor does it matter that all stand there twice."""
    net, (x, t, _, context) = make(name, context=CONTEXT), shown()
    answer = net(x, t, None, context)
    torch.testing.assert_close(net(x, t, None, context.flip(1)), answer, atol=1e-5, rtol=0)
    twice = torch.cat((context, context), dim=1)
    torch.testing.assert_close(net(x, t, None, twice), answer, atol=1e-5, rtol=0)
    assert (net(x, t, None, context[:, :1]) - answer).abs().max() > 1e-3


def test_cross_attention_has_its_formula() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(8, CONTEXT).double()
    nn.init.normal_(layer.out.weight)
    x, context = normal(0, 7, 8), normal(1, 3, CONTEXT)
    q, (k, v) = layer.q(layer.norm(x)), layer.kv(context).chunk(2, dim=-1)
    heads = []
    for h in range(4):
        part = slice(2 * h, 2 * h + 2)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(2)
        heads.append(scores.softmax(dim=-1) @ v[..., part])
    torch.testing.assert_close(layer(x, context), x + layer.out(torch.cat(heads, dim=-1)))


@networks
@pytest.mark.parametrize("out", [1, 3, 6])
def test_the_answer_has_as_many_channels_as_are_asked_for(name: str, out: int) -> None:
    x, t, y, context = shown()
    net = make(name, answering=False, classes=LABELS, context=CONTEXT, out=out)
    answer = net(x, t, y, context)
    assert answer.shape == (4, out, 8, 8) and not answer.any()
    for p in net.gains.parameters():  # a = 1, and h is 0: the answer is x, where it has a place
        nn.init.zeros_(p)
    net.gains.gains.bias.data[0] = 1
    answer, both = net(x, t, y, context), min(out, 3)
    assert torch.equal(answer[:, :both], x[:, :both]) and not answer[:, both:].any()


@networks
def test_what_a_network_was_not_made_for_is_refused(name: str) -> None:
    x, t, y, _ = shown()
    with pytest.raises(ValueError, match="labels were given to a network .* without classes"):
        make(name)(x, t, y)
    with pytest.raises(ValueError, match="attends to a context was called without one"):
        make(name, context=CONTEXT)(x, t)


# --- the chain -----------------------------------------------------------------------------------


def chain(shape: tuple[int, int, int] = SHAPE, **config: Any) -> Chain:
    return Chain(ChainConfig(**config), shape)


def images(rows: int) -> Tensor:
    """Of 256 values, float32."""
    return ((Noise(9, range(rows)).uniform(*SHAPE) * 256).long() / 127.5 - 1).float()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("T", [50, 1000])
def test_noised_images(schedule: Any, T: int) -> None:
    c, rows = chain(schedule=schedule, T=T), 4000
    given = c.noised(images(rows), Noise(0, range(rows)))
    assert given.t.min() >= 0 and given.t.max() <= T - 1
    assert len(given.t.unique()) > 0.9 * min(T, rows)
    alpha_bar = diffusion.alpha_bar(schedule, T)[given.t, None, None, None]
    torch.testing.assert_close(given.a.double() ** 2, alpha_bar, atol=1e-6, rtol=0)
    torch.testing.assert_close(given.s.double() ** 2, 1 - alpha_bar, atol=1e-6, rtol=0)
    torch.testing.assert_close(given.x_t, given.a * given.x_0 + given.s * given.epsilon)
    z = given.epsilon
    assert z.mean().abs() < 5 / math.sqrt(z.numel())
    assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / z.numel())
    times = c.time(given.t)
    torch.testing.assert_close(times, given.t * (1000 / T))


@predictions
@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
def test_the_loss(prediction: Any, weighting: Any) -> None:
    """Against the weights of x_0's error: SNR, 1 and SNR + 1, or min(SNR, gamma) for all."""
    c = chain(prediction=prediction, weighting=weighting, gamma=2.0)
    given = c.noised(images(64), Noise(0, range(64)))
    right = diffusion.target(prediction, given.x_0, given.epsilon, given.a, given.s)
    assert c.loss(right, given)["loss"] == 0
    answer = right + 0.3 * normal(1, *SHAPE, rows=64, dtype=torch.float32)
    (loss,) = c.loss(answer, given).values()
    snr = (LINEAR / (1 - LINEAR))[given.t]
    weight = {"epsilon": snr, "x0": torch.ones_like(snr), "v": snr + 1}[prediction]
    if weighting == "min_snr":
        weight = snr.clamp(max=2.0)
    x_0 = diffusion.x_0(prediction, answer, given.x_t, given.a, given.s)
    expected = (weight * (x_0 - given.x_0).square().mean(dim=(1, 2, 3))).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)  # x_0 in float32


@predictions
@pytest.mark.parametrize("T", [50, 1000])
def test_the_bound_teaches_the_variance_alone(prediction: Any, T: int) -> None:
    learned = chain(prediction=prediction, learn_variance=True, T=T)
    fixed = chain(prediction=prediction, T=T)
    assert (learned.out, fixed.out) == (4, 2)
    given = learned.noised(images(16), Noise(0, range(16)))
    answer = 0.5 * normal(1, 4, 4, 4, rows=16, dtype=torch.float32)
    answer.requires_grad_()
    losses, simple = learned.loss(answer, given), fixed.loss(answer[:, :2], given)["loss"]
    x_0 = diffusion.x_0(prediction, answer[:, :2], given.x_t, given.a, given.s)
    terms = variational.Bound(learned.alpha_bar).terms(given.x_0, x_0, answer[:, 2:], given.t)
    torch.testing.assert_close(losses["bound"], terms.mean())
    torch.testing.assert_close(losses["loss"], simple + T / 1000 * losses["bound"])
    (of_both,) = torch.autograd.grad(losses["loss"], answer, retain_graph=True)
    (of_simple,) = torch.autograd.grad(simple, answer)
    assert torch.equal(of_both[:, :2], of_simple[:, :2])
    assert of_both[:, 2:].abs().flatten(1).max(dim=1).values.all()


def test_the_bound_is_least_at_the_variance_that_is_right() -> None:
    """Data N(0, S2 I): with its best x_0, what the mean leaves over is known."""
    S2, t = 0.25, 30
    c = chain(learn_variance=True, T=50)
    a2, p2 = (c.alpha_bar[k].item() for k in (t, t - 1))
    _, _, small, large = diffusion.posterior(Level(t, a2), Level(t - 1, p2))
    # x_(t-1) given x_t, of a Gaussian process: variance p - cov^2 / var
    kept = a2 / p2
    var_p, var_t = p2 * S2 + 1 - p2, a2 * S2 + 1 - a2
    true = var_p - kept * var_p**2 / var_t
    best = 2 * math.log(true / small) / math.log(large / small) - 1
    assert -1 < best < 1
    rows = 3000
    x_0 = math.sqrt(S2) * normal(0, 1, 8, 8, rows=rows)
    x_t = math.sqrt(a2) * x_0 + math.sqrt(1 - a2) * normal(1, 1, 8, 8, rows=rows)
    predicted = math.sqrt(a2) * S2 / var_t * x_t
    steps, bound = torch.full((rows,), t), variational.Bound(c.alpha_bar)

    def at(u: float) -> float:
        return bound.terms(x_0, predicted, torch.full_like(x_0, u), steps).mean().item()

    grid = np.linspace(best - 0.4, best + 0.4, 9)
    assert int(np.argmin([at(float(u)) for u in grid])) == 4


def test_a_learned_variance_is_sampled_only_where_it_was_learned() -> None:
    with pytest.raises(ValueError, match="learn_variance = true, or take 'posterior' or 'large'"):
        Chain.check(ChainConfig(), Sampling(variance="learned"))
    Chain.check(ChainConfig(learn_variance=True), Sampling(variance="learned"))
    with pytest.raises(ValueError, match="variance is an option of sampler 'ddpm'"):
        Sampling(sampler="ddim", variance="learned")


@pytest.mark.parametrize("spacing", ["trailing", "karras"])
@pytest.mark.parametrize(("u", "variance"), [(-1.0, "posterior"), (1.0, "large")])
def test_at_its_bounds_a_learned_variance_is_a_fixed_one(
    u: float, variance: Any, spacing: Any
) -> None:
    c = chain(learn_variance=True, T=100)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat((torch.tanh(x + t[:, None, None, None] / 500), torch.full_like(x, u)), 1)

    found = [
        c.sample(network, Noise(0, range(B)), Sampling(steps=9, spacing=spacing, variance=v))
        for v in (variance, "learned")
    ]
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)
    middle = c.sample(
        lambda x, t: network(x, t) * torch.tensor([1.0, 1, 0, 0]).view(4, 1, 1),
        Noise(0, range(B)),
        Sampling(steps=9, spacing=spacing, variance="learned"),
    )
    assert (middle - found[0]).abs().max() > 1e-2


def test_a_guide_is_added_to_the_score() -> None:
    """For every prediction: epsilon' = epsilon - s g, here with a g that depends on x_t and t."""
    c, options = chain(T=50), Sampling(sampler="ddim", steps=10, clip_x0=False)

    def epsilon(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x)

    def guide(x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * torch.cos(x) * (1 + t / 1000).view(-1, 1, 1, 1)

    def shares(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = c.alpha_bar[(t / 20).round().long()].float().view(-1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def shifted(x: Tensor, t: Tensor) -> Tensor:
        return epsilon(x, t) - shares(t)[1] * guide(x, t)

    expected = c.sample(shifted, Noise(0, range(B)), options)
    unguided = c.sample(epsilon, Noise(0, range(B)), options)
    assert (expected - unguided).abs().max() > 0.1
    for prediction in PREDICTIONS:
        other = chain(T=50, prediction=prediction)

        def network(x: Tensor, t: Tensor, prediction: Any = prediction) -> Tensor:
            (a, s), e = shares(t), epsilon(x, t)
            return diffusion.target(prediction, (x - s * e) / a, e, a, s)

        found = other.sample(network, Noise(0, range(B)), options, guide)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
