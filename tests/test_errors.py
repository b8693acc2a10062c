"""The sentences for names that are not known."""

from __future__ import annotations

import pytest

from playground.errors import unknown

NAMES = ("sample", "traverse", "interpolate", "reconstruct")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("smaple", "Did you mean sample?"),
        ("Reconstruct", "Did you mean reconstruct?"),
        ("fly", "There are: sample, traverse, interpolate, reconstruct."),
        (7, "There are: sample, traverse, interpolate, reconstruct."),
    ],
)
def test_the_close_ones_are_offered_else_all(name: object, remedy: str) -> None:
    assert unknown("task", name, NAMES) == (f"There is no task called {str(name)!r}.", remedy)


def test_of_nothing_there_is_nothing_to_offer() -> None:
    assert unknown("card", "x", []) == ("There is no card called 'x'.", "There are: none.")


def test_a_long_name_is_not_repeated_in_full() -> None:
    assert len(" ".join(unknown("task", "a" * 30_000, NAMES))) < 130
