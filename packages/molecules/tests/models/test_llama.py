import json
from functools import partial

import pytest
import torch

from headway.core.blocks import ParallelBlock
from headway.core.cli.config import load_recipe
from headway.core.errors import InputError, UserError
from headway.core.generation import Sampling
from headway.core.language import GPT2, SPECIALS, NumberedTokens
from headway.core.language.presets import RotaryAttention
from headway.core.mixers import (
    ConvolutionMixer,
    FourierMixer,
    LinearAttention,
    PoolingMixer,
    SelfAttention,
)
from headway.core.positions import ALiBi, Rotary
from headway.core.weights import from_pretrained, save_pretrained
from headway.core.weights.config import build as build_from
from headway.core.weights.config import describe
from headway.molecules.chemistry import canonical
from headway.molecules.models import Llama, pretrained
from headway.molecules.notation import SelfiesTokenizer, SmilesTokenizer

VOCABULARY = (*SPECIALS, *"CNOcn()=12")
MIXERS = {
    "attention": RotaryAttention,
    "alibi": partial(SelfAttention, causal=True, position=ALiBi),
    "window": partial(SelfAttention, causal=True, window=4, position=Rotary),
    "linear": partial(LinearAttention, causal=True, position=Rotary),
    "convolution": partial(ConvolutionMixer, axes=1, window=4, causal=True),
    "hybrid": (
        partial(ConvolutionMixer, axes=1, window=3, causal=True),
        partial(LinearAttention, causal=True),
    ),
}


def build(mixer=RotaryAttention, **options) -> Llama:
    torch.manual_seed(0)
    model = Llama(
        tokenizer=SmilesTokenizer(vocabulary=VOCABULARY),
        dim=16,
        depth=2,
        heads=2,
        max_length=24,
        mixer=mixer,
        **options,
    )
    with torch.no_grad():
        model.embedding.weight.normal_(std=0.5)
    return model.eval()


@pytest.mark.parametrize("name", MIXERS)
def test_cached_steps_equal_the_full_pass_in_rows_of_different_age(name: str) -> None:
    model = build(MIXERS[name]).double()
    tokens = torch.randint(3, 13, (3, 9), generator=torch.Generator().manual_seed(1))
    full = model(tokens)
    cache = model.init_cache(3)
    first = model(tokens[:, :5], lengths=torch.tensor([5, 2, 4]), cache=cache)
    torch.testing.assert_close(first[0], full[0, :5], atol=1e-5, rtol=1e-5)
    places = torch.tensor([5, 2, 4])
    for _ in range(4):
        step = model(tokens[torch.arange(3), places][:, None], cache=cache)
        torch.testing.assert_close(step[:, 0], full[torch.arange(3), places], atol=1e-5, rtol=1e-5)
        places += 1


