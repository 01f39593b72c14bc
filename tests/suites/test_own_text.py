"""User text: token files, one file that is cut in three, words and characters, messages."""

import gzip
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_lab import read_own

from harness.errors import HarnessError, MissingDataError
from suites.data.tokens import cut_text, tokens_of
from suites.data.types import Text

TOKENS = "suites.data.tokens:tokens"
BOOK = "".join(f"line {number} has é: a cat and {number % 7} dogs.\n" for number in range(200))


pytestmark = pytest.mark.usefixtures("own_cache")


def load(path: Path, seed: int = 0, **keys: Any) -> Text:
    return read_own(TOKENS, path, seed, **keys)


def joined(data: Text, split: str, between: str = "") -> str:
    return between.join(data.vocabulary[number] for number in data.splits[split])


TEXT = " \n = Title = \n \n the cat saw the dog \n = = Part = = \n the end \n"


@pytest.mark.parametrize("packed", [False, True])
def test_tokens_end_lines_and_map_unknown_words(tmp_path: Path, packed: bool) -> None:
    for split, text in (("train", TEXT), ("valid", " the zebra \n"), ("test", " = Other = \n a dog \n")):
        if packed:
            (tmp_path / f"wiki.{split}.tokens.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    data = load(tmp_path, min_count=1)
    expected = "<eos> = Title = <eos> <eos> the cat saw the dog <eos> = = Part = = <eos> the end <eos>"
    assert joined(data, "train", " ") == expected
    assert joined(data, "validation", " ") == "the <unk> <eos>"
    assert data.vocabulary[:4] == ("<unk>", "<eos>", "=", "the")
    # Only the heading of the first level starts an article.
    assert [data.documents[split].tolist() for split in ("train", "test")] == [[1], [0]]
    assert load(tmp_path, min_count=3).vocabulary == ("<unk>", "<eos>", "=", "the")
    if packed:
        file = tmp_path / "wiki.test.tokens.gz"
        for content, message in (
            (file.read_bytes()[:-9], "cannot be read as tokens"),
            (gzip.compress(b"\xff\xfe words"), "UTF-8"),
            (gzip.compress(b""), "no tokens"),
        ):
            file.write_bytes(content)
            with pytest.raises(HarnessError, match=message):
                load(tmp_path, min_count=1)


def test_one_book_of_characters_is_cut_in_three_and_reads_back(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    data = load(tmp_path / "book.txt", level="characters", min_count=1)
    assert joined(data, "train") + joined(data, "validation") + joined(data, "test") == BOOK
    assert all(joined(data, split).endswith("\n") for split in data.splits)
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert len(data.splits[split]) == pytest.approx(share * len(BOOK), rel=0.05)
    assert {"é", "\n", " "} < set(data.vocabulary)


def test_a_character_that_training_lacks_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK + "ß" * 30 + "\n", encoding="utf-8")
    data = load(tmp_path / "book.txt", level="characters", min_count=1)
    assert "ß" not in data.vocabulary
    assert joined(data, "test").count("<unk>") == 30


def test_one_book_of_words_is_cut_where_lines_end(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "book.txt.gz").write_bytes(gzip.compress(BOOK.replace("\n", "\r\n").encode()))
    data = load(tmp_path / "own", split={"test": 0.25}, min_count=1)
    assert list(data.splits) == ["train", "test"]
    words = joined(data, "train", " ") + " " + joined(data, "test", " ")
    # a word of the end that training lacks is unknown, and nothing else is lost
    expected = list(chain.from_iterable(tokens_of(BOOK, "words")))
    assert all(mine in (theirs, "<unk>") for mine, theirs in zip(words.split(), expected, strict=True))
    assert joined(data, "test", " ").split()[0] == "line"


def test_the_seed_does_not_move_a_cut(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    first, other = (load(tmp_path / "book.txt", seed, level="characters") for seed in (0, 1))
    assert all(first.splits[name].tolist() == other.splits[name].tolist() for name in first.splits)


@pytest.mark.parametrize("level", ["words", "characters"])
def test_a_folder_by_split_takes_either_level(tmp_path: Path, level: str) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f"a {name} cat\nb cat\n", encoding="utf-8")
    data = load(tmp_path, level=level, min_count=1)
    expected = {"words": "a train cat <eos> b cat <eos>", "characters": "a train cat\nb cat\n"}[level]
    assert joined(data, "train", " " if level == "words" else "") == expected
    assert list(data.splits) == ["train", "validation", "test"]


def test_what_a_folder_lacks_may_be_cut_from_its_training_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(BOOK, encoding="utf-8")
    (tmp_path / "test.txt").write_text("line 7\n", encoding="utf-8")
    data = load(tmp_path, level="characters", min_count=1, split={"validation": 0.1})
    assert joined(data, "train") + joined(data, "validation") == BOOK
    assert joined(data, "test") == "line 7\n"
    with pytest.raises(HarnessError, match=r"test\.txt is the test already; remove 'test'"):
        load(tmp_path, split={"validation": 0.1, "test": 0.1})


def test_messages_name_the_files_that_the_page_names(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(BOOK, encoding="utf-8")
    with pytest.raises(MissingDataError, match=r"lacks valid\.txt \(or valid\.tokens.* has train\.txt; .*set path to"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match=r"lacks train\.txt .* has nothing"):
        load(tmp_path / "empty")
    with pytest.raises(HarnessError, match=r"split: unknown name 'tset'"):
        load(tmp_path / "train.txt", split={"tset": 0.1})
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe book")
    with pytest.raises(HarnessError, match=r"bad\.txt cannot be read as text in UTF-8"):
        load(tmp_path / "bad.txt")
    (tmp_path / "blank.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"blank\.txt contains no text"):
        load(tmp_path / "blank.txt")
    (tmp_path / "short.txt").write_text("ab", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"short\.txt: 2 characters are too few to cut off validation 0\.1"):
        load(tmp_path / "short.txt")


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="ab \n", min_size=1, max_size=300), st.floats(0.05, 0.5), st.floats(0.05, 0.4))
def test_a_cut_loses_nothing_and_keeps_the_order(text: str, validation: float, test: float) -> None:
    try:
        parts = cut_text(text, {"validation": validation, "test": test}, "own")
    except HarnessError:  # too short, or blank where a part would be
        return
    assert list(parts) == ["train", "validation", "test"]
    assert "".join(parts.values()) == text
    assert all(part.strip() for part in parts.values())


def test_a_share_of_one_is_a_character() -> None:
    assert cut_text("ab\ncd\ne", {"test": 1}, "own") == {"train": "ab\ncd\n", "test": "e"}
