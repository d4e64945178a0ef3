"""The one place that makes strangers' text harmless, and the shapes of listings."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from agentwatch_cli.output import Column, aligned, drawn, emit_json, emit_rows, harmless, note, usd

COLUMNS = [Column("name"), Column("cost", right=True)]


@given(st.text())
def test_nothing_that_moves_a_cursor_or_a_reading_direction_is_left(text):
    shown = harmless(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1


@given(st.text(st.characters(categories=["L", "N", "Zs"]), max_size=100))
def test_plain_words_stay_as_they_are(text):
    assert harmless(text) == text


def test_endless_text_is_cut():
    assert len(harmless("x" * 10**6)) == 2000


def test_a_pipe_gets_aligned_text_without_colour(capsys):
    emit_rows(COLUMNS, [["a\x1b[31m", "$1"], ["bb", "$10"]])
    assert capsys.readouterr().out == "NAME       COST\na\\x1b[31m    $1\nbb          $10\n"


def test_no_rows_are_words_on_stderr_not_data(capsys):
    emit_rows(COLUMNS, [], empty="no session yet")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "agentwatch: no session yet\n")


def test_rich_markup_in_a_name_is_shown_not_obeyed():
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as capture:
        console.print(drawn(COLUMNS, [["[red]x[/red][link=http://evil]", "$1"]]))
    assert "[red]x[/red][link=http://evil]" in capture.get()


def test_json_has_its_version_and_is_ascii(capsys):
    emit_json({"sessions": ["\u202e"]})
    out = capsys.readouterr().out
    assert '"schema_version": 1' in out
    assert out.isascii()


def test_a_note_is_one_line(capsys):
    note("a\nb")
    assert capsys.readouterr().err == "agentwatch: a\\nb\n"


def test_money_is_shown_for_people():
    assert [usd(2), usd(0.0132), usd(None), usd(-0.5)] == ["$2.00", "$0.0132", "-", "-$0.5000"]


def test_rows_of_a_narrow_column_are_not_cut():
    assert aligned([Column("x")], [["longer than x"]]) == ["X", "longer than x"]
