import csv
import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import headway.molecules
from headway.core.cli.main import main
from headway.core.language import SPECIALS
from headway.core.weights import save_pretrained
from headway.molecules.models import GenMol, Llama
from headway.molecules.notation import SafeTokenizer, SmilesTokenizer

QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
SMALL = ["--model.backbone.dim", "16", "--model.backbone.heads", "2", "--model.backbone.depth", "1"]
# Of proteins: test_backbones.py and test_targets.py.
RECIPES = sorted(
    {path.stem for path in (Path(headway.molecules.__file__).parent / "recipes").glob("*.yaml")}
    - {"folding_diff", "druggen_pairs"}
)
OF_PROPERTIES = [name for name in RECIPES if name.endswith("_properties")]
ROWS = ["CCO", "c1ccccc1", "CC(=O)O", "ClCCBr", "CCN", "CCCC", "OCCO", "CC(C)C", "CNC", "C=CC"]


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["name,smiles", *(f"m,{row}" for row in ROWS * 3)]) + "\n")
    return str(path)


def llama(folder: Path) -> str:
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=40,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def check_sampling(run: Path, tmp_path: Path, capsys) -> None:
    out, grid = tmp_path / "out.csv", tmp_path / "grid.png"
    words = ["sample", "-m", str(run), "-n", "30", "-o", str(out), "--grid", str(grid), "--json"]
    code = main([*words, "--device", "cpu"])
    said = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == said["generated"] == 30
    valid = [row for row in rows if row["valid"] == "1"]
    assert said["validity"] == pytest.approx(len(valid) / 30, abs=1e-4)
    assert code == (0 if valid else 1)
    assert grid.is_file() == bool(valid)
    assert main([*words, "--device", "cpu"]) == 2  # nothing is overwritten


# They write no SMILES, or none from nothing.
READERS = {"regression_transformer_qed": "PropertyTokenizer", "matter_gpt_lines": "SymbolTokenizer"}


@pytest.mark.parametrize("recipe", READERS)
def test_a_recipe_of_another_notation_trains(recipe: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.csv"
    rows = [f"{row},{place % 7},{place % 3}" for place, row in enumerate(ROWS * 3)]
    path.write_text("\n".join(["line,energy,gap", *rows]) + "\n")
    words = ["--data.path", str(path), "--data.val", "6", "--data.batch_size", "8", *SMALL]
    words += ["--data.column", "line"]
    assert main(["fit", "-c", f"molecules/{recipe}", *QUICK, *words]) == 0
    run = tmp_path / "runs" / "molecules" / recipe / "1"
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["init_args"]["tokenizer"]["class_path"].endswith(READERS[recipe])
    assert main(["validate", "-m", str(run)]) == 0
    if recipe != "matter_gpt_lines":
        return
    out = tmp_path / "out.csv"
    sample = ["sample", "-m", str(run), "-o", str(out), "--device", "cpu", "--json", "-n", "5"]
    capsys.readouterr()
    assert main([*sample, "--condition", "gap=1", "--fragment", "CCO"]) in (0, 1)
    assert "validity" not in json.loads(capsys.readouterr().out)
    table = list(csv.DictReader(out.open()))
    assert [(row["wanted_gap"], row["valid"]) for row in table] == [("1.0", "")] * 5
    assert main([*sample, "--overwrite", "--grid", str(tmp_path / "grid.png")]) == 2
    assert "are for molecules" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - set(OF_PROPERTIES) - set(READERS)))
def test_a_recipe_trains_and_its_run_samples(
    recipe: str, tmp_path: Path, table: str, capsys
) -> None:
    words = ["--data.path", table, "--data.val", "6", "--data.batch_size", "8"]
    # Two steps are not worth compiling, and a part of so few molecules is none.
    words += ["--model.compile", "false", "--trainer.limit_train_batches", "1.0"]
    if recipe == "finetune":
        words += ["--model.backbone.source", llama(tmp_path / "llama")]
    else:
        words += SMALL
    assert main(["fit", "-c", f"molecules/{recipe}", *QUICK, *words]) == 0
    run = tmp_path / "runs" / "molecules" / recipe / "1"
    config = json.loads((run / "model" / "config.json").read_text())
    tokenizer = config["init_args"]["tokenizer"]
    notation = "SafeTokenizer" if recipe == "genmol_moses" else "SmilesTokenizer"
    assert tokenizer["class_path"] == f"headway.molecules.notation.{notation}"
    assert {"C", "Cl", "Br", "c"} <= set(tokenizer["init_args"]["vocabulary"])
    assert main(["validate", "-m", str(run)]) == 0
    capsys.readouterr()
    check_sampling(run, tmp_path, capsys)


