"""Attention within units of a picture that are hidden as wholes."""

from headway.core.mixers.sparse.window_attention import WindowAttention


class MaskUnitAttention(WindowAttention):
    """``WindowAttention`` without biases of places: windows are the units that a masked training hides.

    What places need to be told is added to the tokens once, in front of all blocks.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of a unit, or (height, width), in tokens.
        shift: By how many tokens the windows are moved.
        pad: Whether a grid is filled up ``before`` the shift or ``after`` it.
        shrink: Whether a window shrinks to a map that it covers.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, H * W, dim) on a grid (H, W). Output: the same.

    Source:
        Ryali et al. 2023 (Hiera), https://arxiv.org/abs/2306.00989, section 3.
    """

    def make_position(self) -> None:
        """There are no biases."""
        return
