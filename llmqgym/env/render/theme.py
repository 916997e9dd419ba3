"""How the picture looks: colours that tell apart for the colour-blind too, and in grey."""

from __future__ import annotations

import math

Colour = tuple[int, int, int]

PAPER: Colour = (255, 255, 255)
INK: Colour = (26, 32, 44)
SOFT: Colour = (113, 122, 138)  # labels
FAINT: Colour = (228, 231, 236)  # rules, empty gauges
PROMPT: Colour = (125, 135, 153)
UNCOMPUTED: Colour = (216, 220, 228)
UNKNOWN: Colour = (150, 150, 150)  # no prediction
ALERT: Colour = (213, 94, 0)  # Okabe and Ito's vermillion

#: Predicted output tokens, from short to long: ColorBrewer's YlGnBu, whose lightness falls all the way.
RAMP: tuple[Colour, ...] = ((152, 214, 180), (65, 182, 196), (34, 120, 181), (37, 52, 148))
RAMP_TOKENS = (32, 1024)
#: How much paper is in the colour of tokens that are predicted only.
PALE = 0.68


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with `share` of another."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def colour_of(predicted_output_tokens: float) -> Colour:
    """Of a predicted length, on a logarithmic scale.

    >>> colour_of(10.0) == RAMP[0], colour_of(5000.0) == RAMP[-1], colour_of(float("nan")) == UNKNOWN
    (True, True, True)
    """
    if math.isnan(predicted_output_tokens):
        return UNKNOWN
    low, high = RAMP_TOKENS
    tokens = min(max(predicted_output_tokens, low), high)
    at = math.log(tokens / low) / math.log(high / low) * (len(RAMP) - 1)
    step = min(int(at), len(RAMP) - 2)
    return mix(RAMP[step], RAMP[step + 1], at - step)


def tint(colour: Colour, pale: float = PALE) -> Colour:
    """Its pale sister: what is predicted and not there yet."""
    return mix(colour, PAPER, pale)
