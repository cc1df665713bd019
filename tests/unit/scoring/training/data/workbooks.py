"""Writes small spreadsheets for tests, without a library: .xlsx and .ods are zip archives."""

import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

Cell = str | float | datetime | None
DATE_STYLE = 1

_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_RELATION = (
    '<Relationship Id="{0}" Target="{1}" Type="http://schemas.openxmlformats.org/'
    'officeDocument/2006/relationships/{2}"/>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    "{}</Relationships>"
)
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_STYLES = (
    f'<styleSheet {_MAIN}><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>'
)


def xlsx(path: Path, **sheets: Sequence[Sequence[Cell]]) -> Path:
    """Write a workbook with these sheets; datetimes are serial numbers in cells of dates."""
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{at}" r:id="r{at}"/>'
        for at, name in enumerate(names, 1)
    )
    links = "".join(
        _RELATION.format(f"r{at}", f"worksheets/sheet{at}.xml", "worksheet")
        for at in range(1, len(names) + 1)
    ) + _RELATION.format("s", "styles.xml", "styles")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", _TYPES)
        main = _RELATION.format("m", "xl/workbook.xml", "officeDocument")
        book.writestr("_rels/.rels", _RELATIONS.format(main))
        book.writestr(
            "xl/workbook.xml",
            f'<workbook {_MAIN} xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/'
            f'relationships"><sheets>{listed}</sheets></workbook>',
        )
        book.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format(links))
        book.writestr("xl/styles.xml", _STYLES)
        for at, rows in enumerate(sheets.values(), 1):
            book.writestr(f"xl/worksheets/sheet{at}.xml", sheet_xml(rows))
    return path


def sheet_xml(rows: Sequence[Sequence[Cell]]) -> str:
    """Return the XML of one sheet; a cell `None` is left out."""
    lines = []
    for at, row in enumerate(rows, 1):
        cells = "".join(_cell(f"{chr(65 + n)}{at}", value) for n, value in enumerate(row))
        lines.append(f'<row r="{at}">{cells}</row>')
    return f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def _cell(place: str, value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        serial = (value - datetime(1899, 12, 30)).total_seconds() / 86_400  # noqa: DTZ001
        return f'<c r="{place}" s="{DATE_STYLE}"><v>{serial!r}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'
