"""Text tables, drawn by tabulate."""

from collections.abc import Sequence

import tabulate


def plain(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first row, a rule of dashes, and the other rows, aligned to the right."""
    rule, header, *others = _lines(rows, "-", "right")
    return [header, rule, *others]


def rst(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a simple reStructuredText table, aligned to the left. The first row is the header."""
    rule, header, *others = _lines(rows, "=", "left")
    return [rule, header, rule, *others, rule]


def _lines(rows, character, alignment):
    """Return a rule and the rows. The header is a row, because tabulate widens the columns of its headers."""
    row = tabulate.DataRow("", "  ", "")
    rule = tabulate.Line("", character, "  ", "")
    style = tabulate.TableFormat(rule, None, None, None, row, row, 0, None)
    table = tabulate.tabulate(rows, tablefmt=style, disable_numparse=True, stralign=alignment)
    return [line.rstrip() for line in table.splitlines()]
