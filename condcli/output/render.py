"""A report in the format asked for."""

from __future__ import annotations

from condcli.output import Format
from condcli.output.machine import to_csv, to_json
from condcli.output.markdown import to_markdown
from condcli.output.report import Report


def render(report: Report, form: Format) -> str:
    """The report as text that ends with a newline."""
    return _WRITERS[form](report)


def _table(report: Report) -> str:
    from condcli.output.table import to_table  # Rich takes a tenth of a second to import

    return to_table(report)


_WRITERS = {"table": _table, "json": to_json, "csv": to_csv, "markdown": to_markdown}
