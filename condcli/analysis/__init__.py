"""Statistics become numbers: pure NumPy, a list of frozen row dataclasses from each analysis.

A row's fields carry their own presentation in `metadata`: `title` (the column's heading), `format`
(how `condcli.output` writes a value) and `drop` (the higher, the sooner a narrow table omits it).
"""
