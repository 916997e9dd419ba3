"""The printed tables of mean responses (reference/queueing.md 3.3, 3.4, 3.6, 3.7 and 7), as data.

Mean responses in mean jobs as they are printed; `formulas` and `textbook` hold the closed forms and the simulated queue
against them. A policy is a spec of llmqgym.textbook.TWINS; a threshold that is not given is the best one.
"""

from __future__ import annotations

from dataclasses import dataclass

EXP, WEIB = "exponential", "weibull:shape=0.5"
EXPO, PERFECT = "exponential", "perfect"


@dataclass(frozen=True)
class Cell:
    """A law of sizes, a load, a predictor and a policy; the mean response as printed, and in which table."""

    law: str
    load: float
    predictor: str
    policy: str
    printed: str
    table: str

    @property
    def value(self) -> float:
        """What is printed."""
        return float(self.printed)

    @property
    def rounding(self) -> float:
        """Half of the last digit printed."""
        return 0.5 * 10.0 ** -len(self.printed.partition(".")[2])

    @property
    def name(self) -> str:
        """For a list."""
        law = "exp" if self.law == EXP else "weib"
        predictor = "" if self.predictor == PERFECT else f", {self.predictor}"
        return f"{self.policy}: {law}, load {self.load:g}{predictor}"

    @property
    def tolerance(self) -> float:
        """Of a simulation, as a share: stated for exponential sizes, 5 % elsewhere."""
        return {0.5: 0.005, 0.7: 0.02, 0.8: 0.02}.get(self.load, 0.05) if self.law == EXP else 0.05


def _canonical() -> list[Cell]:
    policies = ("fcfs", "sjf", "spjf", "psjf", "pspjf", "srpt", "sprpt")
    rows = [
        (EXP, 0.5, "2.0000 1.7127 1.7948 1.5314 1.6636 1.4254 1.6583"),
        (EXP, 0.8, "5.0000 2.8822 3.3757 2.6589 3.1944 2.3529 3.1376"),
        (EXP, 0.9, "10.0000 4.1969 5.3609 4.0518 5.2236 3.5525 5.0987"),
        (WEIB, 0.5, "4.0000 2.7866 2.9218 1.4920 1.6445 1.4102 1.9420"),
        (WEIB, 0.8, "13.0000 4.6493 5.3184 2.4620 3.0164 2.2183 3.5199"),
    ]
    cells = [
        Cell(law, load, EXPO, policy, printed, "3.7 canonical")
        for law, load, row in rows
        for policy, printed in zip(policies, row.split(), strict=True)
    ]
    blind = [(0.5, "1.8216"), (0.8, "3.9531")]
    return cells + [Cell(WEIB, load, EXPO, "las", printed, "3.7 canonical") for load, printed in blind]


def _noise() -> list[Cell]:
    rows = [
        (EXP, 0.25, "2.9427 2.7257 2.4708"),
        (EXP, 0.5, "3.0805 2.8772 2.7118"),
        (EXP, 1, "3.3885 3.2149 3.1648"),
        (EXP, 1.5, "3.6440 3.4951 3.4889"),
        (EXP, 2, "3.8403 3.7109 3.7209"),
        (WEIB, 0.25, "4.6975 2.5005 2.3539"),
        (WEIB, 0.5, "4.8320 2.6105 2.6311"),
        (WEIB, 1, "5.2679 2.9858 3.2828"),
        (WEIB, 1.5, "5.7968 3.4679 3.9113"),
        (WEIB, 2, "6.3297 3.9738 4.4803"),
    ]
    return [
        Cell(law, 0.8, f"lognormal:sigma={sigma:g}", policy, printed, "3.7 lognormal noise")
        for law, sigma, row in rows
        for policy, printed in zip(("spjf", "pspjf", "sprpt"), row.split(), strict=True)
    ]


def _bias() -> list[Cell]:
    rows = [(EXP, "2.651 2.485 2.374 2.353 2.371 2.451 2.549"), (WEIB, "3.586 2.826 2.316 2.218 2.246 2.322 2.392")]
    return [
        Cell(law, 0.8, f"bias:k={k:g}", "sprpt", printed, "3.7 bias")
        for law, row in rows
        for k, printed in zip((0.25, 0.5, 0.8, 1, 1.25, 2, 4), row.split(), strict=True)
    ]


def _limited_preemption() -> list[Cell]:
    rows = [
        (0.8, EXPO, {0: "3.3757", 0.2: "3.1942", 0.5: "3.1596", 0.8: "3.1429", 1: "3.1375"}),
        (0.7, "lognormal:sigma=0.5", {0: "2.4099", 0.5: "2.1265", 0.8: "2.1000", 1: "2.0950"}),
        (0.9, PERFECT, {0: "4.1973", 0.2: "3.8921", 0.5: "3.6403", 0.8: "3.5588", 1: "3.5525"}),
    ]
    return [
        Cell(EXP, load, predictor, f"trail:cutoff={cutoff:g}", printed, "3.7 limited preemption")
        for load, predictor, row in rows
        for cutoff, printed in row.items()
    ]


