"""Fine-tuning: which parameters of any headway model learn, and small ones beside frozen ones."""

from headway.core.finetune.adapter_files import is_adapted, load_adapter, save_adapter
from headway.core.finetune.base import FineTuning, trainable_parameters
from headway.core.finetune.freezing import BitFit, Full, HeadOnly, LastBlocks
from headway.core.finetune.lora import LoRA, LoRALinear, merge, merged_state

__all__ = [
    "BitFit",
    "FineTuning",
    "Full",
    "HeadOnly",
    "LastBlocks",
    "LoRA",
    "LoRALinear",
    "is_adapted",
    "load_adapter",
    "merge",
    "merged_state",
    "save_adapter",
    "trainable_parameters",
]
