"""Stacks: blocks one after the other."""

from headway.core.stacks.decoder import Decoder
from headway.core.stacks.encoder import Encoder
from headway.core.stacks.encoder_decoder import EncoderDecoder
from headway.core.stacks.merging_encoder import MergingEncoder
from headway.core.stacks.query_decoder import QueryDecoder
from headway.core.stacks.reusing_encoder import ReusingEncoder
from headway.core.stacks.stack import Stack

__all__ = [
    "Decoder",
    "Encoder",
    "EncoderDecoder",
    "MergingEncoder",
    "QueryDecoder",
    "ReusingEncoder",
    "Stack",
]
