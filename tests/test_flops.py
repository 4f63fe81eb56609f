"""Operations against hand counts: the same on every backend of attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from genbench.flops import attention_flops, flop_counter

B, H, L, S, E = 3, 2, 10, 14, 8
FORWARD = 2 * B * H * L * S * (E + E)  # Q K^T and P V, two operations for a multiply-add
CPU = (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION)


def qkv(dtype=torch.float32, keys=H, device="cpu"):
    shapes = ((B, H, L, E), (B, keys, S, E), (B, keys, S, E))
    return [torch.randn(s, dtype=dtype, device=device, requires_grad=True) for s in shapes]


def total(run):
    with flop_counter() as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("backend", CPU)
def test_attention_forward_and_backward(backend):
    q, k, v = qkv()
    with sdpa_kernel(backend):
        made = []
        assert total(lambda: made.append(F.scaled_dot_product_attention(q, k, v))) == FORWARD
        assert total(lambda: made[0].sum().backward()) == 2 * FORWARD


@pytest.mark.parametrize("backend", CPU)
def test_attention_without_gradients(backend):
    with sdpa_kernel(backend), torch.no_grad():
        assert total(lambda: F.scaled_dot_product_attention(*qkv())) == FORWARD


@pytest.mark.parametrize("backend", CPU)
def test_a_causal_mask_saves_nothing(backend):
    q = torch.randn(B, H, L, E, requires_grad=True)
    count = 3 * 2 * B * H * L * L * (E + E)
    with sdpa_kernel(backend):
        run = lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()  # noqa: E731
        assert total(run) == count


def test_attention_of_eight_heads_with_keys_of_two():
    shapes = ((B, 8, L, E), (B, 2, S, E), (B, 2, S, E))
    assert attention_flops(*shapes) == 2 * B * 8 * L * S * 2 * E
    q, k, v = (torch.randn(s) for s in shapes)
    counted = total(lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    assert counted == attention_flops(*shapes)


# The kernels of other devices, on tensors that have a shape and no values.
KERNELS = {
    "_scaled_dot_product_flash_attention": {},
    "_scaled_dot_product_efficient_attention": {"attn_bias": None, "compute_log_sumexp": True},
    "_scaled_dot_product_cudnn_attention": {"attn_bias": None, "compute_log_sumexp": True},
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_of_other_devices(name):
    kernel = getattr(torch.ops.aten, name)
    with FakeTensorMode():
        q, k, v = (t.detach().half() for t in qkv(device="meta"))
        assert total(lambda: kernel(q, k, v, **KERNELS[name])) == FORWARD


@pytest.mark.parametrize("name", [*KERNELS, "_scaled_dot_product_flash_attention_for_cpu"])
def test_backward_kernels_have_a_rule_of_their_own(name):
    """Whatever the kernel computes again, four products are counted."""
    registry = flop_counter().flop_registry
    rule = registry[getattr(torch.ops.aten, f"{name}_backward")]
    q, k, v = (t.detach() for t in qkv())
    assert rule(torch.randn(B, H, L, E), q, k, v, out_val=(q, k, v)) == 2 * FORWARD


def layer(**changed):
    settings = {"d_model": E, "nhead": 2, "dim_feedforward": 20, "dropout": 0.0}
    return nn.TransformerEncoderLayer(**settings, batch_first=True, **changed)


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_layer_with_and_without_its_fused_path(training):
    net, x = layer().train(training), torch.randn(B, L, E)
    count = 2 * B * L * (4 * E * E + 2 * E * 20) + 2 * B * L * L * 2 * E
    with torch.set_grad_enabled(training):
        assert total(lambda: net(x)) == count


@pytest.mark.parametrize("fused", [True, False])
def test_multi_head_attention_to_another_sequence(fused):
    net = nn.MultiheadAttention(E, 2, batch_first=True).train(not fused)
    x, context = torch.randn(B, L, E), torch.randn(B, S, E)
    count = 2 * B * (2 * L + 2 * S) * E * E + 2 * B * L * S * 2 * E
    with torch.set_grad_enabled(not fused):
        assert total(lambda: net(x, context, context, need_weights=False)) == count


def test_products_and_convolutions():
    linear, conv = nn.Linear(6, 5), nn.Conv2d(3, 4, 3, padding=1)
    x, image = torch.randn(7, 6), torch.randn(2, 3, 8, 8)
    assert total(lambda: linear(x)) == 2 * 7 * 6 * 5
    forward = 2 * 2 * 64 * 4 * 3 * 9
    assert total(lambda: conv(image)) == forward
    # the image needs no gradient: that of the weights is all that is computed
    assert total(lambda: conv(image).sum().backward()) == 2 * forward
