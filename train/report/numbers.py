"""The numbers of a report as a table for other programs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.numbers import numbers
from schemas.report import Report

SCHEMA = pa.schema(
    [
        pa.field("section", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("of", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("unit", pa.string(), nullable=False),
    ]
)


def write_numbers(report: Report, path: Path) -> None:
    """One row per number, as Parquet."""
    rows = [one.model_dump() for one in numbers(report)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
