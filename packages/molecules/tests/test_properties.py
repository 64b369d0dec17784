"""Properties of molecules: labels of files, what is learned of them, scores, and the verb."""

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.training import AdamW
from headway.core.weights import from_pretrained
from headway.molecules.chemistry import canonical, checked
from headway.molecules.data import PropertyFile, ScaffoldSplit, nci_file, read_records
from headway.molecules.metrics import property_scores
from headway.molecules.models import Llama, PropertyPredictor
from headway.molecules.tasks import PropertyPrediction

HEADER = "smiles,note,logS,toxic"
ROWS = [
    "CCO,a,1.5,0",
    "c1ccccc1,b,-2,1",
    "CC(=O)O,c,,1",
    "ClCCBr,d,0.5,",
    "CCN,e,2.5,0",
    "CCCC,f,-1,1",
    "C1CCCC1,g,0.25,0",
    "c1ccncc1,h,1,0",
    "C1CC1,i,0.75,1",
]


def write(folder: Path, rows: list[str], header: str = HEADER, name: str = "set.csv") -> str:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def predictor(**sizes: Any) -> PropertyPredictor:
    options = {"dim": 16, "depth": 1, "heads": 2, "max_length": 40, **sizes}
    return PropertyPredictor(backbone=Llama(**options), dropout=0.0)


def ready(path: str, names: tuple[str, ...] = ("logS", "toxic"), **options: Any) -> PropertyFile:
    data = PropertyFile(path=path, properties=names, val=0, **options)
    data.setup()
    return data


def test_kinds_and_units_follow_from_the_training_part(tmp_path: Path) -> None:
    data = ready(write(tmp_path, ROWS), test=2)
    assert data.kinds() == {"logS": "regression", "toxic": "classification"}
    known = [one.number("logS", "x") for one in data.splits["train"]]
    values = torch.tensor([value for value in known if not math.isnan(value)])
    mean, scale = data.statistics()
    torch.testing.assert_close(mean, torch.tensor([values.mean(), 0.0]))
    torch.testing.assert_close(scale, torch.tensor([values.std(correction=0), 1.0]))
    assert ready(write(tmp_path, ROWS), kind="regression").kinds()["toxic"] == "regression"


def test_packed_tables_and_sdf_have_labels(tmp_path: Path) -> None:
    packed = tmp_path / "set.csv.gz"
    packed.write_bytes(gzip.compress(("\n".join([HEADER, *ROWS]) + "\n").encode()))
    blocks = []
    for row in ROWS:
        smiles, _, number, _ = row.split(",")
        from rdkit import Chem

        label = f">  <logS>\n{number}\n\n" if number else ""
        blocks.append(Chem.MolToMolBlock(checked(smiles, "x")) + label + "$$$$\n")
    sdf = tmp_path / "set.sdf"
    sdf.write_text("".join(blocks))
    for file in (packed, sdf):
        data = ready(str(file), ("logS",))
        labels = torch.stack([item[1] for item in data_of(data)])
        assert labels.isnan().sum() == 1
        assert sorted(labels[~labels.isnan()].tolist()) == [-2, -1, 0.25, 0.5, 0.75, 1, 1.5, 2.5]


def data_of(data: PropertyFile) -> list[tuple[torch.Tensor, torch.Tensor]]:
    model = predictor()
    model.set_vocabulary((*model.tokenizer.vocabulary, *data.tokens))
    data.use(model.tokenizer)
    assert data.train_set is not None
    return [data.train_set[place] for place in range(len(data.splits["train"]))]


