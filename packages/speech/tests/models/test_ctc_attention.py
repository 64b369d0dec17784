"""CTC and a decoder together, and CTC in the middle of an encoder."""

from functools import partial

import pytest
import torch
from heard import LETTERS, edits, encoder, front_end, spoken, token_errors, train

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import greedy
from headway.speech.encoder import Encoded
from headway.speech.layers import InterCTC
from headway.speech.models import CTC, CTCAttention
from headway.speech.models.ctc import CTCOutput, ctc_loss
from headway.speech.models.ctc_attention import RotaryCausalAttention
from headway.speech.search import Search

SMALL = partial(
    DecoderLanguageModel, dim=32, depth=1, heads=2, max_length=64, mixer=RotaryCausalAttention
)
SHORT = partial(spoken, most=3, lasting=(6, 10), silence=(2, 8))


def hybrid(depth: int = 1, **options) -> CTCAttention:
    parts = {"encoder": encoder(depth=depth), "tokenizer": LETTERS, "front_end": front_end()}
    return CTCAttention(**parts, decoder=SMALL, **options)


def ctc_errors(model: CTC | CTCAttention, log_probs, lengths, batch: SpeechBatch) -> float:
    heard = greedy(log_probs, lengths, blank=model.blank)
    texts = [row[:n] for row, n in zip(batch.targets.tolist(), batch.target_lengths, strict=True)]
    wrong = sum(edits(one.tokens, text) for one, text in zip(heard, texts, strict=True))
    return wrong / int(batch.target_lengths.sum())


@pytest.mark.learns
def test_both_heads_learn_and_write_together(seed: int, measured) -> None:
    torch.manual_seed(seed)
    model = hybrid()
    train(model, seed=seed, steps=160, lr=8e-3, batch=SHORT)
    measured("token errors", token_errors(model, batch=SHORT), below=0.3)
    heard = SHORT(60, torch.Generator().manual_seed(12345))
    with torch.no_grad():
        log_probs, lengths = model(heard.inputs, heard.lengths)
    measured("token errors of CTC", ctc_errors(model, log_probs, lengths, heard), below=0.4)
    model.ctc_weight = 0.0
    search = Search(beam=4)
    measured(
        "token errors of the decoder", token_errors(model, batch=SHORT, search=search), below=0.6
    )


@pytest.mark.learns
def test_blocks_in_the_middle_are_read_by_the_head_of_the_last(seed: int, measured) -> None:
    heard = SHORT(60, torch.Generator().manual_seed(12345))
    nats = []
    for intermediate in (InterCTC(blocks=(1,)), None):
        torch.manual_seed(seed)
        model = CTC(
            encoder=encoder(depth=2),
            tokenizer=LETTERS,
            front_end=front_end(),
            intermediate=intermediate,
        )
        train(model, seed=seed, steps=100, lr=8e-3, batch=SHORT)
        listener = InterCTC(blocks=(1,))
        with torch.no_grad(), listener.listening(model.encoder) as middle:
            lengths = model.encode(heard.inputs, heard.lengths).lengths
        with torch.no_grad():
            log_probs = model._scores(Encoded(middle[0], lengths)).log_probs
        nats.append(ctc_loss(CTCOutput(log_probs, lengths), heard, model.blank))
    measured("nats of a token by the first block", nats[0], below=0.4)
    measured("of one that was not taught", nats[1], above=0.1)
    measured("how many times fewer", nats[1] / nats[0], above=2)


def batch_of() -> SpeechBatch:
    return spoken(3, torch.Generator().manual_seed(0), most=3)


