"""What a document calls, as those who store it say it: `REFERENCE=NAME@DIGEST`. Pure."""

import re
from collections.abc import Iterable

from app.errors import Invalid
from app.workflows.definitions.models import Pin

MOST_PINS = 100
# The longest reference, name and digest fit.
LONGEST_PIN = 480
# Neither a name nor a digest has one of these signs; what a document says may have all.
_PIN = re.compile(r"(?s)(?P<reference>.+)=(?P<name>[A-Za-z][A-Za-z0-9_.-]{0,99})@(?P<digest>sha256:[0-9a-f]{64})")


def pin_text(pin: Pin) -> str:
    return f"{pin.reference}={pin.name}@{pin.digest}"


def pins_of(texts: Iterable[str]) -> tuple[Pin, ...]:
    """Raises `Invalid` for one that is none, and for two of one reference."""
    pins: dict[str, Pin] = {}
    for text in texts:
        found = _PIN.fullmatch(text)
        if found is None:
            fix = "write REFERENCE=NAME@DIGEST, as in delivery/design.yaml=design@sha256:..."
            raise Invalid(f"{text!r} is no part: {fix}", field="part")
        pin = Pin(**found.groupdict())
        if pin.reference in pins:
            raise Invalid(f"the part {pin.reference!r} is given twice; give one version of it", field="part")
        pins[pin.reference] = pin
    return tuple(pins.values())