def test_one_molecule_is_read_alike_however_it_is_written(
    tmp_path: Path, runs: Path, capsys
) -> None:
    ways = ["C1=CC=CC=C1O", "Oc1ccccc1", "OC1=CC=CC=C1"]
    path = write(tmp_path, [f"{ways[0]},x,1,0", *ROWS * 2])
    data = ready(path)
    assert {one.smiles for one in data.splits["train"]} >= {"Oc1ccccc1"}
    arrows = write(tmp_path, ["N->[Pt](Cl)(Cl)<-N,x,1,0", "CCO,y,2,1"], name="arrows.csv")
    with pytest.raises(InputError, match="is no SMILES"):
        ready(arrows, canonical=False)
    assert len(ready(arrows).splits["train"]) == 2
    kept = ready(path, canonical=False)
    assert {one.smiles for one in kept.splits["train"]} >= {ways[0]}
    answers = {}
    for place, way in enumerate(("true", "false"), start=1):
        assert fit("llama_properties", path, *SMALL, "--data.canonical", way) == 0
        run = runs / "llama_properties" / str(place)
        table = write(tmp_path, ways, "smiles", "new.csv")
        out = tmp_path / f"{way}.csv"
        assert main(["predict", "-m", str(run), "--data", table, "-o", str(out)]) == 0
        answers[way] = [row["logS"] for row in csv.DictReader(out.open())]
    assert len(set(answers["true"])) == 1
    assert len(set(answers["false"])) > 1


def test_labels_stay_with_their_molecules(tmp_path: Path) -> None:
    data = ready(write(tmp_path, ROWS), randomize=True)
    assert len(data.splits["train"]) == len(ROWS)
    for record, (_, labels) in zip(data.splits["train"], data_of(data), strict=True):
        row = next(row for row in ROWS if canonical(row.split(",")[0]) == record.smiles).split(",")
        for cell, label in zip(row[2:], labels.tolist(), strict=True):
            assert label == float(cell) if cell else math.isnan(label)


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_column_of_texts_and_one_that_is_not_there(policy: str, tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    with pytest.raises(InputError, match=r"set.csv, row 2: has note = 'a', which is no number$"):
        ready(path, ("logS", "note"), on_invalid=policy)
    with pytest.raises(InputError, match="has no values of logP; its properties are note, logS"):
        ready(path, ("logP",), on_invalid=policy)


@pytest.mark.parametrize(
    ("cell", "options", "said"),
    [
        ("low", {}, "has logS = 'low', which is no number"),
        ("inf", {}, "has logS = inf, which is not finite"),
        ("2", {"kind": "classification"}, "has logS = 2; a class is 0 or 1"),
    ],
)
def test_a_wrong_label_is_named_and_its_row_left_out(
    cell: str, options: dict[str, Any], said: str, tmp_path: Path, caplog
) -> None:
    rows = [f"{'C' * n}O,x,{n % 2}" for n in range(1, 9)]
    path = write(tmp_path, [*rows, f"CCN,x,{cell}"], "smiles,note,logS")
    with pytest.raises(InputError, match=f"set.csv, row 10: {said}; remove it or set on_invalid"):
        ready(path, ("logS",), **options)
    data = ready(path, ("logS",), on_invalid="skip", **options)
    assert len(data.splits["train"]) == 8
    assert f"skipped 1 of 9 molecules: set.csv, row 10: {said}" in caplog.text


def test_properties_are_named_once() -> None:
    with pytest.raises(UserError, match="name at least one, each once"):
        PropertyFile(path="x.csv", properties=("a", "a"))


def losses(labels: list[list[float]], task: PropertyPrediction) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 3, (len(labels), 6), generator=generator)
    task.zero_grad()
    loss, _, _ = task._loss((tokens, torch.tensor([6, 4, 5]), torch.tensor(labels)))
    loss.backward()
    gradients = [p.grad for p in task.parameters() if p.grad is not None]
    return torch.cat([loss.detach()[None], *(grad.flatten() for grad in gradients)])


