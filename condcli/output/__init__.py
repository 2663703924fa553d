"""Rows become a table, JSON, CSV or Markdown, all from the rows' own field metadata."""

from typing import Literal

Format = Literal["table", "json", "csv", "markdown"]
