"""A checkpoint knows the tokens of its weights, whatever the molecules of the file at hand hold."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.molecules.data import LabelledSmiles, PropertyFile, SmilesFile
from headway.molecules.models import Llama, PropertyPredictor, RegressionTransformer
from headway.molecules.notation import PropertyTokenizer
from headway.molecules.tasks import AlternatingModeling, LanguageModeling, PropertyPrediction

LEARNED = ["C[Si](C)C", "C[Se]C", "CC[Te]C", "C[As](C)C"] * 3
# Fewer tokens, of which new ones would have other numbers.
OTHER = ["C[Te]C", "CC[As]C", "CCC[Te]C"] * 3


def smiles_file(folder: Path, smiles: list[str]) -> SmilesFile:
    path = folder / "molecules.smi"
    path.write_text("\n".join(smiles) + "\n")
    return SmilesFile(path=str(path), val=2, batch_size=4, check=False)


def property_file(
    folder: Path, smiles: list[str], kind: type = PropertyFile, name: str = "y"
) -> Any:
    path = folder / "molecules.csv"
    rows = [f"{text},{0.1 * place:.2f}" for place, text in enumerate(smiles)]
    path.write_text("\n".join([f"smiles,{name}", *rows]) + "\n")
    return kind(path=str(path), properties=[name], val=2, batch_size=4)


def writing() -> LanguageModeling:
    model = Llama(dim=16, depth=1, heads=2, max_length=8)
    return LanguageModeling(backbone=model, samples=0, optimizer=AdamW(lr=1e-2), ema=0.9)


def predicting() -> PropertyPrediction:
    model = PropertyPredictor(backbone=Llama(dim=16, depth=1, heads=2, max_length=8))
    return PropertyPrediction(backbone=model, optimizer=AdamW(lr=1e-2))


def alternating() -> AlternatingModeling:
    tokenizer = PropertyTokenizer(properties={"y": "0.00"})
    model = RegressionTransformer(tokenizer=tokenizer, dim=16, depth=1, heads=2)
    return AlternatingModeling(backbone=model, samples=0, optimizer=AdamW(lr=1e-2))


CASES = {
    "writes": (writing, smiles_file),
    "predicts": (predicting, property_file),
    "alternates": (alternating, lambda *args: property_file(*args, LabelledSmiles)),
}


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@pytest.mark.parametrize("case", CASES)
def test_weights_keep_their_tokens_with_other_molecules(case: str, tmp_path: Path) -> None:
    make, read = CASES[case]
    torch.manual_seed(0)
    first = trainer(tmp_path, max_epochs=1, enable_checkpointing=False)
    task = make()
    first.fit(task, datamodule=read(tmp_path, LEARNED))
    first.save_checkpoint(tmp_path / "run.ckpt")
    known = task.model.tokenizer.vocabulary

    torch.manual_seed(0)
    again = make()
    data = read(tmp_path, OTHER)
    trainer(tmp_path, enable_checkpointing=False).validate(
        again, datamodule=data, ckpt_path=tmp_path / "run.ckpt", verbose=False, weights_only=True
    )
    assert again.model.tokenizer.vocabulary == known
    assert data.tokenizer.vocabulary == known
    assert {"[Te]", "[As]", "[Se]"} <= set(known)
    for (name, one), other in zip(
        task.backbone.state_dict().items(), again.backbone.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_longer_molecules_of_a_checkpoint_still_fit(tmp_path: Path) -> None:
    first, task = trainer(tmp_path, max_epochs=1, enable_checkpointing=False), writing()
    first.fit(task, datamodule=smiles_file(tmp_path, ["C" * 30, *LEARNED]))
    first.save_checkpoint(tmp_path / "run.ckpt")
    again = writing()
    trainer(tmp_path, enable_checkpointing=False).validate(
        again,
        datamodule=smiles_file(tmp_path, OTHER),
        ckpt_path=tmp_path / "run.ckpt",
        verbose=False,
        weights_only=True,
    )
    assert again.model.max_length == task.model.max_length == 32


def test_tokens_that_a_checkpoint_does_not_know_are_named(tmp_path: Path) -> None:
    first, task = trainer(tmp_path, max_epochs=1, enable_checkpointing=False), writing()
    first.fit(task, datamodule=smiles_file(tmp_path, OTHER))
    first.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(
        UserError, match=r"not 4 of these data: \( \) \[Se\] \[Si\]; begin a new run"
    ):
        trainer(tmp_path, enable_checkpointing=False).validate(
            writing(),
            datamodule=smiles_file(tmp_path, LEARNED),
            ckpt_path=tmp_path / "run.ckpt",
            verbose=False,
            weights_only=True,
        )


def test_other_properties_than_those_of_a_checkpoint_are_refused(tmp_path: Path) -> None:
    first, task = trainer(tmp_path, max_epochs=1, enable_checkpointing=False), predicting()
    first.fit(task, datamodule=property_file(tmp_path, LEARNED))
    first.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(UserError, match=r"checkpoint predicts y \(regression\), these data have z"):
        trainer(tmp_path, enable_checkpointing=False).validate(
            predicting(),
            datamodule=property_file(tmp_path, LEARNED, name="z"),
            ckpt_path=tmp_path / "run.ckpt",
            verbose=False,
            weights_only=True,
        )
