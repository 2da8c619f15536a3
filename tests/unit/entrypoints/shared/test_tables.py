"""Tables that people read."""

from __future__ import annotations

from ec262.entrypoints.shared.tables import count, date_time, table, yes_no


def test_columns_are_aligned_numbers_to_the_right() -> None:
    assert table(("name", "credits"), [("ann", 7), ("benjamin", 12_000)]) == (
        "name      credits\nann             7\nbenjamin    12000"
    )


def test_a_table_without_rows_has_heads() -> None:
    assert table(("name", "credits"), []) == "name  credits"


def test_control_sequences_are_made_harmless() -> None:
    assert "\x1b" not in table(("name",), [("\x1b[2J",)])


def test_words() -> None:
    assert (date_time(0), date_time(None)) == ("1970-01-01 00:00:00Z", "")
    assert (yes_no(True), yes_no(False)) == ("yes", "no")  # noqa: FBT003 - what is written
    assert (count(1, "credit"), count(1000, "credit")) == ("1 credit", "1,000 credits")
