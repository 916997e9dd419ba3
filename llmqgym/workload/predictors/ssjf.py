"""SSJF: the measured channel of a BERT classifier of output length, five classes."""

from __future__ import annotations

from llmqgym.workload.predictors.channel import Channel

#: BERT-base on prompts of LMSYS-Chat-1M, answers of Vicuna-13B of at most 511 tokens, 85,482 requests of SSJF
#: (Qiu et al., arXiv 2404.08509; github.com/James-QiuHaoran/LLM-serving-with-proxy-models, Apache-2.0).
#: `within` is what `fit_within` gives, to 0.02.
SSJF = Channel(
    edges=(42, 141, 294, 503),
    shares=(0.257, 0.5028, 0.7508, 0.9908),
    confusion=(
        (0.7941, 0.1545, 0.0305, 0.0166, 0.0042),
        (0.1485, 0.5676, 0.1974, 0.0768, 0.0098),
        (0.0302, 0.2137, 0.4558, 0.2788, 0.0215),
        (0.0133, 0.0702, 0.2543, 0.5906, 0.0716),
        (0.0177, 0.0544, 0.1608, 0.5177, 0.2494),
    ),
    mean_tokens=(35.6, 120.9, 228.2, 314.3, 342.1),
    within=0.3,
)
