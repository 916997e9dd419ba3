"""A viewer of one server, in one of Gymnasium's render modes."""

from __future__ import annotations

from typing import Any

from llmqgym.env.render.ansi import write_ansi
from llmqgym.env.render.axes import axes_of
from llmqgym.env.render.canvas import Canvas
from llmqgym.env.render.pen import load_pygame
from llmqgym.env.render.scene import Scene, read_scene
from llmqgym.env.render.window import Window
from llmqgym.env.render.words import say
from llmqgym.env.servers import Servers


class Viewer:
    """Looks at a server, and writes nothing there.

    `mode`: "rgb_array", "human" or "ansi"; the first two raise gymnasium's DependencyNotInstalled without pygame.
    `frames_per_s`: at most, of a human.
    """

    def __init__(self, servers: Servers, mode: str, place: int = 0, frames_per_s: float = 20.0) -> None:
        self._servers, self._mode, self._place = servers, mode, place
        self._canvas: Canvas | None = None
        self._window: Window | None = None
        if mode != "ansi":
            load_pygame()
            self._canvas = Canvas()
        if mode == "human":
            self._window = Window("llmqgym", frames_per_s)
        self._action = ""
        self._axes: tuple[int, int] | None = None

    def begin(self) -> None:
        """A new episode."""
        self._action, self._axes = "", None
        if self._canvas is not None:
            self._canvas = Canvas()

    def note(self, action: Any) -> None:
        """The action that is about to be carried out."""
        self._action = say(self._servers, self._place, action)

    def scene(self) -> Scene:
        """What is there now."""
        if self._axes is None:
            self._axes = axes_of(self._servers.simulators[self._place])
        return read_scene(self._servers, self._place, self._action, self._axes)

    def render(self) -> Any:
        """uint8 [H, W, 3], text, or None after the window has shown it."""
        scene = self.scene()
        if self._canvas is None:
            return write_ansi(scene)
        picture = self._canvas.draw(scene)
        if self._window is None:
            return picture.frame()
        self._window.show(picture.surface)
        return None

    def close(self) -> None:
        """Close the window, if there is one; twice is fine."""
        if self._window is not None:
            self._window.close()
