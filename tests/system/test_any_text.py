"""Check quoting with texts that Hypothesis generates: loading it takes seconds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.config.test_converters_quoting import CHECKS
from tests.unit.config.test_ini import read_back_or_refused

pytestmark = pytest.mark.system

CONTROLS = [*map(chr, range(32)), "\x7f"]
# Everything that can stand in an option of ours.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("\"'\\$`%;#!&|<>()[]{}*?~ =:@"),
        st.characters(exclude_characters=CONTROLS, exclude_categories=["Cs"]),
    ),
    max_size=40,
)


@pytest.mark.parametrize("check", CHECKS)
@settings(max_examples=200, deadline=None, database=None)
@given(text=TEXTS)
def test_text_means_itself_or_is_refused(check, text):
    check(text)


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_text_of_an_ini_is_read_back_or_refused(text):
    read_back_or_refused(text)
