"""The report on data is one page that needs nothing, shows texts as they are, and is the same for the same data."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.training.tiny import wordpiece
from training.data.findings import Check, Finding
from training.data.lengths import CHARACTERS, Spread, histogram, measure, over_long, token_ruler
from training.data.overview import Overview, overview, sentences
from training.data.page import Bar, Section, in_html, in_markdown
from training.data.report import FINDINGS_FILE, HTML_FILE, MARKDOWN_FILE, write_report
from training.data.rows import Counts, Row, Splits

NASTY = 'a "<b>bold</b>" | `text` with *signs* & \u202eturned'


def rows(name: str, *pairs: tuple[str, str]) -> list[Row]:
    return [Row(text, f"{name}.csv:{number}", label=label) for number, (text, label) in enumerate(pairs, start=2)]


@pytest.fixture
def splits() -> Splits:
    """A text of train is nearly one of test, another has signs that mean something elsewhere."""
    train = rows(
        "train",
        ("switch on the lamp in the kitchen", "on"),
        (NASTY, "on"),
        ("stop it", "off"),
        ("switch on the garden pump, now, please", "on"),
    )
    test = rows("test", ("switch on the lamp in the kitchen!", "on"), ("halt", "off"))
    counts = {"train": Counts(5, 4, 0, 1), "dev": Counts(1, 1, 0, 0), "test": Counts(2, 2, 0, 0)}
    findings: dict[Check, list[Finding]] = {"duplicate": [Finding("train.csv:6", "train.csv:3")]}
    return Splits(
        train, rows("dev", ("off", "off")), test, ["off", "on"], counts, {"train.csv": "ab" * 32}, "Us", findings
    )


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = wordpiece()
    made.no_padding()
    made.no_truncation()
    return made


def test_every_check_of_the_whole_is_in_the_overview(splits: Splits, tokenizer: Tokenizer) -> None:
    view = overview(splits, token_ruler(tokenizer, 8))

    assert view.findings["duplicate"] == [Finding("train.csv:6", "train.csv:3")]
    assert view.findings["near"] == [Finding("test.csv:2", "train.csv:2", "1.00 alike")]
    assert "shared text" not in view.findings  # where there are labels, it is an overlap
    assert [finding.where for finding in view.findings["over-long"]] == [
        "train.csv:2",
        "train.csv:3",
        "train.csv:5",
        "test.csv:2",
    ]
    assert view.findings["over-long"][0].detail == "9 tokens"
    assert view.balance == {"on": {"train": 3, "dev": 0, "test": 1}, "off": {"train": 1, "dev": 1, "test": 1}}
    assert sum(counts["train"] for counts in view.bins.values()) == 4
    assert list(sentences(view))[:2] == [
        "texts of dev or test nearly the same as one of train: 1 of 8 – test.csv:2 = train.csv:2 (1.00 alike)",
        "rows longer than the model reads, whose end is cut: 4 of 8 – train.csv:2 (9 tokens); "
        f"{view.findings['over-long'][1]}; {view.findings['over-long'][2]}; … and 1 more",
    ]


def test_a_pair_that_shares_a_text_with_test_is_said() -> None:
    train = [Row("one", "p:1", positive="two"), Row("three", "p:2", positive="four")]
    test = [Row("five", "q:1", positive="Two ")]
    counts = {"train": Counts(2, 2, 0, 0), "dev": Counts(0, 0, 0, 0), "test": Counts(1, 1, 0, 0)}

    view = overview(Splits(train, [], test, [], counts))

    assert view.findings["shared text"] == [Finding("p:1", "q:1")]
    assert "dev" not in view.spreads
    assert "over-long" not in view.findings  # no model, no limit
    assert (
        "rows of train that share a text with dev or test, which data.apart_from leaves out: 1 of 3 – p:1 = q:1"
        in list(sentences(view))
    )


def test_a_row_is_as_long_as_its_longest_text(tokenizer: Tokenizer) -> None:
    texts = [
        Row("turn on the lamp", "a:1", positive="turn on"),
        Row("on", "a:2", positive="turn on the old television"),
    ]

    assert measure(texts, CHARACTERS).tolist() == [16, 26]
    assert measure(texts, token_ruler(tokenizer, 6)).tolist() == [6, 7]
    assert over_long(texts, measure(texts, token_ruler(tokenizer, 6)), 6, "tokens") == [
        Finding("a:2", detail="7 tokens")
    ]


def test_lengths_are_counted_in_bins_that_double() -> None:
    lengths_N = measure([Row("x" * length, "a:1") for length in (1, 8, 9, 16, 17, 40)], CHARACTERS)

    assert histogram(lengths_N, 40) == [("up to 8", 2), ("9–16", 2), ("17–32", 1), ("33–64", 1)]
    assert Spread.of(lengths_N) == Spread(p50=9, p90=40, p99=40, longest=40)


def test_the_report_has_every_finding_by_line_and_the_texts_of_the_first(
    splits: Splits, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = tmp_path / "new"

    page_path = write_report(overview(splits, token_ruler(tokenizer, 8)), "lamps", folder)

    with (folder / FINDINGS_FILE).open(newline="") as file:
        table = list(csv.reader(file))
    markdown, page = (folder / MARKDOWN_FILE).read_text(), (folder / HTML_FILE).read_text()
    assert page_path == folder / HTML_FILE
    assert table[:3] == [
        ["check", "place", "other", "detail"],
        ["duplicate", "train.csv:6", "train.csv:3", ""],
        ["near", "test.csv:2", "train.csv:2", "1.00 alike"],
    ]
    assert len(table) == 7
    assert "lamp" not in (folder / FINDINGS_FILE).read_text()
    for text in ("train.csv:6", "test.csv:2", "1.00 alike", "switch on the lamp in the kitchen"):
        assert text in markdown
        assert text in page


class Page(HTMLParser):
    """The words of a page, and each tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_loads_nothing_and_every_tag_is_closed(splits: Splits, tmp_path: Path) -> None:
    text = write_report(overview(splits), "lamps", tmp_path).read_text()

    page = Page(text)
    assert page.open == []
    assert not any(name in ("src", "href") for _, attributes in page.tags for name in attributes)
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.tags}
    assert "url(" not in text
    assert "@import" not in text
    assert "light-dark(" in text


