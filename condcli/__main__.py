"""``python -m condcli``: the same as the ``condcli`` command."""

from condcli.entry import main

main()
