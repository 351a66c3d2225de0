"""QualityReport: what was measured on a finished head, and what a person is told about it. Plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ResultsError

Direction = Literal["at most", "at least", "exactly"]
SIGN = {"at most": "<=", "at least": ">=", "exactly": "="}


@dataclass(frozen=True)
class Measurement:
    """One number with the bound it should keep."""

    name: str  # key in head.json
    title: str  # what a person reads
    value: float | None  # None: could not be measured, see ``reason``
    unit: str  # "" for a plain number
    threshold: float
    direction: Direction  # which side of the threshold is good
    warning: str  # told when the bound is broken: what is wrong, and what to do about it
    reason: str = ""  # why there is no value

    @property
    def passed(self) -> bool | None:
        """Whether the bound is kept; None where nothing could be measured."""
        if self.value is None:
            return None
        if math.isnan(self.value):
            return False
        if self.direction == "at most":
            return self.value <= self.threshold
        if self.direction == "at least":
            return self.value >= self.threshold
        return self.value == self.threshold

    def to_dict(self) -> dict[str, Any]:
        """As it stands in head.json."""
        return {
            "name": self.name,
            "title": self.title,
            "value": None if self.value is None or not math.isfinite(self.value) else float(self.value),
            "measured": self.value is not None,
            "unit": self.unit,
            "threshold": self.threshold,
            "direction": self.direction,
            "passed": self.passed,
            "warning": self.warning,
            "reason": self.reason,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measurement:
        """What ``to_dict`` gave."""
        value = record["value"]
        if record["measured"] and value is None:
            value = math.nan
        return Measurement(
            name=record["name"],
            title=record["title"],
            value=value,
            unit=record["unit"],
            threshold=record["threshold"],
            direction=record["direction"],
            warning=record["warning"],
            reason=record["reason"],
        )


@dataclass(frozen=True)
class QualityReport:
    """All measurements of one head."""

    measurements: tuple[Measurement, ...]

    def __getitem__(self, name: str) -> Measurement:
        """The measurement called ``name``; KeyError where there is none."""
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement
        raise KeyError(name)

    @property
    def passed(self) -> bool:
        """Whether no measurement broke its bound (those that could not be measured do not count)."""
        return not self.failed

    @property
    def failed(self) -> tuple[Measurement, ...]:
        """The measurements that broke their bound."""
        return tuple(m for m in self.measurements if m.passed is False)

    @property
    def unmeasured(self) -> tuple[Measurement, ...]:
        """The measurements that could not be made."""
        return tuple(m for m in self.measurements if m.passed is None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One plain sentence or two for every broken bound."""
        return tuple(m.warning for m in self.failed)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in head.json."""
        return {"passed": self.passed, "measurements": [m.to_dict() for m in self.measurements]}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> QualityReport:
        """What ``to_dict`` gave.

        Raises:
            ResultsError: the record is not a quality report.
        """
        try:
            return QualityReport(tuple(Measurement.from_dict(m) for m in record["measurements"]))
        except (KeyError, TypeError) as error:
            raise ResultsError(
                f"The quality report in head.json is not readable ({error!r}); make the head anew."
            ) from error

    def __str__(self) -> str:
        """A table for the terminal, then the warnings."""
        rows = [
            (
                {True: "ok", False: "WARN", None: "-"}[m.passed],
                m.title,
                number(m),
                f"{SIGN[m.direction]} {m.threshold:g}",
            )
            for m in self.measurements
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        ]
        lines += [f"! {warning}" for warning in self.warnings]
        lines += [f"- {m.title}: {m.reason}" for m in self.unmeasured]
        return "\n".join(lines)


def number(measurement: Measurement) -> str:
    """The value with its unit, as a person reads it."""
    if measurement.value is None:
        return "not measured"
    value = float(measurement.value)
    digits = 3
    # 0.8496 against a bound of 0.85 must not read 0.85.
    while digits < 9 and float(f"{value:.{digits}g}") == measurement.threshold != value:
        digits += 1
    text = f"{value:.0f}" if value.is_integer() else f"{value:.{digits}g}"
    return f"{text} {measurement.unit}".rstrip()
