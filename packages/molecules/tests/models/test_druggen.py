"""DrugGen: molecules for a protein, what PPO makes of them, and weights of GPT-2 and ESM-2."""

import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import (
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.generation import Sampling
from headway.core.language import Esm2
from headway.core.mixers import CrossAttention
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.metrics import has_fragment, measure
from headway.molecules.models import (
    DrugGen,
    EncodedProtein,
    FrozenProtein,
    Llama,
    NoProtein,
    ProteinForm,
    ProteinPrefix,
    druggen_of,
    pretrained_druggen,
    protein_encoder,
)
from headway.molecules.notation import PairTokenizer, ProteinTokenizer
from headway.molecules.optimization import PPO, Run, Targets
from headway.molecules.scoring import Affinity, PairFunction

# What a protein has in it, and what its molecules have.
MOTIFS = {"HEH": "NN", "GKG": "OO", "DFD": "SS"}
LETTERS = "ADEFGHIKLNPQRSTV"
ROWS = 192


def of(protein: str) -> str | None:
    found = [motif for motif in MOTIFS if motif in protein]
    return found[0] if len(found) == 1 else None


def pairs(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Returns proteins of eight letters with a motif, and molecules with what it asks for."""
    draws = random.Random(seed)
    proteins, molecules = [], []
    while len(proteins) < count:
        rest, place = "".join(draws.choices(LETTERS, k=5)), draws.randint(0, 5)
        motif = draws.choice(list(MOTIFS))
        protein = rest[:place] + motif + rest[place:]
        if of(protein) != motif:
            continue
        parts, at = draws.choices(["C", "C(C)", "C(F)"], k=3), draws.randint(0, 3)
        proteins.append(protein)
        molecules.append("".join([*parts[:at], "C", MOTIFS[motif], "C", *parts[at:]]))
    return proteins, molecules


def batch(model: DrugGen, molecules: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.tensor(model.tokenizer.encode(text)) for text in molecules]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


@cache
def trained(kind: type[ProteinForm], seed: int, steps: int) -> DrugGen:
    """Returns a small model after supervised fine-tuning, whose form of the protein is of a kind."""
    torch.manual_seed(seed)
    form = ProteinPrefix(max_protein=20) if kind is ProteinPrefix else kind()
    model = DrugGen(protein=form, dim=32, depth=2, heads=4, max_length=40)
    model.set_vocabulary((*model.vocabulary, "(", ")"))
    proteins, molecules = pairs(64 * steps, seed + 1)
    tokens, lengths = batch(model, molecules)
    told = model.told(proteins)
    adam = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 4e-3 * min(1, step / 20) * (1 - step / steps) ** 0.5
        rows = slice(64 * step, 64 * step + 64)
        some = {name: value[rows] for name, value in told.items()}
        score = model.score(tokens[rows], lengths=lengths[rows], **some)
        loss = -score.sum() / (lengths[rows] - 1).sum()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return model.eval()


def bound(smiles: Sequence[str], proteins: Sequence[str]) -> list[float]:
    """Returns whether molecules have what their proteins ask for."""
    wanted = [MOTIFS[of(protein) or ""] for protein in proteins]
    return [float(has_fragment(*pair)) for pair in zip(smiles, wanted, strict=True)]


def judged(model: DrugGen) -> tuple[float, float]:
    """Returns validity, and the share that fits its protein, of molecules for proteins that are new."""
    proteins, _ = pairs(ROWS, 10**6)
    chance = torch.Generator().manual_seed(5)
    found = model.generate([[4]] * ROWS, generator=chance, **model.told(proteins))
    quality = measure([model.tokenizer.decode(row) for row in found.tokens.tolist()])
    fits = [
        fit
        for text, protein in zip(quality.canonical, proteins, strict=True)
        for fit in bound([text or "C"], [protein])
    ]
    return quality.validity, sum(fits) / ROWS


@pytest.mark.learns
def test_told_a_new_protein_it_writes_what_that_binds_and_the_plain_decoder_does_not(
    seed: int, measured
) -> None:
    """Over five seeds 0.78 to 0.83 and 0.13 to 0.14; no more than a third can fit by chance."""
    told = judged(trained(ProteinPrefix, seed, 200))
    plain = judged(trained(NoProtein, seed, 100))
    measured("fits the protein", told[1], above=0.5)
    measured("fits the protein, told none", plain[1], below=0.45)


@pytest.mark.learns
def test_ppo_makes_more_molecules_valid_and_better_for_new_proteins(seed: int, measured) -> None:
    """The published one: 95.5 to 100 % valid, affinity 5.81 to 7.22. Here validity rises by 0.23 to 0.40 and the
    share that fits by 0.35 to 0.47 over five seeds."""
    prior = trained(ProteinPrefix, seed, 120)
    proteins, _ = pairs(200, seed + 500)
    targets = Targets(prior, {f"p{place}": text for place, text in enumerate(proteins)})
    agent = PPO(prior, lr=2e-3, targets=targets, invalid=0.5, seed=seed)
    Run(agent, Affinity(model=PairFunction(bound)), 10**6).go(steps=22)
    assert isinstance(agent.agent, DrugGen)
    before, after = judged(prior), judged(agent.agent)
    measured("validity gained", after[0] - before[0], above=0.1)
    measured("score gained", after[1] - before[1], above=0.2)


def small(form: ProteinForm, **options) -> DrugGen:
    torch.manual_seed(0)
    return DrugGen(protein=form, dim=24, depth=2, heads=2, max_length=16, **options).eval()


def encoder() -> Esm2:
    torch.manual_seed(1)
    return Esm2(tokenizer=ProteinTokenizer(), dim=16, depth=1, heads=2, max_length=24).eval()


FORMS = {
    "prefix": lambda: ProteinPrefix(max_protein=20),
    "encoded": lambda: EncodedProtein(encoder=encoder()),
    "frozen": lambda: FrozenProtein(encoder=encoder()),
    "none": NoProtein,
}
PROTEINS = ["MKV", "MKLLWWAAKMHE", "HE", "MKV", "WWWWW"]


@pytest.mark.parametrize("name", FORMS)
def test_token_by_token_is_all_at_once_whatever_else_is_in_the_batch(
    name: str, tmp_path: Path
) -> None:
    model = small(FORMS[name]())
    told = model.told(PROTEINS)
    chance = [torch.Generator().manual_seed(place) for place in range(len(PROTEINS))]
    prompts = [[4], [4, 6, 7], [4, 8], [4], [4, 9]]
    found = model.generate(prompts, generator=chance, batch_size=2, **told)
    at_once = model.score(found.tokens, lengths=found.lengths, **told)
    for row, prompt in enumerate(prompts):
        written = slice(len(prompt) - 1, int(found.lengths[row]) - 1)
        gained = found.log_probabilities[row, 1:][written]
        torch.testing.assert_close(at_once[row, written], gained, atol=1e-5, rtol=1e-5)
        alone = model.score(found.tokens[row : row + 1], **model.told(PROTEINS[row : row + 1]))
        torch.testing.assert_close(alone[0, written], gained, atol=1e-5, rtol=1e-5)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert isinstance(again, DrugGen)
    assert type(again.protein) is type(model.protein)
    same = again.score(found.tokens, lengths=found.lengths, **again.told(PROTEINS))
    assert torch.equal(same, at_once)
    other = model.score(found.tokens, lengths=found.lengths, **model.told(PROTEINS[::-1]))
    assert torch.equal(other, at_once) == (name == "none")


def test_only_an_encoder_that_learns_has_gradients() -> None:
    for name, learns in {"encoded": True, "frozen": False}.items():
        model = small(FORMS[name]()).train()
        form = model.protein
        assert isinstance(form, EncodedProtein)
        model.score(torch.tensor([[4, 7, 2]]), **model.told(["MKV"])).sum().backward()
        grads = [one.grad for one in form.encoder.encoder.parameters()]
        assert all((one is not None) == learns for one in grads)
        assert form.encoder.training == learns
        assert model.embedding.weight.grad is not None


def esm_2(folder: Path) -> EsmForMaskedLM:
    """Writes an ESM-2 with random weights, and returns it."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    words = list(ProteinTokenizer().vocabulary)
    (folder / "vocab.txt").write_text("\n".join(words))
    config = EsmConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=40,
        pad_token_id=1,
        mask_token_id=32,
        position_embedding_type="rotary",
        token_dropout=True,
    )
    model = EsmForMaskedLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # no bias at zero, no norm at one
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def test_esm_2_reads_the_protein_as_transformers_does(tmp_path: Path) -> None:
    theirs = esm_2(tmp_path)
    model = small(FrozenProtein(encoder=protein_encoder(str(tmp_path))))
    sequences = ["MKVHELGHAFSXDILYI", "WW", "ACDEFGHIKLMNPQRSTVW"]
    told = model.told(sequences)
    peer = EsmTokenizer(str(tmp_path / "vocab.txt"))(sequences, padding=True, return_tensors="pt")
    assert torch.equal(told["proteins"], peer["input_ids"])
    found = model.protein.context(told["proteins"], told["protein_lengths"])
    assert found is not None
    states = theirs(**peer, output_hidden_states=True).hidden_states[-1]
    real = peer["attention_mask"].bool()
    torch.testing.assert_close(found.tokens[real], states[real], atol=1e-5, rtol=1e-5)


def published(folder: Path) -> GPT2LMHeadModel:
    """Writes a GPT-2 with pieces of pairs as DrugGPT has them, and returns it."""
    torch.manual_seed(0)
    proteins, molecules = pairs(200, 1)
    texts = [f"<P>{one}<L>{other}" for one, other in zip(proteins, molecules, strict=True)]
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = ["<|endoftext|>", "[PAD]", "<|startoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=names, initial_alphabet=alphabet)
    engine.train_from_iterator(texts, trainer)
    special = {"bos_token": names[2], "eos_token": names[0], "pad_token": names[1]}
    PreTrainedTokenizerFast(tokenizer_object=engine, **special).save_pretrained(folder)
    config = GPT2Config(
        vocab_size=engine.get_vocab_size(), n_positions=96, n_embd=32, n_layer=2, n_head=4
    )
    # As published: the numbers of start and end in config.json are those of GPT-2, not of this vocabulary.
    config.bos_token_id = config.eos_token_id = None
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def test_a_published_folder_writes_what_transformers_writes_for_a_protein(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    peer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    ours = pretrained_druggen(str(tmp_path), max_length=40).eval()
    assert ours.load_report is not None
    proteins = ["MKLHEHWW", "GKG", "AAAADFDAAAAAAAAA"]
    prompt = ours.tokenizer.prompt("")
    assert len(prompt) == 1
    told = ours.told(proteins)
    found = ours.generate([prompt] * 3, sampling=Sampling(temperature=0), batch_size=2, **told)
    for row, protein in enumerate(proteins):
        given = peer(f"<|startoftext|><P>{protein}<L>", return_tensors="pt")["input_ids"]
        count = int(told["protein_lengths"][row])
        assert given[0].tolist() == [*told["proteins"][row, :count].tolist(), *prompt]
        length = int(found.lengths[row])
        same = theirs.generate(
            given,
            do_sample=False,
            max_new_tokens=length - 1,
            pad_token_id=1,
            eos_token_id=0,
        )
        assert same[0, count:].tolist() == found.tokens[row, :length].tolist()
        text = ours.tokenizer.decode(found.tokens[row].tolist())
        assert text == peer.decode(same[0, count + 1 :], skip_special_tokens=True)
    tokens = torch.tensor([ours.tokenizer.encode("CC(C)NNC")])
    given = peer("<|startoftext|><P>GKG<L>CC(C)NNC<|endoftext|>", return_tensors="pt")["input_ids"]
    logits = theirs(given).logits[:, -len(tokens[0]) : -1].log_softmax(-1)
    wanted = logits.gather(2, tokens[:, 1:, None])[..., 0]
    got = ours.score(tokens, **ours.told(["GKG"]))
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_a_published_folder_samples_from_the_command_line(tmp_path: Path, capsys) -> None:
    published(tmp_path / "published")
    words = ["sample", "-m", str(tmp_path / "published"), "--device", "cpu", "--json", "-n", "4"]
    words += ["-o", str(tmp_path / "out.csv"), "--protein", "MKLHEHWW", "--temperature", "0.1"]
    assert main(words) in (0, 1)
    assert json.loads(capsys.readouterr().out)["generated"] == 4


def test_esm_2_from_yaml_trains_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    esm_2(tmp_path / "esm")
    proteins, molecules = pairs(24, 0)
    rows = [",".join(row) for row in zip(proteins, molecules, strict=True)]
    (tmp_path / "pairs.csv").write_text("\n".join(["protein,smiles", *rows]) + "\n")
    form = {
        "class_path": "headway.molecules.models.FrozenProtein",
        "init_args": {
            "encoder": {
                "class_path": "headway.molecules.models.protein_encoder",
                "init_args": {"source": str(tmp_path / "esm"), "max_length": 30},
            }
        },
    }
    backbone = {"init_args": {"protein": form, "dim": 16, "depth": 1, "heads": 2}}
    config = {"model": {"init_args": {"backbone": backbone}}}
    (tmp_path / "with_esm.yaml").write_text(json.dumps(config))
    words = ["fit", "-c", "molecules/druggen_pairs", "-c", str(tmp_path / "with_esm.yaml")]
    words += ["--data.path", str(tmp_path / "pairs.csv"), "--data.sequences", "null"]
    words += ["--data.val", "6", "--data.batch_size", "8", "--model.schedule", "null"]
    words += ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]
    assert main(words) == 0
    found = from_pretrained(tmp_path / "runs" / "with_esm" / "1")
    assert isinstance(found, DrugGen)
    assert isinstance(found.protein, FrozenProtein)
    before = from_pretrained(tmp_path / "esm").state_dict()
    after = found.protein.encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ("", "has no sequence"),
        ("MKVJ1", "has '1' at place 5 of the sequence, which is no amino acid"),
        ("MKv", "'v' at place 3 of the sequence, which is no amino acid; letters are capitals"),
        ("M" * 60, "the model takes"),
    ],
)
def test_a_protein_that_cannot_be_told_is_one_line(sequence: str, said: str) -> None:
    for name in ("prefix", "encoded"):
        with pytest.raises(InputError, match=f"mine: .*{said}"):
            small(FORMS[name]()).told([sequence], ["mine"])


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ProteinPrefix encodes none; leave cross out"):
        DrugGen(cross=CrossAttention)
    with pytest.raises(UserError, match="max_protein is 0"):
        ProteinPrefix(max_protein=0)
    with pytest.raises(InputError, match="is not the start of molecules"):
        small(ProteinPrefix(closing="AAA")).told(["MKV"])
    llama = Llama(tokenizer=PairTokenizer(), dim=8, depth=1, heads=2)
    with pytest.raises(UserError, match="needs its tokenizer.json"):
        druggen_of(llama)
    save_pretrained(llama, tmp_path / "llama")
    with pytest.raises(UserError, match="holds a Llama, which is told no protein"):
        pretrained_druggen(str(tmp_path / "llama"))
    published(tmp_path / "published")
    with pytest.raises(UserError, match="max_length is 96 and the model has 96 positions"):
        pretrained_druggen(str(tmp_path / "published"), max_length=96)
    with pytest.raises(UserError, match="a Llama is told no protein"):
        Targets(llama, {"one": "MKV"})


def test_proteins_and_molecules_share_a_vocabulary() -> None:
    tokenizer = PairTokenizer().extended(["Cl", "(", ")"])
    assert tokenizer.split("<P>CLMK<L>CCl") == ["<P>", "C", "L", "M", "K", "<L>", "C", "Cl"]
    assert tokenizer.decode(tokenizer.encode("CC(Cl)C")) == "CC(Cl)C"
    assert json.dumps(tokenizer.init_args["start"]) == "4"
    with pytest.raises(InputError, match="no SMILES"):
        tokenizer.split("MK")
