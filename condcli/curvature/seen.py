"""Which layers a network has: a look at it with the first example, twice over."""

from __future__ import annotations

from dataclasses import replace

from condcli.batch import mapped
from condcli.capture.calling import call
from condcli.capture.rehearsal import network_errors, on_device
from condcli.capture.undisturbed import undisturbed
from condcli.curvature.rows import LayerRows
from condcli.curvature.setting import Setting
from condcli.inputs import first_batch

COPIES = 2


def seen_layers(setting: Setting) -> dict[str, LayerRows]:
    """The wanted layers in forward order, with their rows of `COPIES` copies of an example.

    Batch statistics, which copies do not have, are left out.
    """
    quiet = replace(setting.options, norm="running")
    x = first_batch(setting.probe_set)[0]
    x = mapped(lambda t: t[:1].repeat_interleave(COPIES, dim=0), x)
    x = on_device(x, setting.options.device, setting.options.dtype)
    capture = setting.capture()
    with (
        undisturbed(setting.module, quiet),
        network_errors(x, setting.probe_set.source),
        capture.forward_pass(COPIES),
    ):
        call(setting.module, x)
    return capture.rows
