"""Every predictor by name: a literal table, so that listing it imports nothing.

A new predictor is one class in one of the files beside this one, and one line here.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from typing import Any, cast

from llmqgym.errors import unknown
from llmqgym.specs import build, parse_spec
from llmqgym.workload.predictors.predictor import Predictor


@dataclass(frozen=True)
class Entry:
    """Where a predictor is made, and what the list says of it: x is the true output length."""

    module: str
    maker: str
    summary: str
    source: str

    def load(self) -> type[Predictor]:
        """The predictor's class."""
        module = import_module(f"llmqgym.workload.predictors.{self.module}")
        return cast("type[Predictor]", getattr(module, self.maker))

    def settings(self) -> list[str]:
        """Its own settings as `name=default`, or `name` where one must be given."""
        own = [setting for setting in fields(self.load()) if setting.name not in _COMMON]
        return [_setting(setting) for setting in own]


def _setting(setting: Field[Any]) -> str:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return setting.name if default is None or default is MISSING else f"{setting.name}={default}"


_COMMON = {setting.name for setting in fields(Predictor)}
#: What every predictor takes beside its own settings.
COMMON_SETTINGS = [_setting(setting) for setting in fields(Predictor)]
_THEORY = "Mitzenmacher & Shahout, arXiv 2503.07545"

PREDICTORS: dict[str, Entry] = {
    "none": Entry("exact", "NoPrediction", "no prediction", ""),
    "perfect": Entry("exact", "Perfect", "x", ""),
    "bias": Entry("exact", "Bias", "k x", _THEORY),
    "lognormal": Entry("noise", "Lognormal", "x exp(sigma N(0, 1))", _THEORY),
    "exponential": Entry("noise", "Exponential", "exponential with mean x", _THEORY),
    "uniform": Entry("noise", "Uniform", "x U[1 - a, 1 + a]", _THEORY),
    "student": Entry(
        "noise",
        "Student",
        "x exp(scale t_df): another answer to the same prompt",
        "Vicuna-7B answers, Sequence-Scheduling",
    ),
    "contaminated": Entry(
        "noise",
        "Contaminated",
        "x + N(offset, sd), a share of requests wide as student",
        "RoBERTa of vidur_opt_scheduler",
    ),
    "one_bit": Entry("one_bit", "OneBit", "0 short, threshold long, flipped with a chance", _THEORY),
    "bins": Entry("bins", "Bins", "mean length of a predicted class, by a confusion matrix", "SSJF, arXiv 2404.08509"),
    "interval": Entry("interval", "Interval", "bounds low c, high c with c = x / U[low, high]", "arXiv 2508.14544"),
    "refreshing": Entry(
        "refreshing",
        "Refreshing",
        "an estimate from the prompt, and a new one of what remains every few tokens",
        "TRAIL, arXiv 2410.01035",
    ),
    "rank": Entry("rank", "Rank", "score in (0, 1) with Kendall tau to x", "LTR, arXiv 2408.15792"),
}


def make_predictor(spec: str) -> Predictor:
    """The predictor of a spec, NAME:k=v,.. Raises InputError for an unknown name, setting, or value out of bounds."""
    name, _ = parse_spec(spec)
    if name not in PREDICTORS:
        raise unknown("predictor", name, PREDICTORS)
    return cast(Predictor, build("predictor", spec, {name: PREDICTORS[name].load()}))