def test_what_is_not_known_teaches_nothing() -> None:
    torch.manual_seed(0)
    model = predictor()
    model.set_properties({"toxic": "classification", "logS": "regression"})
    model.set_statistics(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 2.0]))
    task = PropertyPrediction(backbone=model.eval(), optimizer=AdamW(lr=1e-3))
    task.eval()
    nan = math.nan
    found = losses([[1.0, nan], [nan, 5.0], [nan, nan]], task)
    tokens = torch.randint(0, 3, (3, 6), generator=torch.Generator().manual_seed(0))
    answers = model(tokens, lengths=torch.tensor([6, 4, 5]))
    wanted = (torch.nn.functional.softplus(-answers[0, 0]) + (answers[1, 1] - 1).square()) / 2
    torch.testing.assert_close(found[0], wanted.detach())
    assert bool(found.isfinite().all())
    assert not torch.equal(found, losses([[1.0, 3.0], [0.0, 5.0], [0.0, 3.0]], task))
    assert not losses([[nan, nan]] * 3, task).any()


def test_padding_does_not_change_a_property(tmp_path: Path) -> None:
    model = predictor()
    model.set_properties({"logS": "regression"})
    tokens = torch.randint(0, 3, (1, 6))
    padded = torch.nn.functional.pad(tokens, (0, 4), value=2)
    found = model.eval().predict(padded, torch.tensor([6]))
    torch.testing.assert_close(found, model.predict(tokens))


def test_scores_are_those_of_their_definitions() -> None:
    generator = torch.Generator().manual_seed(1)
    answers = torch.rand(40, 3, generator=generator)
    labels = torch.rand(40, 3, generator=generator)
    labels[:, 1] = (labels[:, 1] > 0.6).float()
    labels[:, 2] = 1.0  # one class alone: no ROC
    labels[::3, :2] = math.nan
    kinds = {"y": "regression", "p": "classification", "q": "classification"}
    found = property_scores(answers, labels, kinds)
    known = ~labels[:, 0].isnan()
    y, p = labels[known, 0].double(), answers[known, 0].double()
    assert found["rmse"] == found["rmse_y"] == pytest.approx(float((y - p).square().mean().sqrt()))
    assert found["mae"] == pytest.approx(float((y - p).abs().mean()))
    spread = float((y - y.mean()).square().sum())
    assert found["r2"] == pytest.approx(1 - float((y - p).square().sum()) / spread)
    positive, negative = (answers[known, 1][labels[known, 1] == k] for k in (1, 0))
    better = (positive[:, None] > negative).double().mean()
    assert found["auc"] == found["auc_p"] == pytest.approx(float(better), abs=1e-6)
    assert "auc_q" not in found


def oxygens(folder: Path) -> str:
    """A table of molecules with the number of their oxygens and whether there is nitrogen; a third unknown."""
    rows = []
    records = [one for one in read_records(nci_file()) if len(one.smiles) < 25]
    for place, record in enumerate(records[:600]):
        count = "" if place % 3 == 1 else record.smiles.upper().count("O")
        other = "" if place % 3 == 2 else int("N" in record.smiles.upper())
        rows.append(f"{record.smiles},{count},{other}")
    return write(folder, rows, "smiles,oxygens,nitrogen")


@pytest.mark.learns
def test_numbers_and_classes_are_learned_from_labels_with_gaps(
    tmp_path: Path, seed: int, measured
) -> None:
    """Worst of seeds 0 to 4: R2 0.64, area 0.983; 3 CPU-seconds."""
    torch.manual_seed(seed)
    model = PropertyPredictor(backbone=Llama(dim=32, depth=1, heads=2, max_length=40))
    task = PropertyPrediction(backbone=model, optimizer=AdamW(lr=5e-3))
    names = ("oxygens", "nitrogen")
    data = PropertyFile(
        path=oxygens(tmp_path),
        properties=names,
        val=100,
        seed=seed,
        split_seed=seed,
        on_invalid="skip",
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        max_epochs=10,
        accelerator="cpu",
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **quiet,
    )
    trainer.fit(task, datamodule=data)
    measured("R2", trainer.callback_metrics["val_r2"], above=0.5)
    measured("area under the ROC", trainer.callback_metrics["val_auc"], above=0.85)


QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / "molecules"


