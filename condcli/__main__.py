"""``python -m condcli``: the same as the ``condcli`` command."""

from condcli.cli import main

main()
