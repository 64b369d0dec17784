"""Reading timm's checkpoints of any family of the table."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.factory import FAMILIES
from headway.vision.models.families import Family, Row
from headway.vision.models.pretrained_cfg import MEAN_STD

CFG_KEYS = (
    "tag", "mean", "std", "interpolation", "crop_pct", "crop_mode", "license", "label_names",
    "label_descriptions", "input_size", "test_input_size", "test_crop_pct",
)  # fmt: skip
# Arguments of timm's models that the tensors tell, or that only training knows.
TOLD = (
    "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "mlp_ratio", "reg_tokens",
    "init_values", "dynamic_img_size", "drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate",
    "drop_path_rate", "patch_drop_rate", "strict_img_size", "qkv_bias", "class_token", "fc_norm", "pre_norm",
    "final_norm", "weight_init",
)  # fmt: skip


class TimmFamily:
    """Recognises ``architecture`` in config.json, or the names of the parameters.

    A family whose tensors and configurations tell more than names and shapes of stages has a subclass, in
    ``weights/families.py``.

    Args:
        family: The family.
    """

    # Of timm's config.json: what tensors tell, and pretrained_cfg, which is about pictures.
    harmless = ("num_classes", "num_features", "pretrained_cfg", "labels")
    may_miss = ("head.classifier.",)

    def __init__(self, family: Family) -> None:
        self.family = family
        self.name = f"timm {family.name}"
        # What timm takes where config.json says nothing.
        self.defaults: dict[str, Any] = {"model_args": {}, "global_pool": family.global_pool}

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json names a known architecture or the keys are timm's."""
        if checkpoint.config is not None:
            return checkpoint.config.get("architecture") in self.family.rows()
        names = checkpoint.state.keys()
        marks = self.family.marks_in(names)
        return bool(marks) and not any(marks < other.marks_in(names) for other in FAMILIES)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the published model at the sizes that the tensors have."""
        state, config = checkpoint.state, checkpoint.config or {}
        architecture = overrides.pop("architecture", None) or config.get("architecture")
        row = self.family.rows().get(architecture) if architecture else self.guess(checkpoint)
        if row is None:
            raise UserError(f"{checkpoint.source}: there is no architecture {architecture!r}")
        row = self.as_configured(row, config, state, checkpoint.source)
        cfg = config.get("pretrained_cfg") or {}
        side = int(row["image"])
        _, height, width = cfg.get("input_size") or (3, side, side)
        heads = self.family.timm.find("head.classifier.weight", state)
        options = {
            "num_classes": len(state[heads[0]]) if heads else 0,
            "channels": state[self.family.to_timm("embedding.weight")].shape[1],
            **self.sizes(row, state, (height, width)),
        }
        wishes = {
            name: overrides.pop(name) for name in ("drop_path", "dropout") if name in overrides
        }
        model = self.family.build(row, **options, **wishes)
        kept = {key: cfg[key] for key in CFG_KEYS if cfg.get(key) is not None}
        kept["input_size"] = model.pretrained_cfg["input_size"]
        model.pretrained_cfg = {**model.pretrained_cfg, **kept, "num_classes": model.num_classes}
        if not cfg and architecture is None:
            mean, std = MEAN_STD["imagenet"]
            model.pretrained_cfg.update(mean=mean, std=std)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return self.family.timm

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns timm's config.json of a changed model; none for a name that was never published."""
        assert isinstance(model, ImageClassifier)
        cfg, config = model.pretrained_cfg, dict(checkpoint.config or {})
        row = self.family.rows().get(config.get("architecture") or cfg.get("architecture", ""))
        if row is None:
            return {}
        channels, *sides = cfg["input_size"]
        args = dict(config.get("model_args") or {})
        said = {
            "img_size": (sides, [int(row["image"])] * 2),
            "in_chans": (channels, 3),
            "num_classes": (model.num_classes, model.num_classes),
            "global_pool": (model.global_pool, model.global_pool),
        }
        for name, (value, published) in said.items():
            if name in args or (value != published and (self.family.sized or name != "img_size")):
                args[name] = value
        wishes = {key: cfg[key] for key in CFG_KEYS if cfg.get(key) is not None}
        config.update(
            architecture=row["name"],
            num_classes=model.num_classes,
            num_features=model.num_features,
            global_pool=model.global_pool or config.get("global_pool", ""),
            model_args=args,
            pretrained_cfg={
                **(config.get("pretrained_cfg") or {}),
                **wishes,
                "num_classes": model.num_classes,
            },
        )
        return {"config.json": config}

    def guess(self, checkpoint: Checkpoint) -> Row:
        """Returns the row of the table that fits the shapes, or one that is made of them."""
        seen, rows = self.family.seen, list(self.family.rows().values())
        assert seen is not None, "a family without it has an adapter of its own"
        told = seen(checkpoint.state)
        same = told.keys() - {"image"}  # only the size that it was trained at
        fitting = (row for row in rows if all(row[key] == told[key] for key in same))
        return next(fitting, {**rows[-1], **told, "name": self.family.name.lower(), "tag": "-"})

    def as_configured(
        self, row: Row, config: Mapping[str, Any], state: Mapping[str, Tensor], source: str
    ) -> Row:
        """Returns the row of an architecture as ``model_args`` and ``global_pool`` of config.json change it.

        Args:
            row: The published architecture.
            config: The configuration of the checkpoint.
            state: The tensors, under their names.
            source: Named in messages.

        Raises:
            UserError: If an argument is not known here.
        """
        args = dict(config.get("model_args") or {})
        found, usual = dict(row), self.family.global_pool
        pooling = args.pop("global_pool", config.get("global_pool", usual))
        if pooling != usual and pooling not in self.family.pooled:
            raise UserError(
                f"{source}: config.json says global_pool={pooling!r}, which is not read for {row['name']}; "
                f"{', '.join(dict.fromkeys([usual, *self.family.pooled]))} is"
            )
        if pooling != usual:
            found.update(self.family.pooled[pooling])
        if args and self.family.seen is not None:
            found.update(self.family.seen(state), image=row["image"])
        for name in [name for name in args if name in row and isinstance(args[name], list | tuple)]:
            found[name] = ",".join(map(str, args.pop(name)))  # one number for each stage
        told = self.family.told
        refuse_arguments({name: args[name] for name in args if name not in told}, source)
        return found

    def sizes(
        self, row: Row, state: Mapping[str, Tensor], wanted: tuple[int, int]
    ) -> dict[str, Any]:
        """Returns further arguments of ``Family.build`` that the tensors tell.

        Args:
            row: The row, as configured.
            state: The tensors, under their names.
            wanted: (height, width) of pictures, as config.json or the row says.
        """
        found = self.family.timm.find("tokens.position.table", state)
        if not found:
            return {"image_size": wanted}
        patch, positions = patch_of(state), state[found[0]].shape[1] - self.in_front(row)
        return {"patch_size": patch, "image_size": image_size(positions, wanted, patch)}

    def in_front(self, row: Row) -> int:
        """Returns how many tokens that are no patches have a place in the table of positions."""
        return 0


