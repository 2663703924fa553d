"""Run by torchrun in each of its processes: measures every net together, the first writes it."""

import sys
from pathlib import Path

import condcli
from condcli.capture.ranks import joined
from condcli.errors import InputError
from tests.capture.parts import NETS, WIDE

IDLE_BUT_COMPUTED = "idle but computed.txt"


def main(folder: Path) -> None:
    with joined("cpu") as ranks:
        for number, (name, net) in enumerate((NETS | WIDE).items()):
            stats = condcli.probe(
                net.model(), net.batches(), dtype="float64", distributed=True, **net.options
            )
            if ranks.number == 0:
                condcli.write(stats, folder / f"{number}.h5")
            else:
                assert not stats.layers, name
                assert stats.provenance.examples == sum(len(y) for _, y in net.batches())
        try:
            net = NETS["experts"]
            condcli.probe(net.build(computed=True), net.batches(), distributed=True)
        except InputError as error:
            if ranks.number == 0:
                (folder / IDLE_BUT_COMPUTED).write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
