"""Numbers as people write them."""

import math

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# beyond these a power of ten is easier to read
SMALLEST, LARGEST = 1e-3, 1e5


def spell(value: float, digits: int = 3) -> str:
    """A number with so many digits, such as `1.25`, `12,300` or `3.4×10⁻²³`."""
    if not math.isfinite(value):
        return "none"
    rounded = abs(float(f"{value:.{digits - 1}e}"))
    if value == 0 or SMALLEST <= rounded < LARGEST:
        decimals = max(digits - 1 - _decade(value, digits), 0)
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    if mantissa in ("1", "-1"):
        return power if mantissa == "1" else f"−{power}"
    return f"{mantissa}×{power}".replace("-", "−")


def _decade(value: float, digits: int) -> int:
    """The power of ten of a number as it is rounded."""
    return int(f"{value:.{digits - 1}e}".split("e")[1]) if value else 0


def with_unit(value: float, unit: str) -> str:
    """The same with its unit, if it has one."""
    return f"{spell(value)} {unit}".rstrip()


def shown_unit(unit: str) -> str:
    """A unit as it is written beside a number; columns without one have `1`."""
    return "" if unit == "1" else unit


def spell_bytes(count: int) -> str:
    """A size such as `4.6 MB`."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{spell(size)} {unit}"
