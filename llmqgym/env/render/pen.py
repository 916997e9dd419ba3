"""Rectangles and text on a surface of pygame's, which is imported here and nowhere else: it is an extra."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from llmqgym.env.render.theme import Colour

_FONTS = {False: "Inter-Regular.ttf", True: "Inter-SemiBold.ttf"}
#: Text is drawn so many times as large and shrunk: SDL puts every letter on a whole pixel, which looks uneven.
_FINER = 4


def load_pygame() -> Any:
    """pygame, with fonts and no sound. Raises gymnasium's DependencyNotInstalled."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise DependencyNotInstalled(
            'pygame is not installed, and pictures need it: run `pip install "llmqgym[render]"`, or take '
            'render_mode="ansi".'
        ) from error
    pygame.font.init()
    return pygame


@lru_cache
def _font(size: int, bold: bool) -> Any:
    return load_pygame().font.Font(str(Path(__file__).parent / "fonts" / _FONTS[bold]), size)


@lru_cache(maxsize=4096)
def _image(text: str, size: int, bold: bool, colour: Colour) -> Any:
    """A line of text, on nothing."""
    large = _font(size * _FINER, bold).render(text, True, colour)
    small = (-(-large.get_width() // _FINER), -(-large.get_height() // _FINER))
    return load_pygame().transform.smoothscale(large, small)


class Pen:
    """Draws on a surface of its own, of a size in pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._pygame = load_pygame()
        self.surface = self._pygame.Surface(size)

    def clear(self, colour: Colour) -> None:
        """Everything in one colour."""
        self.surface.fill(colour)

    def box(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """A filled rectangle from its upper left corner; nothing for a width of 0."""
        if width > 0 and height > 0:
            self.surface.fill(colour, (x, y, width, height))

    def dot(self, x: int, y: int, radius: int, colour: Colour) -> None:
        """A filled disc around a point."""
        self._pygame.draw.circle(self.surface, colour, (x, y), radius)

    def text(
        self,
        x: int,
        y: int,
        text: str,
        size: int,
        colour: Colour,
        *,
        bold: bool = False,
        align: Literal["left", "right", "centre"] = "left",
    ) -> int:
        """A line of text whose middle is at height y; returns its width."""
        image = _image(text, size, bold, colour)
        width = int(image.get_width())
        left = {"left": x, "right": x - width, "centre": x - width // 2}[align]
        self.surface.blit(image, (left, y - image.get_height() // 2))
        return width

    def frame(self) -> NDArray[np.uint8]:
        """What has been drawn, uint8 [height, width, 3], a copy."""
        pixels = self._pygame.surfarray.pixels3d(self.surface)
        return np.ascontiguousarray(pixels.swapaxes(0, 1))
