"""Translation: learns, repeats itself, cuts and joins words, searches as an exhaustive search does, reads its layouts.

Documents of the formats: the README of multi30k/dataset (one sentence a line, gzip), the README of subword-nmt (pieces
whose word goes on end with ``@@``), and prepare-iwslt14.sh of fairseq (train, valid and test, the language as suffix).
"""

import gzip
import itertools
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from task_lab import TRANSLATION, Cell, model_from, options_for, train
from torch import Tensor, nn

from harness.errors import HarnessError, MissingDataError
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial.contracts import ModelRequest, Slot
from harness.trial.seeds import Streams
from methods.norms.powernorm import PowerNorm
from suites.data.parallel import Parallel
from suites.data.phrases import english_number, german_number
from suites.data.types import Text
from suites.models import language_models, transformer
from suites.tasks import translation
from suites.tasks.norm_diagnostic import NormDiagnostic, distance, image_deviation
from suites.tasks.sentences import END, PADDING, UNKNOWN, BeamSearch, BytePairs, Pieces
from suites.tasks.translation import bleu, mean_of

pytestmark = pytest.mark.usefixtures("own_cache")


def load(where: str, root: Path, **keys: object) -> Any:
    return Cell("", where, "", data_keys=keys).data_for(0, root)


def built(facts: dict[str, Any], norms: dict[str, Slot] | None = None, **keys: Any) -> transformer.Transformer:
    torch.manual_seed(0)
    return transformer.build(ModelRequest(options_for(transformer.build, **keys), facts, norms or {}))


def test_batches_are_a_function_of_the_epoch_alone_and_keep_their_size() -> None:
    task = TRANSLATION.build(0)
    task.build()
    later, first, again = (list(task.batches(epoch)) for epoch in (1, 0, 1))
    assert len(first) == task.steps_per_epoch()
    assert all(torch.equal(a[0].tokens, b[0].tokens) for a, b in zip(later, again, strict=True))
    assert any(a[0].tokens.shape != b[0].tokens.shape for a, b in zip(later, first, strict=True))
    assert sum(len(parts[0].tokens) for parts in first) == 400
    for (batch,) in first:
        assert max(batch.tokens.numel(), batch.wanted.numel()) <= 256
        assert torch.equal(batch.inputs[:, 1:], torch.where(batch.wanted == END, PADDING, batch.wanted)[:, :-1])


def test_accumulated_batches_give_the_gradient_of_one_batch() -> None:
    task = TRANSLATION.build(0)
    model = task.build()
    model.eval()
    parts = [batch for (batch,) in itertools.islice(task.batches(0), 3)]
    task.training_step(tuple(parts), 0).loss.backward()
    ours = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    total = sum(part.count for part in parts)
    whole = sum(task._loss(part, 0.1) for part in parts) / total
    assert float(task.training_step(tuple(parts), 0).loss) == pytest.approx(float(whole), rel=1e-6)
    whole.backward()
    theirs = [p.grad for p in model.parameters() if p.grad is not None]
    for item, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(item, other, rtol=1e-4, atol=1e-7)


def test_average_scores_the_test_with_the_mean_of_the_last_epochs() -> None:
    task = replace(TRANSLATION, recipe={**TRANSLATION.recipe, "average": 2}).build(0)
    task.build()
    model, _ = train(task, 2 * int(task.steps_per_epoch()) + 1)
    present = {name: value.clone() for name, value in model.state_dict().items()}
    expected = mean_of([*task.kept, present])["embedding.weight"]
    assert not torch.equal(expected, present["embedding.weight"])
    with task._averaged(True):
        torch.testing.assert_close(model.state_dict()["embedding.weight"], expected)
    assert all(torch.equal(value, present[name]) for name, value in model.state_dict().items())


def test_no_pair_that_fits_is_one_clear_error() -> None:
    with pytest.raises(HarnessError, match="no training pair fits"):
        replace(TRANSLATION, recipe={"max_tokens": 2}).build(0).build()


