"""Keys without a bias: it changes no answer, and training leaves it at 0."""

import pytest
import torch

from headway.core.mixers import CrossAttention, SelfAttention


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
@pytest.mark.parametrize("key_bias", [False, True])
def test_a_bias_of_keys_stays_zero_where_there_is_none(kind: type, key_bias: bool) -> None:
    torch.manual_seed(0)
    mixer = kind(8, 2, key_bias=key_bias)
    fused = mixer.qkv if kind is SelfAttention else mixer.kv
    x, context = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    told = {} if kind is SelfAttention else {"context": context}
    if key_bias:
        torch.nn.init.zeros_(fused.bias)
    optimizer = torch.optim.AdamW(mixer.parameters(), lr=0.1, eps=1e-12)
    for _ in range(3):
        optimizer.zero_grad()
        mixer(x, **told).square().sum().backward()
        optimizer.step()
    rows = fused.sections["k"]
    # Noise in a gradient of zero is a whole step of Adam.
    assert bool(fused.bias[rows].any()) == key_bias
    assert bool(fused.bias[fused.sections["v"]].any())
    with torch.no_grad():
        before = mixer(x, **told)
        fused.bias[rows] = 3.0
        torch.testing.assert_close(mixer(x, **told), before, atol=1e-5, rtol=1e-5)