def test_a_text_is_shown_as_it_is_and_means_nothing() -> None:
    section = Section("Texts", "one & two", ["text", "rows"], [[NASTY, Bar(1200, 0.5)]])

    page, markdown = in_html("<title>", [section]), in_markdown("title", [section])

    assert NASTY in Page(page).words
    assert "<b>bold" not in page
    row = markdown.splitlines()[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert re.sub(r"\\(.)", r"\1", row) == f"| {NASTY} | 1,200 {'█' * 10} |"


def test_the_same_data_give_the_same_report(splits: Splits, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(overview(splits), "lamps", tmp_path / name)

    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert len(files[0]) == 3


def test_a_hundred_classes_are_not_all_shown(tmp_path: Path) -> None:
    labels = [f"class_{number:03}" for number in range(120)]
    train = rows(
        "train", *((f"text {label} {copy}", label) for label in labels for copy in range(1 + (label == "class_007")))
    )
    counts = {"train": Counts(121, 121, 0, 0)}
    view: Overview = overview(Splits(train, [], [], labels, counts))

    markdown = (write_report(view, "many", tmp_path).parent / MARKDOWN_FILE).read_text()

    assert "120 classes; the largest has 2.0 times the rows of the smallest. 40 between them are not shown." in markdown
    assert markdown.count("class\\_") == 80


def test_signs_that_turn_text_round_are_not_shown(splits: Splits, tmp_path: Path) -> None:
    """One such sign in a text would show all that follows in the wrong order."""
    turned = Splits(
        splits.train, [], [], [], {"train": Counts(4, 4, 0, 0)}, findings={"duplicate": [Finding("x:1", "train.csv:3")]}
    )

    page = write_report(overview(turned), "turned", tmp_path)

    assert "signs* &amp;  turned" in page.read_text()
    assert "\u202e" not in page.read_text() + (tmp_path / MARKDOWN_FILE).read_text()


def test_a_place_of_several_sentences_shows_none_of_them(tmp_path: Path) -> None:
    """A template gives many sentences; which of them a finding is about, its place does not tell."""
    train = [Row("switch on the lamp", "template 1"), Row("switch on the old lamp", "template 1")]
    counts = {"train": Counts(2, 2, 0, 0), "test": Counts(1, 1, 0, 0)}
    view = overview(Splits(train, [], [Row("switch on the lamp!", "template 2")], [], counts))

    page = write_report(view, "templates", tmp_path).read_text()

    assert view.findings["near"] == [Finding("template 2", "template 1", "1.00 alike")]
    assert "switch on the lamp!" in page
    assert "<bdi>switch on the lamp</bdi>" not in page
    assert "switch on the old lamp" not in page
