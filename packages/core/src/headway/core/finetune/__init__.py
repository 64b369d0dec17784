"""Fine-tuning: which parameters of any headway model learn, and small ones beside frozen ones."""

from headway.core.finetune.adapter_files import load_adapter, save_adapter
from headway.core.finetune.base import FineTuning, trainable_parameters
from headway.core.finetune.freezing import BitFit, Full, HeadOnly, LastBlocks
from headway.core.finetune.lora import LoRA, LoRALinear, merge

__all__ = [
    "BitFit",
    "FineTuning",
    "Full",
    "HeadOnly",
    "LastBlocks",
    "LoRA",
    "LoRALinear",
    "load_adapter",
    "merge",
    "save_adapter",
    "trainable_parameters",
]
