"""Values of typed files (Parquet, Arrow, Excel, JSON) as a CSV would hold them."""

import datetime
import decimal
import json
import math

from common.console import InputError


class Written(float):
    """A number of a JSON file that keeps its spelling there: an id 1e5 is not 100000.0."""

    def __new__(cls, text: str) -> "Written":
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


def to_text(value: object, where: str) -> str:
    """Nothing for no value, a list as JSON, a date as ISO 8601, a decimal without an exponent. Raises InputError for
    bytes, which are no text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        raise InputError(f"{where}: holds bytes, expected text or a number")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