def test_the_loss_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    model, batch = hybrid(depth=2, intermediate=InterCTC(blocks=(1,), weight=0.4)), batch_of()
    parts = model.loss(batch)
    both = 0.6 * parts["ctc"] + 0.4 * parts["intermediate_ctc"]
    torch.testing.assert_close(parts["loss"], 0.3 * both + 0.7 * parts["attention"])
    model.eval()
    parts = model.loss(batch)
    assert parts.keys() == {"loss", "ctc", "attention"}
    torch.testing.assert_close(parts["loss"], 0.3 * parts["ctc"] + 0.7 * parts["attention"])


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model, batch = hybrid().eval(), batch_of()
    wanted = model.loss(batch)["loss"]
    inputs = torch.nn.functional.pad(batch.inputs, (0, 0, 0, 8), value=torch.nan)
    targets = torch.nn.functional.pad(batch.targets, (0, 2), value=-100)
    real = torch.arange(targets.shape[1]) < batch.target_lengths[:, None]
    targets = targets.masked_fill(~real, 5)
    found = model.loss(batch._replace(inputs=inputs, targets=targets))["loss"]
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_batch_is_heard_as_each_recording_alone() -> None:
    torch.manual_seed(0)
    model, batch = hybrid().eval(), batch_of()
    with torch.no_grad():
        together = model.transcribe(
            model.encode(batch.inputs, batch.lengths), search=Search(beam=3, alternatives=2)
        )
        for row, found in enumerate(together):
            alone = batch.inputs[row : row + 1, : batch.lengths[row]]
            [one] = model.transcribe(model.encode(alone), search=Search(beam=3, alternatives=2))
            assert list(one.tokens) == list(found.tokens)
            assert [x.score for x in one.alternatives] == pytest.approx(
                [x.score for x in found.alternatives], abs=1e-4
            )


def test_ctc_with_a_beam_finds_texts_at_least_as_likely_and_hot_words() -> None:
    torch.manual_seed(0)
    model = CTC(encoder=encoder(), tokenizer=LETTERS, front_end=front_end()).eval()
    torch.nn.init.normal_(model.get_classifier().weight, std=1.0)
    batch = batch_of()
    with torch.no_grad():
        encoded = model.encode(batch.inputs, batch.lengths)
        log_probs, lengths = model._scores(encoded)
        greedy_texts = model.transcribe(encoded)
        search = Search(beam=8, alternatives=3, curves=True)
        found = model.transcribe(encoded, search=search)
        hot = model.transcribe(encoded, search=Search(beam=8, hot_words=("fed",), hot_bonus=30.0))

    def likelihood(row: int, tokens: list[int]) -> float:
        texts, sizes = torch.tensor([tokens]), torch.tensor([len(tokens)])
        row_batch = SpeechBatch(batch.inputs[:1], batch.lengths[:1], texts, sizes)
        output = CTCOutput(log_probs[row : row + 1], lengths[row : row + 1])
        return -len(tokens) * float(ctc_loss(output, row_batch, model.blank))

    for row, (one, best) in enumerate(zip(found, greedy_texts, strict=True)):
        assert likelihood(row, list(one.tokens)) >= likelihood(row, list(best.tokens)) - 1e-4
        assert likelihood(row, list(one.tokens)) == pytest.approx(
            one.alternatives[0].score, abs=0.1
        )
        assert len(one.alternatives) == 3
        assert "<blank>" in one.curves
        assert "fed" in hot[row].text


def test_the_vocabulary_grows_and_keeps_what_was_learned() -> None:
    torch.manual_seed(0)
    model = hybrid().eval()
    before = model.decoder.head.weight[:7].detach().clone()
    model.set_vocabulary((*LETTERS.vocabulary, "g"))
    torch.testing.assert_close(model.decoder.head.weight[:7], before)
    assert model.get_classifier().out_features == len(model.tokenizer) == 8
    assert torch.isfinite(model.loss(batch_of())["loss"])
    model.begin_vocabulary("words")
    assert model.decoder.embedding.num_embeddings == 1


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(UserError, match="ctc_weight is 2"):
        hybrid(ctc_weight=2)
    with pytest.raises(UserError, match="of an encoder of 1 blocks"):
        hybrid(intermediate=InterCTC(blocks=(1,))).loss(batch_of())
    with pytest.raises(UserError, match="numbers from 1 on"):
        InterCTC(blocks=())
