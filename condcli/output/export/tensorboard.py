"""A run as TensorBoard shows it: one event file, with a scalar for each name and number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from condcli.analysis.metrics import NETWORK, values
from condcli.analysis.trajectory import Point
from condcli.output.escaping import escaped
from condcli.output.export.folders import made
from condcli.output.export.library import library
from condcli.statsfile import check_output, replacing

FILE = "events.out.tfevents.condcli"  # TensorBoard reads what has tfevents in its name
_FORM = "TensorBoard's form"
_VERSION = "brain.Event:2"  # of the form, in every event file


def to_tensorboard(points: Sequence[Point], output: Path, *, force: bool) -> Path:
    """Write an event file into the folder, tagged METRIC/NAME; that file.

    The wall time of an event is when its step was probed.
    """
    records = library("tensorboard.summary.writer.record_writer", extra="tensorboard", form=_FORM)
    with made(output):
        file = output / FILE
        check_output(file, force=force)
        with replacing(file, force=force) as target:
            writer = records.RecordWriter(target)
            for event in _events(points):
                writer.write(event.SerializeToString())
            writer.flush()
    return file


def _events(points: Sequence[Point]) -> Iterator[Any]:
    proto = library("tensorboard.compat.proto.event_pb2", extra="tensorboard", form=_FORM)
    summaries = library("tensorboard.compat.proto.summary_pb2", extra="tensorboard", form=_FORM)
    yield proto.Event(wall_time=_seconds(points[0]), file_version=_VERSION)
    for point in points:
        found = [
            summaries.Summary.Value(tag=tag(each.metric, each.name), simple_value=each.value)
            for each in values([point])
            if each.value is not None
        ]
        yield proto.Event(
            wall_time=_seconds(point), step=point.step, summary=summaries.Summary(value=found)
        )


def tag(metric: str, name: str) -> str:
    """What a curve is called: the metric, and of layers and activations their name after it."""
    return metric if name == NETWORK else f"{metric}/{escaped(name)}"


def _seconds(point: Point) -> float:
    """Since 1970; 0 where the file does not say when it was written."""
    try:
        return datetime.fromisoformat(point.provenance.created).timestamp()
    except ValueError:
        return 0.0