def test_compounds_are_split_on_both_sides() -> None:
    hypothesis, reference = ["the well - known man came home today"], ["the well-known man came home today"]
    assert bleu(reference, reference, tokenised=True, compound_split=True) == pytest.approx(100)
    split = bleu(["the well-known dog ran"], ["the well-read dog ran"], tokenised=True, compound_split=True)
    by_hand = ["the well ##AT##-##AT## known dog ran", "the well ##AT##-##AT## read dog ran"]
    assert split == bleu(by_hand[:1], by_hand[1:], tokenised=True)
    assert bleu(hypothesis, reference, tokenised=True, compound_split=True) < 100


def test_byte_pairs_give_the_text_back_and_do_not_depend_on_the_run() -> None:
    lines = ["der Hund läuft .", "the dog runs , and runs .", "zweiundvierzig Hunde"] * 5
    words = BytePairs(lines, 30)
    assert [words.decode(line) for line in words.encode(lines)] == lines
    assert words.encode(lines) == BytePairs(lines, 30).encode(lines)
    assert min(token for line in words.encode(lines) for token in line) > UNKNOWN
    assert len(BytePairs(lines, 0)) < len(words) <= len(BytePairs(lines, 0)) + 30
    assert UNKNOWN in words.encode(["ξ"])[0]


def test_pieces_join_where_the_word_goes_on() -> None:
    words = Pieces(["zwei@@ und@@ vier@@ zig Hunde", "Hunde"], "@@")
    tokens = words.encode(["zwei@@ und@@ zig Hunde"])[0]
    assert words.decode([*tokens, END, PADDING]) == "zweiundzig Hunde"
    assert words.pieces[3] == "Hunde"
    assert words.encode(["Katzen"]) == [[UNKNOWN]]


