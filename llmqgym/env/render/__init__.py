"""Pictures of a server: what is to be seen (scene), as text (ansi), as pixels (canvas), on a screen (window).

Everything here reads; rendering an episode changes nothing in it.
"""

from llmqgym.env.render.viewer import Viewer

__all__ = ["Viewer"]
