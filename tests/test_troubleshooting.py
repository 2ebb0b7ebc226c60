"""docs/troubleshooting.rst against the sources: what it quotes is what they can say."""

import ast
import functools
import re

import pytest
from support import CHECKOUT

PAGE = (CHECKOUT / "docs" / "troubleshooting.rst").read_text()
OURS, _, OTHERS = PAGE.partition("\nWhat other programs say\n")
MESSAGES = re.findall(r"(?m)^``(.+)``\n    ", OURS)
GAP = "\0"
NAME = r"\b[A-Z]{3,}\b"
"""The words in capitals that stand for varying parts of a message."""


def pieces(node: ast.AST) -> str:
    """Return a text of the sources, with gaps where a value is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else GAP
    if isinstance(node, ast.JoinedStr):
        return "".join(map(pieces, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return pieces(node.left) + pieces(node.right)
    return GAP


@functools.cache
def said() -> str:
    """Return every text in the sources, each in a line of its own."""
    files = [CHECKOUT / "bootstrap.py", *(CHECKOUT / "recipes").rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return "\n".join({" ".join(pieces(node).split()) for node in nodes if pieces(node) != GAP})


def constant_parts(message: str) -> list[str]:
    """Return what stands between the names of a message, and what its halves are made of."""
    parts = re.split(rf"'?{NAME}'?|[;:] ", message.replace("bootstrap: ", ""))
    return [part.strip(" :;,()[]") for part in parts if len(part.strip(" :;,()[]")) > 3]


def test_the_page_quotes_many_messages_each_once():
    assert len(MESSAGES) >= 35
    assert sorted(set(MESSAGES)) == sorted(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_that_the_sources_can_say(message):
    parts = constant_parts(message)

    assert parts
    assert [part for part in parts if part not in said()] == []


@pytest.mark.parametrize("text", ["did not begin: REASON, see LOG", "port NUMBER is had by WHO"])
def test_a_message_that_nothing_says_is_found(text):
    assert [part for part in constant_parts(text) if part not in said()]
