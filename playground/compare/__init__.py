"""One question put to several cards at once. Importing this package registers every question, in the order the page shows them."""

from playground.compare import questions as questions
from playground.compare import sheets as sheets
from playground.compare.base import QUESTIONS, Cell, Grid, Pane, Question, find_question
from playground.compare.comparison import MAX_PANES, Comparison
from playground.compare.running import Answer, Board

__all__ = ["MAX_PANES", "QUESTIONS", "Answer", "Board", "Cell", "Comparison", "Grid", "Pane", "Question", "find_question"]