@pytest.mark.parametrize("name", MIXERS)
def test_what_follows_changes_nothing(name: str) -> None:
    model = build(MIXERS[name]).double()
    tokens = torch.randint(3, 13, (1, 9), generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[:, 6:] = 3 + (changed[:, 6:] - 2) % 10
    torch.testing.assert_close(model(tokens)[:, :6], model(changed)[:, :6])
    assert (model(tokens)[:, 6:] - model(changed)[:, 6:]).abs().max() > 1e-3


@pytest.mark.parametrize("mixer", [FourierMixer, PoolingMixer, SelfAttention])
def test_mixers_that_see_the_future_are_refused(mixer) -> None:
    with pytest.raises(UserError, match="causal"):
        build(mixer)


def test_likelihoods_of_generated_molecules_are_those_of_the_full_pass() -> None:
    model = build()
    found = model.generate([[1]] * 40, batch_size=7, generator=torch.Generator().manual_seed(0))
    logits = model(found.tokens[:, :-1]).log_softmax(-1)
    gained = logits.gather(2, found.tokens[:, 1:, None])[..., 0]
    real = torch.arange(gained.shape[1]) < found.lengths[:, None] - 1
    want = gained.masked_fill(~real, 0.0).sum(1)
    torch.testing.assert_close(found.log_likelihoods, want, atol=1e-4, rtol=1e-4)


def test_a_batch_gives_what_each_molecule_gives_alone() -> None:
    model = build().double()
    tokens = torch.randint(3, 13, (2, 8), generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([8, 5])
    padded = model(tokens, lengths=lengths)
    alone = model(tokens[1:, :5])
    torch.testing.assert_close(padded[1, :5], alone[0], atol=1e-5, rtol=1e-5)
    one = torch.autograd.grad(padded[1, :5].square().sum(), list(model.parameters()))
    two = torch.autograd.grad(alone.square().sum(), list(model.parameters()))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_saved_model_comes_back_with_its_vocabulary(tmp_path) -> None:
    model = build(partial(SelfAttention, causal=True, kv_heads=1), block=ParallelBlock)
    model.set_vocabulary((*VOCABULARY, "Cl"))
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert again.vocabulary == (*VOCABULARY, "Cl")
    assert again.head.weight is again.embedding.weight
    tokens = torch.randint(13, (2, 5))
    assert torch.equal(again(tokens), model(tokens))


def test_it_compiles_whole_and_exports_with_any_batch_and_length() -> None:
    model = build()
    tokens = torch.randint(3, 13, (2, 7))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens))
    sizes = {"tokens": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    exported = torch.export.export(model, (tokens,), dynamic_shapes=sizes).module()
    other = torch.randint(3, 13, (3, 5))
    torch.testing.assert_close(exported(other), model(other))


def test_sampling_depends_on_the_seed_alone() -> None:
    model = build()
    runs = [
        model.generate(
            [[1]] * 10, sampling=Sampling(top_p=0.9), generator=torch.Generator().manual_seed(seed)
        ).tokens.tolist()
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_checkpoint_that_names_no_parts_has_the_default_ones() -> None:
    model = build()
    old = describe(model)
    old["init_args"] |= {"mixer": None, "feedforward": None}
    other = build_from(old)
    assert describe(other) == describe(model)
    other.load_state_dict(model.state_dict())


def test_a_model_of_an_earlier_release_has_the_tokenizer_of_smiles(tmp_path) -> None:
    model = build()
    save_pretrained(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    args = config["init_args"]
    # What such a file had in the place of a tokenizer; a mixer of its own module was elsewhere, too.
    assert args.pop("tokenizer")["class_path"] == "headway.molecules.notation.SmilesTokenizer"
    del args["cross"], args["position"]
    args |= {"vocabulary": list(VOCABULARY), "padding": 0, "start": 1, "end": 2}
    args["mixer"]["class_path"] = "headway.core.mixers.self_attention.SelfAttention"
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = from_pretrained(tmp_path).eval()
    assert isinstance(again.tokenizer, SmilesTokenizer)
    assert again.vocabulary == VOCABULARY
    tokens = torch.randint(13, (2, 5))
    assert torch.equal(again(tokens), model(tokens))
    # The config.yaml of a run reads the same.
    told = load_recipe(json.dumps({"class_path": config["class_path"], "init_args": args}))
    assert told["init_args"]["tokenizer"]["init_args"]["vocabulary"] == list(VOCABULARY)
    assert "vocabulary" not in told["init_args"]


def test_a_bare_list_of_atoms_is_read_as_smiles(tmp_path) -> None:
    names = [f"<{place}>" for place in range(5)] + ["C", "N", "[nH]", "Cl"]
    model = GPT2(tokenizer=NumberedTokens(vocabulary=names), dim=8, depth=1, heads=1)
    save_pretrained(model, tmp_path)
    kept = pretrained(str(tmp_path), max_length=20)
    assert isinstance(kept.tokenizer, SmilesTokenizer)
    assert kept.max_length == 20
    assert kept.tokenizer.encode("CClN") == [1, 5, 8, 6, 2]
    fresh = pretrained(str(tmp_path), vocabulary="replace")
    assert fresh.vocabulary == ("<0>", "<1>", "<2>")
    pieces = NumberedTokens(vocabulary=[*names, "c1ccccc1"])
    save_pretrained(GPT2(tokenizer=pieces, dim=8, depth=1, heads=1), tmp_path / "pieces")
    assert isinstance(pretrained(str(tmp_path / "pieces")).tokenizer, NumberedTokens)


def test_whatever_a_model_of_selfies_writes_is_a_molecule(tmp_path) -> None:
    pytest.importorskip("selfies")
    empty = SelfiesTokenizer()
    rows = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)O", "ClCCBr", "C#N"]
    known = sorted({token for row in rows for token in empty.split(row)})
    tokenizer = empty.extended(known)
    for row in rows:
        assert canonical(tokenizer.decode(tokenizer.encode(row))) == canonical(row)
    with pytest.raises(InputError, match="row 4: .* does not know: .*I"):
        tokenizer.encode("CI", "row 4")
    with pytest.raises(InputError, match="row 5: 'C1CC' "):
        tokenizer.encode("C1CC", "row 5")
    model = Llama(tokenizer=tokenizer, dim=16, depth=1, heads=2, max_length=24)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    found = again.generate([[1]] * 30, generator=torch.Generator().manual_seed(0))
    smiles = [again.tokenizer.decode(row) for row in found.tokens.tolist()]
    assert all(text == "" or canonical(text) is not None for text in smiles)
    assert sum(map(bool, smiles)) > 10
