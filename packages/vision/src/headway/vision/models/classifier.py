"""The face of an image classifier: what timm's users know of every model, written once."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.heads import (
    AttentionPooling,
    AveragePooling,
    ClassificationHead,
    MaxPooling,
    TokenPooling,
)
from headway.core.heads.pooling import PoolingLayer
from headway.core.layout import Layout
from headway.core.module import Module, undecayed_names
from headway.core.stacks.stack import Stack
from headway.vision.models.pretrained_cfg import default_pretrained_cfg

Images = Tensor | Sequence[Tensor]
# timm's words for what the head reads.
POOLINGS: dict[str, type[PoolingLayer]] = {
    "token": TokenPooling,
    "avg": AveragePooling,
    "max": MaxPooling,
    "map": AttentionPooling,
}


class ImageClassifier(Module):
    """An embedding, steps from tokens to tokens, perhaps a norm, and a head.

    A subclass builds ``steps`` and ``head`` behind the embedding and says in ``encode`` how pictures go
    through them; the rest of the face follows. What ``reset_classifier``, ``set_input_size`` and
    ``set_channels`` change is written into ``init_args`` and ``pretrained_cfg``.

    Args:
        image_size: Side, or (height, width), in pixels that the model is made for.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token of the embedding.
        num_features: Channels of a token that the head reads; ``dim`` if None.
        embedding: Builds the patch embedding, ``(dim)``.

    Attributes:
        head: What reads the encoded tokens.
        pretrained_cfg: How the model wants its pictures, in timm's words.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).
    """

    head: ClassificationHead

    def __init__(
        self,
        image_size: int | Sequence[int],
        num_classes: int,
        *,
        dim: int,
        num_features: int | None = None,
        embedding: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed_dim = dim
        self.num_features = self.head_hidden_size = num_features or dim
        self.embedding: Any = embedding(dim)
        self.pretrained_cfg: dict[str, Any] = default_pretrained_cfg(
            self.embedding.channels, sides(image_size), num_classes
        )

    @property
    @abstractmethod
    def steps(self) -> Sequence[nn.Module]:
        """What stands between embedding and norm: blocks or stages, ``(x, layout) -> (x, layout)``."""

    @property
    @abstractmethod
    def final_norm(self) -> nn.Module | None:
        """The norm behind the last step; None where there is none."""

    @property
    @abstractmethod
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of the output of each step."""

    @abstractmethod
    def encode(self, images: Images) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""

    @abstractmethod
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them.

        Args:
            coarse: Whether a stage counts as one, not each of its blocks.
        """

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The same as ``pretrained_cfg``."""
        return self.pretrained_cfg

    @property
    def position_embedding(self) -> nn.Module | None:
        """What is added to the tokens of the first step because of their places; None where nothing is."""
        return None

    def token_grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns rows and columns of the tokens of a picture of ``size`` (H, W)."""
        return self.embedding.grid(size)

    def embed(self, images: Images) -> tuple[Tensor, Layout]:
        """Returns what the first step reads."""
        if not isinstance(images, Tensor):
            raise UserError(
                f"{type(self).__name__} takes a batch of pictures of one size; a list goes into a ViT"
            )
        return self.embedding(images)

    def forward(self, images: Images) -> Tensor:
        """Returns the logits."""
        return self.head(*self.encode(images))

    def forward_features(self, images: Images) -> Tensor:
        """Returns the encoded tokens, tokens in front of the patches included, (B, N, num_features)."""
        return self.encode(images)[0]

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Returns the logits of encoded tokens, or with ``pre_logits`` what the classifier reads."""
        layout = Layout(prefix=getattr(self, "num_prefix_tokens", 0))
        return self.head.pool(x, layout) if pre_logits else self.head(x, layout)

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        norm: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        return_prefix_tokens: bool = False,
    ) -> Any:
        """Returns the encoded tokens and the outputs of some steps (blocks, or stages).

        Args:
            images: Pictures.
            indices: Which steps (negative from the end), how many of the last ones, or all.
            norm: Whether to apply the final norm, to the outputs that ``normed`` says.
            output_fmt: "NCHW" for maps or "NLC" for tokens behind the prefix.
            intermediates_only: Whether to return the list alone.
            return_prefix_tokens: Whether each entry is a pair (map, prefix tokens).
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise UserError(f"output_fmt is 'NCHW' or 'NLC', got {output_fmt!r}")
        steps = self.steps
        wanted = take_indices(len(steps), indices)
        x, layout = self.embed(images)
        taken: list[Any] = []
        for place, step in enumerate(steps):
            x, layout = step(x, layout)
            if place in wanted:
                out = self._normalised(x) if norm and self.normed(place) else x
                patches = out[:, layout.prefix :]
                if output_fmt == "NCHW":
                    patches = patches.transpose(1, 2).unflatten(2, layout.grid)
                taken.append(
                    (patches, out[:, : layout.prefix]) if return_prefix_tokens else patches
                )
        return taken if intermediates_only else (self.finish(x, layout)[0], taken)

    def normed(self, place: int) -> bool:
        """Whether the final norm is made for the output of a step, too; it always is for the last one."""
        return place == len(self.steps) - 1

    def finish(self, x: Tensor, layout: Layout | None) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens of what the last step returned."""
        return self._normalised(x), layout

    def _normalised(self, x: Tensor) -> Tensor:
        norm = self.final_norm
        return norm(x) if norm is not None else x

    def get_classifier(self) -> Any:
        """Returns the layer that computes the logits."""
        return self.head.classifier

    @property
    def global_pool(self) -> str:
        """How the head reads the tokens, in timm's words; empty where timm has none."""
        kind = type(self.head.pooling)
        return next((word for word, pooling in POOLINGS.items() if kind is pooling), "")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the classifier by a new one, and the pooling in front of it if another is named.

        Args:
            num_classes: Classes; with 0 the model returns the pooled vector.
            global_pool: "token", "avg" or "max"; as it is if None. Norms stay where they are, as in timm.
        """
        if global_pool not in (None, self.global_pool):
            self._replace_pooling(global_pool)
        self.num_classes = num_classes
        self.head.reset(num_classes)
        self.init_args["num_classes"] = num_classes
        # The names of the published classes say nothing about new ones.
        dropped = ("label_names", "label_descriptions")
        kept = {key: value for key, value in self.pretrained_cfg.items() if key not in dropped}
        self.pretrained_cfg = {**kept, "num_classes": num_classes}

    def _replace_pooling(self, word: str) -> None:
        prefix = getattr(self, "num_prefix_tokens", 0)
        known = [one for one in POOLINGS if one != "map" and (prefix or one != "token")]
        if "head" not in self.init_args or word not in known:
            known = known if "head" in self.init_args else []
            raise UserError(
                f"{type(self).__name__} has no global_pool={word!r}; "
                + (f"it takes {', '.join(known)}" if known else "its head reads tokens of its own")
            )
        if self.head.pooling.width != self.num_features:
            raise UserError(f"the head reads {self.head.pooling.width} channels: its pooling stays")
        self.head.pooling = POOLINGS[word](self.num_features)
        self.init_args["head"] = partial(self.init_args["head"], pooling=POOLINGS[word])

    def set_input_size(self, image_size: int | Sequence[int]) -> None:
        """Makes another image size the model's own; position embeddings that can be are resized."""
        size = sides(image_size)
        position: Any = self.position_embedding
        if hasattr(position, "resize"):
            position.resize(self.token_grid(size))
        self.init_args["image_size"] = list(size)
        channels = self.embedding.channels
        self.pretrained_cfg = {**self.pretrained_cfg, "input_size": (channels, *size)}

    def set_channels(self, channels: int) -> None:
        """Takes pictures with another number of channels, keeping what was learned."""
        self.embedding.set_channels(channels)
        size = self.pretrained_cfg["input_size"][1:]
        fitting = default_pretrained_cfg(channels, size, self.num_classes)
        self.init_args["embedding"] = partial(self.init_args["embedding"], channels=channels)
        # Mean and deviation of three colours say nothing about other channels.
        changed = {name: fitting[name] for name in ("input_size", "mean", "std")}
        self.pretrained_cfg = {**self.pretrained_cfg, **changed}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        for part in self.modules():
            if isinstance(part, Stack):
                part.checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Returns the names of parameters that weight decay leaves alone."""
        return undecayed_names(self)


def sides(image_size: int | Sequence[int]) -> tuple[int, ...]:
    """Returns (height, width) of an image size that may be one number."""
    return (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)


def take_indices(number: int, indices: int | Sequence[int] | None) -> list[int]:
    """Returns which of ``number`` blocks are meant, as places from 0.

    Raises:
        UserError: If a block is named that does not exist.
    """
    if indices is None:
        return list(range(number))
    if isinstance(indices, int):
        if not 0 < indices <= number:
            raise UserError(f"asked for the last {indices} blocks of {number}")
        return list(range(number - indices, number))
    wrong = [index for index in indices if not -number <= index < number]
    if wrong:
        raise UserError(f"there are {number} blocks, numbered from 0; got {wrong}")
    return [index % number for index in indices]
