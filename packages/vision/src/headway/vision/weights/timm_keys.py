"""timm's names of the parameters of a ViT, and ours."""

import re

# Ours -> timm's. The order matters: the first pattern that matches is taken.
_RULES = [
    (r"^embedding\.norm\.", "patch_embed.norm."),
    (r"^embedding\.", "patch_embed.proj."),
    (r"^tokens\.class_token$", "cls_token"),
    (r"^tokens\.distillation_token$", "dist_token"),
    (r"^tokens\.registers$", "reg_token"),
    (r"^tokens\.position\.table$", "pos_embed"),
    (r"^tokens\.norm\.", "norm_pre."),
    (r"^encoder\.norm\.", "norm."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.norm\.", r"blocks.\1.norm1."),
    (r"^encoder\.blocks\.(\d+)\.feedforward\.norm\.", r"blocks.\1.norm2."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.scale\.", r"blocks.\1.ls1."),
    (r"^encoder\.blocks\.(\d+)\.feedforward\.scale\.", r"blocks.\1.ls2."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.function\.qkv\.", r"blocks.\1.attn.qkv."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.function\.projection\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.function\.query_norm\.", r"blocks.\1.attn.q_norm."),
    (r"^encoder\.blocks\.(\d+)\.mixer\.function\.key_norm\.", r"blocks.\1.attn.k_norm."),
    (r"^encoder\.blocks\.(\d+)\.feedforward\.function\.", r"blocks.\1.mlp."),
    (r"^head\.pooling\.query$", "attn_pool.latent"),
    (r"^head\.pooling\.attention\.q\.", "attn_pool.q."),
    (r"^head\.pooling\.attention\.kv\.", "attn_pool.kv."),
    (r"^head\.pooling\.attention\.projection\.", "attn_pool.proj."),
    (r"^head\.pooling\.norm\.", "attn_pool.norm."),
    (r"^head\.pooling\.feedforward\.", "attn_pool.mlp."),
    (r"^head\.norm\.", "fc_norm."),
    (r"^head\.classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
]
_COMPILED = [(re.compile(ours), theirs) for ours, theirs in _RULES]


def to_timm(name: str) -> str:
    """Returns timm's name of one of our parameters.

    Raises:
        KeyError: If timm has no such parameter.
    """
    for pattern, replacement in _COMPILED:
        renamed, times = pattern.subn(replacement, name)
        if times:
            return renamed
    raise KeyError(name)
