"""The colours of states in drawings: pale ones that dark text is read on."""

FILLS = {
    "succeeded": "#d7f0d7",
    "tolerated": "#f7ecc8",
    "exhausted": "#f7ecc8",
    "skipped": "#eeeeee",
    "blocked": "#eeeeee",
    "failed": "#f6d0d0",
    "cancelled": "#e0d7ee",
    "running": "#d3e6f8",
    "waiting": "#fce3c4",
}
