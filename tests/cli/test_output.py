"""The one place that makes strangers' text harmless, and the shapes of listings."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch_cli.output import (
    Column,
    aligned,
    drawn,
    emit_json,
    emit_rows,
    fitting,
    harmless,
    note,
    usd,
)
from agentwatch_cli.views import SESSION_COLUMNS

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
        console.print(drawn(COLUMNS, [["[red]x[/red][link=http://evil]", "$1"]], 80))
    assert "[red]x[/red][link=http://evil]" in capture.get()


@pytest.mark.parametrize("columns", [30, 45, 60, 80, 120])
def test_no_screen_is_too_narrow_for_an_id_and_what_it_spent(columns):
    from rich.console import Console

    session_id, spent = "s-20261123-191242-c23f31", "$0.4149"
    row = [
        session_id,
        "exhausted",
        spent,
        "$0.00",
        "$2.00",
        "$0.00",
        "1,234",
        "gpt-4o",
        "59 min ago",
    ]
    console = Console(width=columns)
    with console.capture() as capture:
        console.print(drawn(SESSION_COLUMNS, [row], columns))
    lines = capture.get().splitlines()
    assert "…" not in capture.get()
    assert max(map(len, lines)) <= columns
    if columns >= 60:
        assert any(session_id in line and spent in line for line in lines)


def test_a_wide_screen_shows_every_column():
    assert fitting(COLUMNS, [["a", "$1"]], 200)[0] == COLUMNS


def test_the_most_spare_column_goes_first_and_a_needed_one_never():
    columns = [Column("id"), Column("b", spare=1), Column("c", spare=2)]
    assert fitting(columns, [["x" * 9, "y", "z"]], 17) == (columns[:2], [["x" * 9, "y"]])
    assert fitting(columns, [["x" * 9, "y", "z"]], 1) == (columns[:1], [["x" * 9]])


def test_without_stderr_a_note_is_no_failure(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    note("nobody reads this")


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