class _Table(nn.Module):
    """A language whose next token depends on the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(4, 4, generator=torch.Generator().manual_seed(7))

    def start(self, source: Tensor, beam: int) -> list[Any]:
        return []

    def step(self, tokens: Tensor, place: int, caches: list[Any]) -> Tensor:
        return self.table[tokens] + (0.3 * place if place else 0.0) * torch.tensor([0.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_wide_beams_find_the_best_of_all_sentences(penalty: float) -> None:
    model, limit = _Table(), 4

    def score(sentence: tuple[int, ...]) -> float:
        total, last = 0.0, END
        for place, token in enumerate((*sentence, END)):
            logits = model.step(torch.tensor([last]), place, [])[0].log_softmax(-1)
            total, last = total + float(logits[token]), token
        return total / (len(sentence) + 1) ** penalty

    every = [s for length in range(limit) for s in itertools.product((2, 3), repeat=length)]
    source = torch.zeros(1, 1, dtype=torch.long)
    result = BeamSearch(40, penalty, END, PADDING).search(model, source, limit)[0]
    assert score(tuple(result)) == pytest.approx(max(map(score, every)), abs=1e-5)
    greedy = BeamSearch(1, penalty, END, PADDING).search(model, source, limit)[0]
    assert score(tuple(greedy)) <= score(tuple(result)) + 1e-6


def test_cached_steps_are_those_of_the_whole_decoder_and_padding_changes_nothing() -> None:
    model = built({"vocabulary": 20, "padding": PADDING}, layers=2, width=16, heads=2, inner=16).eval()
    source = torch.tensor([[5, 6, 7, END], [8, END, PADDING, PADDING]])
    target = torch.tensor([[END, 9, 10, 11], [END, 12, 13, 14]])
    whole = model(source, target)
    caches = model.start(source, 1)
    for place in range(4):
        torch.testing.assert_close(model.step(target[:, place], place, caches), whole[:, place], rtol=1e-4, atol=1e-5)
    alone = model(source[1:, :2], target[1:])
    torch.testing.assert_close(alone, whole[1:], rtol=1e-4, atol=1e-5)
    beams = BeamSearch(3, 1.0, END, PADDING).search(model, source, 6)
    item = BeamSearch(3, 1.0, END, PADDING).search(model, source[1:, :2], 6)
    assert beams[1] == item[0]


def test_the_big_transformer_has_its_published_size() -> None:
    # The post-norm big model of the WMT scripts has 209,911,808 parameters with a joined vocabulary of 32,768; pre-norm
    # adds a last norm to the encoder and to the decoder.
    with torch.device("meta"):
        sizes = {"layers": 6, "width": 1024, "heads": 16, "inner": 4096}
        model = built({"vocabulary": 32768, "padding": PADDING}, norm_first=False, **sizes)
        pre = built({"vocabulary": 32768, "padding": PADDING}, **sizes)
    assert sum(p.numel() for p in model.parameters()) == 209_911_808
    assert sum(p.numel() for p in pre.parameters()) == 209_911_808 + 4 * 1024


def test_norms_go_to_their_places_with_the_padding_and_the_last_one_warms_up_less() -> None:
    slots = {
        "encoder": Slot("power", PowerNorm, {"warmup_fraction": 0.5, "total_steps": None, "groups": 2}),
        "decoder": Slot("layer", nn.LayerNorm, {}),
    }
    facts = {"vocabulary": 20, "padding": PADDING, "steps": 80}
    with pytest.raises(HarnessError, match="lacks a norm for the place 'decoder'"):
        built(facts, {"encoder": slots["encoder"]}, layers=1, width=16, heads=2)
    slots["decoder"] = Slot("power", PowerNorm, {"warmup_steps": 80, "groups": 2})
    model = built(facts, slots, layers=2, width=16, heads=2, last_warmup=0.125)
    result = {name: part.warmup_steps for name, part in model.named_modules() if isinstance(part, PowerNorm)}
    assert result.pop("encoder_norm") == 5
    assert {warmup for name, warmup in result.items() if name.startswith("encoder")} == {40}
    assert {warmup for name, warmup in result.items() if name.startswith("decoder")} == {80}
    model.train()
    source = torch.tensor([[5, 6, END], [8, END, PADDING]])
    model(source, torch.tensor([[END, 9], [END, 12]])).sum().backward()
    first = model.encoder[0].attention_norm
    valid = model._embed(source).transpose(0, 1)[source != PADDING]
    scaled = valid.unflatten(-1, (2, 8))
    square = (scaled / (scaled.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(1).square().mean(0)
    torch.testing.assert_close(first.running_phi, square, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_tensorized_attention_sees_later_tokens_only_without_its_mask(causal: bool) -> None:
    keys = {"layers": 2, "width": 16, "head_width": 8, "inner": 16, "length": 6, "causal": causal, "deviation": 0.3}
    torch.manual_seed(0)
    model = model_from(language_models.build_tensorized, {"vocabulary": 12}, **keys).eval()
    tokens = torch.randint(0, 12, (2, 6), generator=torch.Generator().manual_seed(0))
    targets = torch.zeros_like(tokens)
    other = tokens.clone()
    other[:, 4:] = (other[:, 4:] + 1) % 12
    same = torch.allclose(model(tokens, targets)[0][:, :4], model(other, targets)[0][:, :4], atol=1e-5)
    assert same is causal
    with pytest.raises(ValueError, match="at most 6"):
        model(tokens.repeat(1, 2), targets.repeat(1, 2))


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_groups_are_heads_and_the_decoder_keeps_layer_norm(scale: str) -> None:
    plan = make_plan(load_suite("powernorm"), Selection(scale=scale))
    seen = 0
    for trial in plan.trials:
        norms = trial.spec.slots.to_json().get("norm", {})
        place = "encoder" if trial.spec.task == "translation" else "language"
        power = norms.get(place, {})
        if power.get("name") == "power" and power["groups"] != 1:
            assert power["groups"] == trial.spec.model.values["heads"]
            seen += 1
    assert seen > 0


def test_probe_measures_the_batch_and_leaves_the_norms_alone() -> None:
    norm = PowerNorm(4, warmup_steps=0, groups=2)
    model = nn.Sequential(nn.Linear(4, 4), norm)
    x = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(1))
    probe = NormDiagnostic(model, 40, lambda: (model(x) * direction).mean())
    for step in range(40):
        probe.begin(step)
        (model(x) * direction).mean().backward()
        before = norm.running_phi.clone(), norm.iteration.clone()
        probe.before_step()
        assert torch.equal(before[0], norm.running_phi)
        assert torch.equal(before[1], norm.iteration)
    result = probe.summary()
    assert len(probe.records["gradient_norm"]) == 36, "the first tenth is left out"
    # One batch again and again: the running statistic meets the batch's, and neither mode differs at the end.
    assert result["after_warmup_share"] == 1
    assert result["batch_mean_square_deviation"] < 0.1
    assert result["gradient_norm_p99"] == pytest.approx(1, abs=0.5)
    assert abs(result["train_minus_eval_loss"]) < 1e-3
    again = NormDiagnostic(model, 40, lambda: (model(x) * direction).mean())
    again.load_state_dict(probe.state_dict())
    assert again.summary() == result


def test_numbers_in_words() -> None:
    german = "zwei sechzehn einundzwanzig dreißig einhunderteins neunhundertneunundneunzig"
    assert [german_number(n) for n in (2, 16, 21, 30, 101, 999)] == german.split()
    assert [english_number(n) for n in (16, 21, 342)] == ["sixteen", "twenty-one", "three hundred and forty-two"]
    assert len({german_number(n) for n in range(2, 1000)}) == len({english_number(n) for n in range(2, 1000)}) == 998


def test_phrases_are_distinct_across_splits_and_of_the_stated_length() -> None:
    data = load("suites.data.phrases:phrases", Path("/nowhere"), train=500, held_out=60)
    lines = [line for source, _ in data.splits.values() for line in source]
    assert len(lines) == len(set(lines)) == 620
    sides = [side for split in data.splits.values() for lines in split for side in lines]
    assert all(5 <= len(side.split()) <= 20 for side in sides)
    assert not any("{" in side for side in sides)
    other = load("suites.data.phrases:phrases", Path("/nowhere"), train=500, held_out=60, source="en")
    assert other.splits["test"] == tuple(reversed(data.splits["test"]))


def write(folder: Path, names: dict[str, str], packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in names.items():
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if packed else data)


PREPARED = {
    f"{split}.{side}": text
    for split in ("train", "valid", "test")
    for side, text in (("de", "der klei@@ ne hund\nja .\n"), ("en", "the litt@@ le dog\nyes .\n"))
}


@pytest.mark.parametrize(
    ("name", "folder", "source"),
    [("iwslt14-de-en", "iwslt14.tokenized.de-en", "de"), ("wmt14-en-de", "wmt14_en_de", "en")],
)
def test_prepared_corpora_are_read_and_joined(name: str, folder: str, source: str, tmp_path: Path) -> None:
    where = f"suites.data.parallel:{name}"
    with pytest.raises(MissingDataError, match=folder):
        load(where, tmp_path)
    write(tmp_path / folder, PREPARED)
    data = load(where, tmp_path)
    assert isinstance(data, Parallel)
    assert data.languages[0] == source
    assert (data.joiner, data.tokenised) == ("@@", True)
    task = replace(TRANSLATION, data=where, data_keys={}, recipe={"max_tokens": 64}).build(0, tmp_path)
    task.build()
    assert task.texts["test"].references[0] == ("the little dog" if source == "de" else "der kleine hund")
    (tmp_path / folder / "train.en").write_text("only one line\n", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"2 lines|1 lines"):
        load(where, tmp_path)


def test_a_user_s_own_folder_is_read_plain_or_packed(tmp_path: Path) -> None:
    where = "suites.data.parallel:paralleltext"
    texts = {f"{split}.{side}": f"Ein {side} .\n" for split in ("train", "valid", "test") for side in ("fr", "en")}
    write(tmp_path / "plain", texts)
    write(tmp_path / "packed", {f"{name}.gz": text for name, text in texts.items()}, packed=True)
    keys = {"source": "fr", "target": "en", "lowercase": True}
    plain, packed = (load(where, tmp_path, path=folder, **keys) for folder in ("plain", "packed"))
    assert plain == packed
    assert plain.splits["train"] == (("ein fr .",), ("ein en .",))
    (tmp_path / "packed" / "test.en.gz").write_bytes(gzip.compress(b"x" * 900)[:20])
    with pytest.raises(HarnessError, match="cannot be read"):
        load(where, tmp_path, path="packed", **keys)


def test_ptb_is_read_as_its_text_files_are(tmp_path: Path) -> None:
    """One sentence a line between blanks, ``<unk>`` and ``N`` in the text; the end of a line is a token."""
    where = "suites.data.tokens:ptb"
    lines = " no it was n't black monday \n but <unk> fell N points \n"
    write(tmp_path / "ptb", {f"ptb.{split}.txt": lines for split in ("train", "valid", "test")})
    text = load(where, tmp_path)
    assert isinstance(text, Text)
    assert len(text.splits["train"]) == 13
    assert text.vocabulary[0] == "<unk>"
    assert [text.vocabulary[token] for token in text.splits["test"][6:10]] == ["<eos>", "but", "<unk>", "fell"]
    (tmp_path / "ptb" / "ptb.test.txt").write_bytes(b"\xff\xfe broken")
    with pytest.raises(HarnessError, match="UTF-8"):
        load(where, tmp_path)


@pytest.mark.data
@pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="real data: HARNESS_DATA is not set")
def test_multi30k_has_its_published_sizes() -> None:
    data = load("suites.data.parallel:multi30k", Path(os.environ["HARNESS_DATA"]))
    expected = {"train": 29000, "validation": 1014, "test": 1000}
    assert {split: len(sides[0]) for split, sides in data.splits.items()} == expected
    assert data.splits["train"][0][0].startswith("zwei junge weiße männer")
    assert data.splits["train"][1][0].startswith("two young, white males")


@pytest.mark.full
def test_the_image_network_repeats_itself_and_fluctuates_less_than_an_order_of_magnitude_says() -> None:
    before = torch.random.get_rng_state()
    first, again = image_deviation(Streams(0)), image_deviation(Streams(0))
    assert first == again
    assert 0.02 < first < 0.1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_distance_is_in_deviations_and_shares() -> None:
    running = torch.tensor([[1.0, 0.0], [4.0, 1.0]])
    batch = torch.tensor([[2.0, 0.5], [6.0, 0.5]])
    torch.testing.assert_close(distance(batch, running), torch.tensor([[0.5, 0.5], [0.5, 0.5]]))


def test_a_finished_training_counts_all_of_its_steps() -> None:
    task = replace(TRANSLATION, recipe={**TRANSLATION.recipe, "steps": 7}).build(0)
    task.build()
    assert task.evaluate("test").metrics["steps-to-nan"] == 7


def test_a_translation_is_at_most_twice_its_source_and_ten_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    class Search:
        def __init__(self, *settings: Any) -> None:
            pass

        def search(self, model: Any, source: torch.Tensor, limit: int) -> list[list[int]]:
            limits.append(limit)
            return [[]] * len(source)

    monkeypatch.setattr(translation, "BeamSearch", Search)
    text = translation.Encoded([[5, 6, 7], [8, 9, 10]], [[5], [6]], ("", ""), ("", ""))
    words = SimpleNamespace(decode=lambda tokens: "")
    task: Any = SimpleNamespace(_by_length=lambda text: [[0, 1]], device="cpu", model=None, words=words)
    for limit in (200, 12):
        task.options = SimpleNamespace(beam=1, length_penalty=1.0, decode_limit=limit)
        translation.Translation.translate(task, text)
    assert limits == [16, 12]
