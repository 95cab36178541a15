"""A page that is one file: its style, its script and its pictures stand in it, and its policy permits nothing else."""

import base64
import hashlib
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.console import InputError
from common.options.checks import check_folder

GENERATOR = '<meta name="generator" content="common.report">'


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it is sorted by where that is something else, its class in page.css, where it leads."""

    text: str
    key: float | str | None = None
    mark: str = ""
    link: str = ""

    def html(self, tag: str, scope: str = "") -> str:
        key = "" if self.key is None else f' data-key="{escape(self.key)}"'
        mark = f' class="{self.mark}"' if self.mark else ""
        inner = f'<a href="{escape(self.link)}">{escape(self.text)}</a>' if self.link else escape(self.text)
        return f"<{tag}{scope}{mark}{key}>{inner}</{tag}>"


def escape(value: object) -> str:
    """As text or attribute of the page."""
    return html.escape(str(value))


def number(value: float, digits: str = ".4f") -> Cell:
    """A cell that is sorted by its value."""
    return Cell(format(value, digits), float(value))


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> str:
    """A table that is sorted by the heading that is pressed; it scrolls sideways where it is too wide. The first cell
    of a row names it."""
    headings = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    lines = []
    for row in rows:
        first, *others = (cell if isinstance(cell, Cell) else Cell(cell) for cell in row)
        heading = first.html("th", ' scope="row"')
        lines.append(f"<tr>{heading}{''.join(cell.html('td') for cell in others)}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def document(title: str, body: Sequence[str]) -> str:
    """The page around the lines of its body."""
    style, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; style-src {source_of(style)}; script-src {source_of(script)}"
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        GENERATOR,
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{escape(title)}</h1>",
        *body,
        "</main>",
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines)


def source_of(text: str) -> str:
    """How a policy names a style or a script that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def check_output(path: Path) -> None:
    """Raise InputError where a page cannot be written there, or would replace a file that is no page of ours."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: is not the name of a page, one that ends with .html was expected (output)")
    if os.path.isdir(path):  # Path.is_dir() raises for a name that is too long
        raise InputError(f"{path}: is a folder, a file was expected (output)")
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            if GENERATOR not in file.read(2000):
                raise InputError(f"{path}: exists and was not written by common.report; name another --output")
    check_folder(path.parent, "output")
