import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import GraphAttention

STAR = [(0, 1), (0, 2), (3, 0)]


def build(**options) -> GraphAttention:
    torch.manual_seed(0)
    return GraphAttention(16, 2, **{"nodes": 5, "edges": STAR, **options}).eval()


def test_it_is_self_attention_with_the_graph_as_its_mask() -> None:
    mixer, x = build(), torch.randn(2, 5, 16)
    seen = torch.eye(5, dtype=torch.bool)
    for one, other in STAR:
        seen[one, other] = seen[other, one] = True
    torch.testing.assert_close(mixer(x), mixer.attention(x, mask=seen))
    # Whom nobody is joined to sees itself alone.
    other = torch.randn_like(x)
    other[:, 4] = x[:, 4]
    torch.testing.assert_close(mixer(other)[:, 4], mixer(x)[:, 4])
    # Masks of the caller and padding hide more.
    hidden = torch.ones(5, 5, dtype=torch.bool)
    hidden[0, 1] = False
    torch.testing.assert_close(mixer(x, mask=hidden), mixer.attention(x, mask=seen & hidden))
    padded = Layout(lengths=torch.tensor([3, 5]))
    torch.testing.assert_close(mixer(x, padded)[0, :3], mixer(x[:1, :3])[0])


def test_graphs_that_cannot_be_are_refused() -> None:
    for options, said in (
        ({"nodes": 0}, "nodes is 0"),
        ({"edges": [(0, 5)]}, r"edge \[0, 5\] is no pair of the nodes 0 to 4"),
        ({"edges": [(0, 1, 2)]}, "is no pair"),
    ):
        with pytest.raises(UserError, match=said):
            build(**options)
    with pytest.raises(UserError, match="there are 6 tokens, the graph has 5 nodes"):
        build()(torch.randn(1, 6, 16))