def fit(recipe: str, path: str, *words: str) -> int:
    data = ["--data.path", path, "--data.properties", "[logS, toxic]", "--data.batch_size", "4"]
    data += ["--data.val", "2", "--data.test", "2"]
    return main(["fit", "-c", f"molecules/{recipe}", *QUICK, *data, *words])


SMALL = [
    f"--model.backbone.backbone.{name}={value}"
    for name, value in (("dim", 16), ("heads", 2), ("depth", 1))
]


def test_recipes_learn_from_scratch_and_from_a_run_and_predict(
    tmp_path: Path, runs: Path, capsys
) -> None:
    path = write(tmp_path, ROWS * 3)
    assert fit("llama_properties", path, *SMALL) == 0
    first = runs / "llama_properties" / "1"
    assert main(["test", "-m", str(first)]) == 0
    sizes = ["--model.backbone.dim", "16", "--model.backbone.heads", "2"]
    words = ["--data.path", path, "--data.val", "6", "--model.backbone.depth", "1"]
    assert main(["fit", "-c", "molecules/llama_nci", *QUICK, *sizes, *words]) == 0
    source = str(runs / "llama_nci" / "1")
    for start, how in ((source, "LoRA"), (str(first), "null")):
        more = ["--model.backbone.source", start, "--model.finetune", how]
        assert fit("finetune_properties", path, *more) == 0
    tuned = runs / "finetune_properties" / "1"
    assert (tuned / "adapter" / "adapter.json").is_file()
    saved = json.loads((tuned / "model" / "config.json").read_text())
    assert saved["init_args"]["properties"] == {"logS": "regression", "toxic": "classification"}
    # What has the same properties keeps their units.
    again, before = (
        from_pretrained(run / "model") for run in (runs / "finetune_properties" / "2", first)
    )
    assert torch.equal(again.get_buffer("mean"), before.get_buffer("mean"))
    capsys.readouterr()
    check_predictions(tmp_path, [str(tuned), str(first)], capsys)


def check_predictions(folder: Path, sources: list[str], capsys) -> None:
    table = write(
        folder, ["CCN,n", "C1CC,bad", "CC[Xe],new", "CCO,o", "C" * 300 + ",long"], "smiles,id"
    )
    out = folder / "out.csv"
    words = ["predict", "--data", table, "-o", str(out), "--overwrite", "--device", "cpu"]
    assert main([*words, "-m", sources[0]]) == 0
    assert "2 molecules predicted" in (said := capsys.readouterr().err)
    assert "3 molecules not read" in said
    rows = list(csv.DictReader(out.open()))
    assert [row["id"] for row in rows] == ["n", "bad", "new", "o", "long"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, False, True]
    assert all((row["logS"] == "") == bool(row["error"]) for row in rows)
    assert "does not know: [Xe]" in rows[2]["error"]
    assert "302 tokens are more than the 80" in rows[4]["error"]
    assert 0 < float(rows[0]["toxic"]) < 1
    answers = [float(rows[0]["logS"])]
    assert main([*words, "-m", sources[1]]) == 0
    answers.append(float(next(csv.DictReader(out.open()))["logS"]))
    assert main([*words, "-m", sources[0], "-m", sources[1], "--on-invalid", "skip"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["row"] for row in rows] == ["2", "5"]
    assert float(rows[0]["logS"]) == pytest.approx(sum(answers) / 2, rel=1e-4)
    assert float(rows[0]["logS_std"]) == pytest.approx(abs(answers[0] - answers[1]) / 2, rel=1e-3)
    capsys.readouterr()
    assert main([*words, "-m", sources[0], "--on-invalid", "raise"]) == 2
    assert "set.csv, row 3: 'C1CC' is no molecule" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["null", "LoRA"])
