"""Types as JSON Schema has them, where Python's differ: `true == 1`, and 1.0 is a whole number.

Source: JSON Schema validation vocabulary 2020-12, sections 6.1.1 (type) and 6.1.3 (const).
"""

from typing import Any

from pydantic import BeforeValidator, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticKnownError


def whole(value: Any) -> Any:
    """Give a float without a fraction as an int, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_object(value: Any) -> dict[str, Any]:
    """Give an object, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


Whole = BeforeValidator(whole)
"""For an int: also where it is spelled 1.0. Bounds stand before it, or the schema loses them."""


def _exactly(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    expected = handler(value)
    if isinstance(value, bool) is not isinstance(expected, bool):
        raise PydanticKnownError("literal_error", {"expected": repr(expected)})
    return expected


Exactly = WrapValidator(_exactly)
"""For a Literal of numbers or booleans: none of them stands for the other."""
