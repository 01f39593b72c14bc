"""Pages as trees of what matters to a test."""

import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

SINGULAR = frozenset(
    {"as", "fails", "gives", "goes", "has", "holds", "is", "shows", "stays", "was", "attaches", "leaks", "uses"}
)
"""Words with an s that one thing may do, of the pages and of the claims of the papers ('table 1 gives')."""


@dataclass
class Element:
    """An element with its attributes and, for a few tags, its text."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    within: tuple[str, ...] = ()


@dataclass
class Parsed(HTMLParser):
    """All elements of a page in order."""

    path: Path
    elements: list[Element] = field(default_factory=list)
    text: str = ""
    _open: list[Element] = field(default_factory=list)

    VOID = frozenset({"meta", "link", "img", "input", "br", "use", "path", "rect", "circle"})

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        result = Element(tag, {name: value or "" for name, value in attrs}, within=tuple(e.tag for e in self._open))
        self.elements.append(result)
        if tag not in self.VOID:
            self._open.append(result)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self._open, f"{self.path}: </{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"{self.path}: </{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        for element in self._open:
            element.text += data

    def of(self, tag: str) -> list[Element]:
        """Elements of one tag."""
        return [element for element in self.elements if element.tag == tag]

    def classed(self, name: str) -> list[Element]:
        """Elements of one class."""
        return [element for element in self.elements if name in element.attributes.get("class", "").split()]

    @property
    def ids(self) -> list[str]:
        """Identifiers in order."""
        return [element.attributes["id"] for element in self.elements if "id" in element.attributes]

    def false_plurals(self) -> list[str]:
        """``1 claims`` and the like, in text and in what is read aloud."""
        shown = re.findall(r">([^<>]+)<", self.path.read_text(encoding="utf-8"))
        shown += [
            element.attributes.get(name, "") for element in self.elements for name in ("alt", "aria-label", "title")
        ]
        result = [match for text in shown for match in re.finditer(r"(?<![\w.,+−:/=-])1\s([a-z]+s)\b", unescape(text))]
        return [match[0] for match in result if match[1] not in SINGULAR]

    def statements(self) -> list[str]:
        """The SQL of every command of the page."""
        result = []
        for element in self.elements:
            if element.tag == "code" and "pre" in element.within:
                words = shlex.split(element.text)
                assert words[:2] == ["harness", "query"], element.text
                assert len(words) == 3
                result.append(words[2])
        return result


@cache
def parsed(path: Path) -> Parsed:
    """A page that does not change any more, parsed once."""
    return Parsed(path)
