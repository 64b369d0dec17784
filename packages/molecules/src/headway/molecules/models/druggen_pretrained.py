"""Published weights for DrugGen: a GPT-2 over proteins and molecules, and encoders of proteins."""

import inspect
from typing import Any

from headway.core.errors import UserError
from headway.core.language import GPT2, DecoderLanguageModel, SubwordTokenizer, TextModel
from headway.core.weights.pretrained import from_pretrained
from headway.molecules.models.druggen import DrugGen
from headway.molecules.models.protein_forms import ProteinPrefix

START, END = "<|startoftext|>", "<|endoftext|>"
OPENING, CLOSING = f"{START}<P>", "<L>"


def pretrained_druggen(source: str, *, max_length: int = 256) -> DrugGen:
    """Loads a DrugGen of yours, or the published one (DrugGPT's, too); this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub: a DrugGen, or a GPT-2 with a
            ``tokenizer.json`` that was trained on ``<|startoftext|><P>PROTEIN<L>SMILES<|endoftext|>``.
        max_length: Of a published model: most tokens of a molecule; what is left is for the protein.

    Raises:
        UserError: If the source holds another model.
    """
    found = from_pretrained(source)
    if isinstance(found, DrugGen):
        return found
    if not isinstance(found, GPT2):
        raise UserError(f"{source} holds a {type(found).__name__}, which is told no protein")
    made = druggen_of(found, max_length=max_length)
    made.load_report = found.load_report  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return made


def druggen_of(model: DecoderLanguageModel, *, max_length: int = 256) -> DrugGen:
    """Returns a GPT-2 over proteins and molecules as a DrugGen with the same weights.

    Args:
        model: Its tokenizer cuts texts into pieces.
        max_length: Most tokens of a molecule; what is left of the positions is for the protein.

    Raises:
        UserError: If there is no tokenizer of pieces, or no room for a protein.

    Source:
        The format is that of Li et al. 2023 (DrugGPT), https://doi.org/10.1101/2023.06.29.543848.
    """
    tokenizer, places = model.tokenizer, model.max_length
    if not isinstance(tokenizer, SubwordTokenizer):
        raise UserError(
            "a published DrugGen needs its tokenizer.json beside the weights, and this model came with none"
        )
    if not 2 <= max_length < places:
        raise UserError(
            f"max_length is {max_length} and the model has {places} positions; some must be left for the "
            "protein"
        )
    numbers = tokenizer.numbers
    opening = OPENING if START in numbers else OPENING.removeprefix(START)
    # What stands directly in front of a molecule; the end is known by its name, as configurations err.
    start = numbers[tokenizer.split(f"{opening}A{CLOSING}")[-1]]
    framed = {"start": start, "end": numbers.get(END, tokenizer.end)}
    if framed["end"] is None:
        raise UserError(f"the tokenizer has no {END}, so nobody would know where a molecule ends")
    known = set(inspect.signature(DecoderLanguageModel).parameters)
    arguments: dict[str, Any] = {
        name: value for name, value in model.init_args.items() if name in known
    }
    arguments |= {
        "tokenizer": SubwordTokenizer(**{**tokenizer.init_args, **framed}),
        "max_length": max_length,
        "protein": ProteinPrefix(opening=opening, closing=CLOSING, max_protein=places - max_length),
    }
    made = DrugGen(**arguments)
    made.load_state_dict(model.state_dict())
    return made.train(model.training)


def protein_encoder(source: str, *, max_length: int | None = None) -> TextModel:
    """Loads an encoder of proteins, such as ESM-2, for ``EncodedProtein``; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        max_length: Most tokens of a protein; as published if None.

    Raises:
        UserError: If the source holds no model of texts.
    """
    found = from_pretrained(source)
    if not isinstance(found, TextModel):
        raise UserError(f"{source} holds a {type(found).__name__}, which reads no proteins")
    if max_length is not None:
        found.set_max_length(max_length)
    return found