def test_fragments_are_kept_by_a_model_that_lifts_masks(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    tokenizer = SafeTokenizer().extended([*"CNOc.12345", "(", ")"])
    model = GenMol(tokenizer=tokenizer, dim=8, depth=1, heads=2, max_length=40)
    model.fit_lengths([20, 30, 39])
    save_pretrained(model, tmp_path / "model")
    out = tmp_path / "out.csv"
    words = ["sample", "-m", str(tmp_path / "model"), "-o", str(out), "--overwrite", "--json"]
    words += ["--device", "cpu", "-n", "6"]
    for fragments in (["c1ccccc1*", "*CC"], ["*c1ccc(*)cc1"], ["c1ccccc1"]):
        options = [word for one in fragments for word in ("--keep", one)]
        capsys.readouterr()
        assert main([*words, *options, "--randomness", "2", "--context-guidance", "2"]) in (0, 1)
        facts = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert 0 <= facts["with_fragments"] <= 1
        rows = list(csv.DictReader(out.open()))
        assert len(rows) == 6
        assert all(row["smiles"].count(".") >= len(fragments) for row in rows)
    assert main([*words, "--repair"]) in (0, 1)
    assert not any("." in row["canonical_smiles"] for row in csv.DictReader(out.open()))
    assert main([*words, "--keep", "C*", "--first-number", "4"]) in (0, 1)
    assert all(row["smiles"].startswith("C4.") for row in csv.DictReader(out.open()))
    options = ["--order", "random", "--at-once", "3", "--new", "5", "--temperature", "0.5"]
    assert main([*words, *options]) in (0, 1)
    assert {len(tokenizer.pieces(row["smiles"])) for row in csv.DictReader(out.open())} == {5}
    llama(tmp_path / "llama")
    for said, options in {
        "leave out --repair": ["--repair", "--only-valid"],
        "leave out --prefix": ["--keep", "C*", "--prefix", "C"],
        "'C1*' is no molecule": ["--keep", "C1*"],
        "remembers what was written": ["--grammar"],
        "randomness is -1": ["--randomness", "-1"],
        "which lifts no masks": ["-m", str(tmp_path / "llama"), "--keep", "C*"],
        "which takes no conditions": ["--condition", "QED=1"],
    }.items():
        assert main([*words, *options]) == 2
        assert said in capsys.readouterr().err


def test_what_is_written_and_what_is_kept(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO()=1"))
    model = Llama(tokenizer=tokenizer, dim=8, depth=1, heads=2, max_length=16)
    save_pretrained(model, tmp_path / "model")
    out = tmp_path / "out.csv"
    words = [
        "sample",
        "-m",
        str(tmp_path / "model"),
        "-o",
        str(out),
        "--overwrite",
        "--device",
        "cpu",
        "--json",
        "-n",
        "12",
    ]
    capsys.readouterr()
    assert main([*words, "--grammar", "--only-valid"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (facts["validity"], facts["given_up"]) == (1.0, 0)
    assert main([*words, "--grammar", "--must-have", "[#6]", "--must-not-have", "[R]"]) == 0
    for row in csv.DictReader(out.open()):
        assert "1" not in row["smiles"]
    assert main([*words, "--must-have", "[Pt]", "--most-draws", "2"]) in (0, 1)
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (facts["drawn"], facts["given_up"]) == (24, 12)
    for said, options in {
        "--must-have '[Q' is no SMARTS": ["--must-have", "[Q"],
        "')' cannot stand": ["--grammar", "--prefix", "CC)"],
        "most-draws": ["--most-draws", "0"],
    }.items():
        assert main([*words, *options]) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_conditions_from_options_and_tables(tmp_path: Path, capsys) -> None:
    rows = ["smiles,cost", *(f"{row},{place % 5 or ''}" for place, row in enumerate(ROWS * 3))]
    (tmp_path / "priced.csv").write_text("\n".join(rows) + "\n")
    words = ["fit", "-c", "molecules/llamol_moses", *QUICK, *SMALL, "--data.val", "6"]
    words += ["--data.path", str(tmp_path / "priced.csv"), "--data.batch_size", "8"]
    named = [f"--{part}.properties=['weight','cost']" for part in ("data", "model.backbone")]
    assert main([*words, "--data.properties=['cost']"]) == 2
    assert (
        "the data have the properties cost, the model logP, SA, weight" in capsys.readouterr().err
    )
    assert main([*words, *named]) == 0
    run = tmp_path / "runs" / "molecules" / "llamol_moses" / "1"
    assert len(list(run.parent.glob("labels-*.npy"))) == 2  # of what trains and of what validates
    out, wishes = tmp_path / "out.csv", tmp_path / "wishes.csv"
    sample = ["sample", "-m", str(run), "-o", str(out), "--overwrite", "--device", "cpu", "--json"]
    capsys.readouterr()
    asked = ["--condition", "weight=50", "--condition", "cost=2", "--fragment", "CO"]
    assert main([*sample, "-n", "4", *asked, "--guidance", "1.5"]) in (0, 1)
    table = list(csv.DictReader(out.open()))
    assert [(row["wanted_weight"], row["wanted_cost"], row["fragment"]) for row in table] == [
        ("50.0", "2.0", "CO")
    ] * 4
    wishes.write_text("weight,fragment\n60,\n,CCO\n")
    assert main([*sample, "-n", "2", "--conditions", str(wishes)]) in (0, 1)
    table = list(csv.DictReader(out.open()))
    assert [row["wanted_weight"] for row in table] == ["60.0", "60.0", "", ""]
    assert [row["fragment"] for row in table] == ["", "", "CCO", "CCO"]
    for row in table:
        assert bool(row["weight"]) == (row["valid"] == "1")
    for said, options in {
        "the model knows no property 'logP'; it has weight, cost": ["--condition", "logP=1"],
        "'weight' is no NAME=VALUE": ["--condition", "weight"],
        "--condition weight: 'x' is no number": ["--condition", "weight=x"],
        "--fragment: 'C1C' is no molecule": ["--fragment", "C1C"],
        "does not know: [Se]": ["--fragment", "C[Se]C"],
        "leave out --condition and --fragment": ["--conditions", str(wishes), "--fragment", "C"],
        "needs something to lean towards": ["--guidance", "2"],
    }.items():
        assert main([*sample, *options]) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]
    (tmp_path / "bad.csv").write_text("weight,price\n60,3\n")
    assert main([*sample, "--conditions", str(tmp_path / "bad.csv")]) == 2
    assert "bad.csv, row 2: the model knows no property 'price'" in capsys.readouterr().err
    text = tmp_path / "text.csv"
    text.write_text("smiles,cost\n" + "".join(f"{row},cheap\n" for row in ROWS))
    assert main([*words, *named, "--data.path", str(text)]) == 2
    assert "has cost = 'cheap', which is no number" in capsys.readouterr().err
    assert (
        main([*words, "--data.properties=['price']", "--model.backbone.properties=['price']"]) == 2
    )
    assert "has no column 'price', and RDKit computes none" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["selfies", "safe", "gpt2"])
def test_other_notations_and_decoders_from_yaml(
    kind: str, tmp_path: Path, table: str, capsys
) -> None:
    if kind == "selfies":
        pytest.importorskip("selfies")
    config = tmp_path / "other.yaml"
    model, notation = {
        "selfies": ("headway.molecules.models.Llama", "SelfiesTokenizer"),
        "safe": ("headway.molecules.models.Llama", "SafeTokenizer"),
        "gpt2": ("headway.core.language.GPT2", "SmilesTokenizer"),
    }[kind]
    config.write_text(
        f"model:\n  init_args:\n    backbone:\n      class_path: {model}\n      init_args:\n"
        f"        tokenizer: {{class_path: headway.molecules.notation.{notation}}}\n"
    )
    words = ["fit", "-c", "molecules/llama_nci", "-c", str(config), *QUICK, *SMALL]
    words += ["--data.path", table, "--data.val", "6", "--data.batch_size", "8"]
    assert main([*words, "--data.max_length", "40", "--data.randomize", "false"]) == 0
    run = tmp_path / "runs" / "other" / "1"
    saved = json.loads((run / "model" / "config.json").read_text())
    assert saved["init_args"]["tokenizer"]["class_path"].endswith(notation)
    capsys.readouterr()
    words = ["sample", "-m", str(run), "-n", "20", "-o", str(tmp_path / "o.csv"), "--json"]
    assert main([*words, "--device", "cpu"]) in (0, 1)
    said = json.loads(capsys.readouterr().out)
    assert said["generated"] == 20
    if kind == "selfies":
        empty = [r["smiles"] for r in csv.DictReader((tmp_path / "o.csv").open())].count("")
        assert said["validity"] == pytest.approx(1 - empty / 20)


@pytest.mark.parametrize("start", ["published", "own"])
@pytest.mark.parametrize("how", ["full", "lora"])
def test_fine_tuning_goes_on_where_it_was_broken_off(
    start: str, how: str, tmp_path: Path, table: str, capsys
) -> None:
    data = ["--data.path", table, "--data.val", "6", "--data.batch_size", "8"]
    if start == "own":
        assert main(["fit", "-c", "molecules/llama_nci", *QUICK, *SMALL, *data]) == 0
        source = str(tmp_path / "runs" / "molecules" / "llama_nci" / "1")
        extra = tmp_path / "more.smi"
        extra.write_text("\n".join([*ROWS, "CCI", "CC[Si](C)C", "C" * 90] * 2) + "\n")
        data[1] = str(extra)
    else:
        source = llama(tmp_path / "llama")
    words = ["fit", "-c", "molecules/finetune", "--trainer.accelerator", "cpu", *data]
    words += ["--model.backbone.source", source, "--model.schedule", "null"]
    words += ["--trainer.gradient_clip_val", "0.5"]
    if how == "lora":
        words += ["--model.finetune", "headway.core.finetune.LoRA", "--model.finetune.rank", "2"]
    assert main([*words, "--trainer.max_epochs", "2"]) == 0
    assert main([*words, "--trainer.max_epochs", "1"]) == 0
    runs = tmp_path / "runs" / "molecules" / "finetune"
    assert main(["fit", "--resume", str(runs / "2"), "--trainer.max_epochs", "2"]) == 0
    weights = [
        torch.load(runs / n / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for n in ("1", "2")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    assert any("down" in name for name in weights[0]) == (how == "lora")
    config = json.loads((runs / "2" / "model" / "config.json").read_text())["init_args"]
    assert config["max_length"] == (92 if start == "own" else 40)
    capsys.readouterr()
    check_sampling(runs / "2", tmp_path, capsys)


@pytest.mark.parametrize(
    "mixer",
    [
        ["SelfAttention", "causal=true"],
        ["LinearAttention", "causal=true"],
        ["ConvolutionMixer", "causal=true", "axes=1"],
        ["SelfAttention", "causal=true", "window=4"],
        ["ProbSparseAttention", "causal=true"],
        ["SelfAttention", "causal=true", "kv_heads=1"],
    ],
    ids=" ".join,
)
def test_any_causal_mixer_from_yaml(mixer: list[str], tmp_path: Path, table: str) -> None:
    config = tmp_path / "mixer.yaml"
    options = ", ".join(option.replace("=", ": ") for option in mixer[1:])
    config.write_text(
        "model:\n  init_args:\n    backbone:\n      init_args:\n        mixer:\n"
        f"          class_path: {mixer[0]}\n          init_args: {{{options}}}\n"
    )
    words = ["fit", "-c", "molecules/llama_nci", "-c", str(config), *QUICK, *SMALL]
    words += ["--model.samples", "0"]  # ProbSparse attention cannot run step by step
    assert main([*words, "--data.path", table, "--data.val", "6", "--data.batch_size", "8"]) == 0
    last = tmp_path / "runs" / "mixer" / "1" / "checkpoints" / "last.ckpt"
    for name, value in torch.load(last, weights_only=True)["state_dict"].items():
        assert bool(value.isfinite().all()), name


@pytest.mark.parametrize(
    ("mixer", "said"),
    [("FourierMixer", "a mixer that supports causal"), ("SelfAttention", "causal=True")],
)
def test_a_mixer_that_sees_the_future_is_refused(mixer: str, said: str, table: str, capsys) -> None:
    words = ["fit", "-c", "molecules/llama_nci", *QUICK, *SMALL, "--data.path", table]
    assert main([*words, "--model.backbone.mixer", mixer]) == 2
    assert said in capsys.readouterr().err


def test_wrong_use_is_one_clear_line(tmp_path: Path, table: str, capsys) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("smiles\n" + "CCO\n" * 15 + "C1CC\n" + "CCN\n" * 4)
    words = ["fit", "-c", "molecules/llama_nci", *QUICK, *SMALL, "--data.on_invalid", "raise"]
    assert main([*words, "--data.path", str(broken)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "broken.csv, row 17: 'C1CC' is no molecule" in line
    assert "set on_invalid to skip" in line
    assert main(["sample", "-n", "3"]) == 2
    assert "sample from what?" in capsys.readouterr().err
    assert main(["fit", "-c", "molecules/llama_nci", *QUICK, *SMALL, "--data.path", table]) == 0
    run = str(tmp_path / "runs" / "molecules" / "llama_nci" / "1")
    capsys.readouterr()
    assert main(["sample", "-m", run, "--prefix", "CCU"]) == 2
    assert "--prefix: 'CCU' is no SMILES: 'U' at place 3" in capsys.readouterr().err
    assert main(["sample", "-m", run, "--prefix", "CCI"]) == 2
    assert "does not know: I" in capsys.readouterr().err
    assert main(["sample", "-m", run, "-n", "0"]) == 2
    assert "--count 0 is below 1" in capsys.readouterr().err
    assert main(["sample", "-m", run, "--reference", str(broken)]) == 2
    assert "broken.csv, row 17" in capsys.readouterr().err
