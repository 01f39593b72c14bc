"""The language check: each rule refuses a planted violation, and plain text passes."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "language.py"
SPEC = importlib.util.spec_from_file_location("language_check", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
language = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = language
SPEC.loader.exec_module(language)

PLAIN = '''"""Read a table."""

def read(path):
    """Return the rows of a file.

    ``told`` in code is not prose.
    """
    raise ValueError(f"{path}: unknown column")  # the first line is the header
'''


def messages(path: str, text: str) -> list[str]:
    return [message for _, message in language.check_file(path, text, language.read_rules())]


def test_plain_text_passes() -> None:
    assert messages("harness/example.py", PLAIN) == []
    assert messages("docs/example.md", "The reader copies the snapshot.\n\n```python\nweather = 1\n```\n") == []
    assert messages("harness/example.py", 'QUERY = "SELECT value FROM gates"\nKEY = "journal"\n') == []


@pytest.mark.parametrize(
    ("path", "text", "part"),
    [
        ("a.py", 'def f():\n    """Whether it rains."""\n', "begins with 'Whether'"),
        ("a.py", '"""What is kept of a page."""\n', "begins with 'What'"),
        ("a.py", '"""' + "one word after another " * 4 + '"""\n', "has 16 words"),
        ("a.py", "def f(told):\n    pass\n", "name 'told'"),
        ("a.py", "for one in []:\n    pass\n", "name 'one'"),
        ("a.py", "x = 1  # written anew\n", "'anew'"),
        ("a.py", 'raise ValueError("x is no arm")\n', "'is no '"),
        ("a.py", 'x = f"the journal of {y}"\n', "'journal'"),
        ("a.md", "First comes the gate.\n", "'gate'"),
        ("a.md", "What is stored is not run again.\n", "clause as a subject"),
        ("a.md", "```sh\nls  # a page of one's own\n```\n", "'of one's own'"),
        ("a.html", "<p class='told'>{{ told }}</p>\n<p>no seed is bought</p>\n", "'bought'"),
        ("a.yaml", "title: a suite of somebody else\n", "'somebody'"),
        ("a.sql", "-- rows of the journal\nSELECT 1;\n", "'journal'"),
    ],
)
def test_each_rule_refuses_a_planted_violation(path: str, text: str, part: str) -> None:
    assert [part in message for message in messages(path, text)] == [True]
