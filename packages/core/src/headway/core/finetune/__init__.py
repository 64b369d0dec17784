"""Fine-tuning: which parameters of any headway model learn, and small ones beside frozen ones."""

from headway.core.finetune.adapter_files import is_adapted, load_adapter, save_adapter
from headway.core.finetune.adapters import Adapters
from headway.core.finetune.base import FineTuning, hold_frozen_statistics, trainable_parameters
from headway.core.finetune.freezing import BitFit, Full, HeadOnly, LastBlocks
from headway.core.finetune.lora import LoRA, LoRALinear, merge, merged_state, unmerge

__all__ = [
    "Adapters",
    "BitFit",
    "FineTuning",
    "Full",
    "HeadOnly",
    "LastBlocks",
    "LoRA",
    "LoRALinear",
    "hold_frozen_statistics",
    "is_adapted",
    "load_adapter",
    "merge",
    "merged_state",
    "save_adapter",
    "trainable_parameters",
    "unmerge",
]