def image_size(patches: int, wanted: tuple[int, int], patch: int) -> tuple[int, int]:
    """Returns (height, width) in pixels of pictures with so many patches: what is wanted, or a square.

    Args:
        patches: Places of the table of positions.
        wanted: (height, width) that may be right.
        patch: Side of a patch in pixels.

    Raises:
        UserError: If neither has so many.
    """
    rows, columns = (side // patch for side in wanted)
    if rows * columns == patches:
        return (int(wanted[0]), int(wanted[1]))
    side = isqrt(patches)
    if side * side != patches:
        raise UserError(
            f"{patches} position embeddings fit neither {rows}x{columns} patches nor a square"
        )
    return (side * patch, side * patch)


def patch_of(state: Mapping[str, Tensor]) -> int:
    """Returns the side of a patch of timm's patch embedding."""
    return state["patch_embed.proj.weight"].shape[-1]


def refuse_arguments(args: Mapping[str, Any], source: str) -> None:
    """Raises for the first argument of ``model_args`` that neither tensors nor an adapter tell.

    Raises:
        UserError: It names the argument.
    """
    for name, value in args.items():
        if name not in TOLD:
            raise UserError(
                f"{source}: config.json says model_args {name}={value!r}, which is not read; the answers "
                "would be wrong"
            )
