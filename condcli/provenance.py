"""Where the numbers of a statistics file come from, as far as every measurement tells it alike."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from condcli.stats import Provenance

if TYPE_CHECKING:
    from condcli.capture import Options
    from condcli.capture.totals import Totals


def provenance_of(totals: Totals, options: Options, **origin: Any) -> Provenance:
    """What a measurement has in its totals and options, with the fields of its ``origin``."""
    import torch

    import condcli

    globs = [*options.layers, *(f"not {glob}" for glob in options.exclude)]
    return Provenance(
        condcli_version=condcli.__version__,
        torch_version=torch.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data_sha256=totals.data_sha256(),
        examples=totals.examples,
        loss_terms=totals.terms,
        loss=totals.mean_loss(),
        accuracy=totals.accuracy(),
        chance=totals.chance(),
        fisher=options.fisher,
        mc_samples=options.mc_samples if options.fisher == "mc" else None,
        columns=totals.columns if options.fisher == "exact" else None,
        pass_seconds=totals.seconds,
        conv=options.conv,
        per_example=options.per_example,
        selected=", ".join(globs) or None,
        max_dim=options.max_dim,
        dtype=str(options.dtype).removeprefix("torch."),
        device=str(options.device),
        **origin,
    )