def _one_bit() -> list[Cell]:
    rows = [
        (EXP, 0.5, PERFECT, "one-bit-true:variant=no-preemption", "1.7822"),
        (EXP, 0.8, PERFECT, "one-bit-true:variant=no-preemption", "3.3285"),
        (EXP, 0.9, PERFECT, "one-bit-true:variant=no-preemption", "5.2837"),
        (EXP, 0.5, PERFECT, "one-bit-true:variant=front", "1.5644"),
        (EXP, 0.8, PERFECT, "one-bit-true:variant=front", "2.9107"),
        (EXP, 0.9, PERFECT, "one-bit-true:variant=front", "4.7596"),
        (EXP, 0.5, EXPO, "one-bit:variant=front", "1.6971"),
        (EXP, 0.8, EXPO, "one-bit:variant=front", "3.4513"),
        (EXP, 0.9, EXPO, "one-bit:variant=front", "5.9630"),
        (WEIB, 0.8, PERFECT, "one-bit-true:variant=front", "2.9550"),
        (WEIB, 0.8, EXPO, "one-bit:variant=front", "3.4851"),
        (EXP, 0.8, EXPO, "one-bit:variant=no-preemption", "3.761"),
    ]
    return [Cell(*row, "3.7 one bit") for row in rows]


def _others() -> list[Cell]:
    uniform = [(EXP, 0.5, "1.4755"), (EXP, 0.7, "1.9758"), (EXP, 0.8, "2.5089"), (EXP, 0.9, "3.8500")]
    uniform += [(WEIB, 0.8, "2.423")]
    skip = [(0.9, PERFECT, 1, "3.6098"), (0.9, EXPO, 2, "5.4270"), (0.8, EXPO, 1, "3.1907")]
    return [Cell(law, load, "uniform:a=0.5", "sprpt", printed, "3.7 uniform") for law, load, printed in uniform] + [
        Cell(EXP, load, predictor, f"skip-predict:threshold={threshold}", printed, "3.7 SkipPredict")
        for load, predictor, threshold, printed in skip
    ]


#: Cells with a closed form, those of one queue together.
CELLS = tuple(
    sorted(
        _canonical() + _noise() + _bias() + _limited_preemption() + _one_bit() + _others(),
        key=lambda cell: (cell.law, cell.load, cell.predictor),
    )
)
#: SPRPT with bounce has been simulated only, there with 2e7 jobs.
BOUNCE = tuple(
    Cell(law, 0.8, predictor, "sprpt-bounce", printed, "3.7 bounce")
    for law, predictor, printed in [
        (EXP, EXPO, "3.117"),
        (EXP, "lognormal:sigma=1", "3.152"),
        (WEIB, EXPO, "2.986"),
        (WEIB, "lognormal:sigma=1", "2.987"),
        (WEIB, "uniform:a=0.5", "2.371"),
    ]
)
#: Preemptions a job, exponential sizes and predictions at load 0.8, by TRAIL's cutoff.
PREEMPTIONS = {0.2: 0.130, 0.5: 0.267, 0.8: 0.325, 1.0: 0.337}
#: Best thresholds (law, load, predictor, variant, threshold), and how uncertain the coarse grid leaves each.
THRESHOLDS = (
    (EXP, 0.5, PERFECT, "no-preemption", 1.279, 0.002),
    (EXP, 0.8, PERFECT, "no-preemption", 1.717, 0.002),
    (EXP, 0.9, PERFECT, "no-preemption", 2.100, 0.002),
    (EXP, 0.5, EXPO, "front", 0.920, 0.03),
    (EXP, 0.8, EXPO, "front", 1.461, 0.03),
    (EXP, 0.9, EXPO, "front", 2.035, 0.05),
    (WEIB, 0.8, PERFECT, "front", 5.07, 0.02),
    (WEIB, 0.8, EXPO, "front", 5.41, 0.03),
)
#: Flipped true bits at the best threshold (law, load, share of the long called short, mean response; with as many jobs
#: of the short called long instead).
FLIPPED = ((WEIB, 0.8, 0.1, 3.041, 3.040), (WEIB, 0.8, 0.5, 3.534, 3.374), (EXP, 0.9, 0.5, 5.727, 5.520))
#: Power of two choices: mean response of many exponential FCFS servers, by load.
POWER_OF_TWO = {0.5: 1.2657, 0.7: 1.6145, 0.8: 1.9474, 0.9: 2.6141, 0.95: 3.3830, 0.99: 5.4320}
#: SPRPT over SRPT, exponential sizes and predictions, by load.
PRICE = {0.8: 1.333, 0.99: 1.640}
#: Share of jobs that SkipPredict calls long, and what it adds to SPRPT; exponential, load 0.8, threshold 1.
SKIP_LONG, SKIP_GAP = 0.280, 0.053
