"""How do sections of a report become Markdown, and a page of HTML that needs nothing from elsewhere?"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

BLOCKS = 20  # of the longest bar in Markdown
_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~!])")


@dataclass(frozen=True, slots=True)
class Bar:
    """A number that is drawn, too: `share` of the longest bar of its table."""

    value: int
    share: float


Cell = str | int | Bar


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence, a table."""

    title: str
    lead: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def in_markdown(title: str, sections: Sequence[Section]) -> str:
    """The report as Markdown."""
    lines = [f"# {_escape(title)}", ""]
    for section in sections:
        lines += [f"## {_escape(section.title)}", _escape(section.lead), ""]
        table = [[_escape(name) for name in section.head], ["---"] * len(section.head)]
        table += [[_markdown_cell(cell) for cell in row] for row in section.rows]
        lines += [f"| {' | '.join(cells)} |" for cells in table] + [""]
    return "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    match cell:
        case Bar(value=value, share=share):
            return f"{value:,} {'█' * round(BLOCKS * share)}".strip()
        case int():
            return f"{cell:,}"
    return _escape(cell)


def _escape(text: str) -> str:
    """The text as it is: none of its signs mean anything in Markdown."""
    return _SIGNS.sub(r"\\\1", text)


def in_html(title: str, sections: Sequence[Section]) -> str:
    """The report as a page: light or dark as the reader has it, no scripts, nothing to load."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join(_html_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</html>\n"
    )


def _html_section(section: Section) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.head)
    rows = "\n".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in section.rows)
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n<p>{html.escape(section.lead)}</p>\n"
        f"<div><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n</section>"
    )


def _html_cell(cell: Cell) -> str:
    match cell:
        case Bar(value=value, share=share):
            return f'<td class="bar"><i style="width:{100 * share:.1f}%"></i><b>{value:,}</b></td>'
        case int():
            return f'<td class="number">{cell:,}</td>'
    return f"<td><bdi>{html.escape(cell)}</bdi></td>"
