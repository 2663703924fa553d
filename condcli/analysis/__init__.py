"""Statistics become numbers: pure NumPy, a list of frozen row dataclasses from each analysis.

A row's fields carry their own presentation in `metadata`; condcli/output/columns.py says how.
"""