def test_an_encoder_with_pieces_of_its_own_learns_properties(
    how: str, tmp_path: Path, runs: Path, capsys
) -> None:
    from transformers import RobertaConfig, RobertaForMaskedLM

    source, path = tmp_path / "chemberta", write(tmp_path, ROWS * 3)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    places = {"num_attention_heads": 2, "max_position_embeddings": 42, "vocab_size": 40}
    peer = RobertaForMaskedLM(RobertaConfig(**sizes, **places))
    source.mkdir()
    (source / "config.json").write_text(peer.config.to_json_string())
    torch.save(peer.state_dict(), source / "pytorch_model.bin")
    letters = sorted({letter for row in ROWS for letter in row.split(",")[0]})
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "cc", "CC"]
    (source / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    (source / "merges.txt").write_text("#version: 0.2\nc c\nC C\n")
    words = ["--model.backbone.source", str(source), "--model.finetune", how]
    assert fit("finetune_properties", path, *words) == 0
    run = runs / "finetune_properties" / "1"
    saved = json.loads((run / "model" / "config.json").read_text())["init_args"]
    assert saved["backbone"]["class_path"] == "headway.core.language.Roberta"
    assert saved["backbone"]["init_args"]["max_length"] == 40
    table = write(
        tmp_path, ["CCN,n", "C[Xe],other", "C1CCCCC1,ring", "C" * 90 + ",long"], "smiles,id"
    )
    out = tmp_path / "out.csv"
    assert (
        main(["predict", "-m", str(run), "--data", table, "-o", str(out), "--device", "cpu"]) == 0
    )
    rows = list(csv.DictReader(out.open()))
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert "does not know" in rows[1]["error"]
    assert "tokens are more than the 40" in rows[3]["error"]


def test_only_models_of_the_same_properties_answer_together(
    tmp_path: Path, runs: Path, capsys
) -> None:
    path = write(tmp_path, ROWS * 3)
    assert fit("llama_properties", path, *SMALL) == 0
    assert fit("llama_properties", path, *SMALL, "--data.properties", "[logS]") == 0
    folder = runs / "llama_properties"
    words = ["predict", "--data", path, "-m", str(folder / "1")]
    assert main([*words, "-m", str(folder / "2")]) == 2
    assert "have the same properties" in capsys.readouterr().err
    assert main(["predict", "--data", path, "--domain", "molecules"]) == 2
    assert "predict with what?" in capsys.readouterr().err


def test_scaffolds_of_the_test_are_new(tmp_path: Path) -> None:
    data = ready(write(tmp_path, ROWS * 2), split=ScaffoldSplit(), test=3)
    told = {part: {one.smiles for one in rows} for part, rows in data.splits.items()}
    assert told["test"]
    assert not told["test"] & told["train"]


@pytest.mark.parametrize(
    ("recipe", "small"), [("graphormer_properties", SMALL), ("gsm_properties", SMALL[:2])]
)
def test_graphs_from_the_recipe_to_predictions(
    recipe: str, small: list[str], tmp_path: Path, runs: Path, capsys
) -> None:
    path = write(tmp_path, ROWS * 3)
    assert fit(recipe, path, *small) == 0
    run = runs / recipe / "1"
    assert main(["test", "-m", str(run)]) == 0
    table = write(tmp_path, ["CCN,n", "C1CC,bad", "CC[Xe],new", "CCO,o"], "smiles,id")
    out = tmp_path / "out.csv"
    assert (
        main(["predict", "--data", table, "-o", str(out), "--device", "cpu", "-m", str(run)]) == 0
    )
    rows = list(csv.DictReader(out.open()))
    assert [row["id"] for row in rows] == ["n", "bad", "new", "o"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    # Alone and beside others, a molecule is the same.
    assert (
        main(
            [
                "predict",
                "--data",
                write(tmp_path, ["CCO,o"], "smiles,id"),
                "-o",
                str(out),
                "--overwrite",
                "--device",
                "cpu",
                "-m",
                str(run),
            ]
        )
        == 0
    )
    (alone,) = csv.DictReader(out.open())
    assert float(alone["logS"]) == pytest.approx(float(rows[3]["logS"]), rel=1e-4)
