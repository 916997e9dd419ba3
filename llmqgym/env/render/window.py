"""A window on the screen that shows frame after frame, as fast as is asked for."""

from __future__ import annotations

from typing import Any

from llmqgym.env.render.pen import load_pygame


class Window:
    """pygame's window, of which a process has one; opened by the first frame. Works without a screen where
    SDL_VIDEODRIVER is "dummy". A copy begins closed."""

    def __init__(self, title: str, frames_per_s: float) -> None:
        self._title, self._frames_per_s = title, frames_per_s
        self._screen: Any = None
        self._clock: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_screen": None, "_clock": None}

    def show(self, surface: Any) -> None:
        """Show a picture, and wait until the next may follow."""
        pygame = load_pygame()
        if self._screen is None:
            pygame.display.init()
            self._screen = pygame.display.set_mode(surface.get_size())
            pygame.display.set_caption(self._title)
            self._clock = pygame.time.Clock()
        self._screen.blit(surface, (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._frames_per_s)

    def close(self) -> None:
        """Close it; twice is fine."""
        if self._screen is not None:
            load_pygame().display.quit()
            self._screen = None
