"""Named workloads: traffic models fitted to real traces. A new one is one entry of NAMED.

Fits of lengths and of the azure23 and mooncake arrivals: maximum likelihood on the public traces; the clients of the
reasoning workloads: shares and coefficients of variation within windows of 600 s of the ServeGen traces.
`llmqgym workload compare NAME TRACE` holds a model against its trace.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmqgym.errors import unknown
from llmqgym.workload.model import TrafficModel


@dataclass(frozen=True)
class NamedWorkload:
    """A traffic model with a name, the rate of the traffic that it was fitted to, and what it is."""

    summary: str
    rate_per_s: float
    model: TrafficModel
    trace: str = ""  # stem of the file that it was fitted to, where there is one


NAMED: dict[str, NamedWorkload] = {
    "chat": NamedWorkload(
        summary="plain chat: Poisson arrivals, lognormal lengths (no trace behind it)",
        rate_per_s=7.6,
        model=TrafficModel(
            prompt="lognormal:median=600,sigma=1.0,max=8192",
            output="lognormal:median=160,sigma=0.8,max=4096",
            source="made for examples",
        ),
    ),
    "chat_azure23": NamedWorkload(
        summary="conversations with a GPT-class service, 2023: bursty within minutes",
        rate_per_s=5.53,
        model=TrafficModel(
            arrivals="gamma:cv=1.067",
            # The trace's hour varies by 0.21, but a level that lasts for 11 minutes has no time to vary fully.
            modulation=("log_ar1:sd=0.25,phi=0.915",),
            prompt="lognormal_mixture:weights=0.4841/0.3765/0.1393,mu=5.9216/7.0023/8.1089,"
            "sigma=0.8846/0.1374/0.3385,max=14050",
            output="lognormal_mixture:weights=0.6859/0.3141,mu=4.5543/6.0338,sigma=0.6494/0.1302,max=1000",
            correlation=0.085,
            source="Azure LLM inference trace 2023, conversations (CC-BY-4.0; Patel et al., ISCA'24)",
        ),
        trace="azure23_conv",
    ),
    "chat_sharegpt": NamedWorkload(
        summary="first turns of ShareGPT: short prompts, middling outputs; arrivals assumed Poisson",
        rate_per_s=10.0,
        model=TrafficModel(
            prompt="lognormal_mixture:weights=0.7468/0.2532,mu=3.2094/6.2824,sigma=1.0191/1.0661,max=3973",
            output="lognormal_mixture:weights=0.2332/0.7668,mu=3.896/5.7998,sigma=1.1776/0.6368,max=2384",
            correlation=0.156,
            source="ShareGPT v3, first turns, Llama-2 tokens (lengths only)",
        ),
        trace="sharegpt_v3_lengths",
    ),
    "multiturn_sharegpt8k": NamedWorkload(
        summary="ShareGPT with the conversation so far as prompt, up to 8k; arrivals assumed Poisson",
        rate_per_s=3.0,
        model=TrafficModel(
            prompt="lognormal_mixture:weights=0.157/0.4417/0.4014,mu=3.8803/6.9997/8.2078,"
            "sigma=1.0304/0.8925/0.5087,max=8141",
            output="lognormal_mixture:weights=0.0114/0.2435/0.7451,mu=1.2112/4.7148/6.1768,"
            "sigma=0.488/0.9917/0.4886,max=1024",
            correlation=0.055,
            source="ShareGPT 8k of microsoft/vidur (MIT; lengths only)",
        ),
        trace="sharegpt8k_lengths",
    ),
    "long_context_kimi": NamedWorkload(
        summary="Kimi: prompts of 12k tokens on average, up to 126k",
        rate_per_s=3.4,
        model=TrafficModel(
            modulation=("log_ar1:sd=0.1,phi=0.45",),
            prompt="lognormal_mixture:weights=0.1806/0.8194,mu=6.9816/9.1236,sigma=0.2497/0.9868,max=126195",
            output="lognormal_mixture:weights=0.2977/0.7023,mu=3.8061/5.9842,sigma=1.6185/0.4214,max=2000",
            correlation=0.076,
            source="Mooncake conversation trace (Apache-2.0; FAST'25)",
        ),
        trace="mooncake_conversation",
    ),
    "summarise_arxiv": NamedWorkload(
        summary="summaries of papers: long prompts, short outputs; arrivals assumed Poisson",
        rate_per_s=3.0,
        model=TrafficModel(
            prompt="weibull:shape=2.878,scale=2855,max=4054",
            output="lognormal_mixture:weights=0.9574/0.0426,mu=5.067/7.8308,sigma=0.6073/0.3429,max=4056",
            correlation=-0.121,
            source="arXiv summarisation lengths of microsoft/vidur (MIT; lengths only)",
        ),
        trace="arxiv_summ_lengths",
    ),
    "reasoning_r1_morning": NamedWorkload(
        summary="DeepSeek-R1 in the morning: outputs of 3,000 tokens on average, one client with half of the traffic",
        rate_per_s=13.37,
        model=TrafficModel(
            arrivals="clients:num=26,zipf=4.62,shares=0.521/0.111/0.073/0.038/0.031/0.029/0.028/0.023/0.019/0.019/"
            "0.016/0.016,cvs=5.77/1.12/0.97/1.41/1.06/2.33/1.24/3.56/1.61/1.00/0.99/2.87/1.67,family=weibull,"
            "sd=0.35,phi=0.7,period_s=600",
            prompt="lognormal_mixture:weights=0.8978/0.1022,mu=4.6532/8.5631,sigma=1.189/1.0429,max=54954",
            output="lognormal_mixture:weights=0.3807/0.6193,mu=6.3479/8.1577,sigma=0.6883/0.7345,max=32768",
            source="alibaba/ServeGen, deepseek-r1 (Apache-2.0; arXiv 2505.09999)",
        ),
        trace="servegen_deepseek_r1_morning_1h",
    ),
    "reasoning_r1_evening": NamedWorkload(
        summary="DeepSeek-R1 in the evening: more requests, outputs of 730 tokens on average",
        rate_per_s=20.05,
        model=TrafficModel(
            arrivals="clients:num=35,zipf=3.48,shares=0.320/0.098/0.095/0.074/0.066/0.048/0.040/0.024/0.022/0.022/"
            "0.021/0.019,cvs=2.44/1.06/1.45/0.99/0.95/1.09/0.88/1.07/0.97/1.00/2.09/0.92/1.52,"
            "sd=0.4,phi=0.7,period_s=240",
            prompt="lognormal_mixture:weights=0.5064/0.4936,mu=5.5497/5.8997,sigma=1.9807/0.8181,max=55083",
            output="lognormal_mixture:weights=0.9697/0.0303,mu=6.1498/8.4372,sigma=0.62/0.8894,max=32768",
            source="alibaba/ServeGen, deepseek-r1 (Apache-2.0; arXiv 2505.09999)",
        ),
        trace="servegen_deepseek_r1_1h",
    ),
    "code_azure24": NamedWorkload(
        summary="code completion, 2024: long prompts, outputs of 8 tokens in the median; prompts' spread and arrivals "
        "assumed",
        rate_per_s=27.8,
        model=TrafficModel(
            # Mean 2,510, as published; sigma is assumed.
            prompt="lognormal:median=1832,sigma=0.8,max=16384",
            output="quantiles:levels=0.5/0.9/0.95/0.99,tokens=8/43/79/271,max=2000",
            source="Azure LLM inference trace 2024, code (CC-BY-4.0): published quantiles, the trace is not at hand",
        ),
    ),
    "chat_azure24": NamedWorkload(
        summary="conversations, 2024: outputs from published quantiles; prompts' spread and arrivals assumed",
        rate_per_s=45.1,
        model=TrafficModel(
            prompt="lognormal:median=1135,sigma=0.85,max=16384",
            output="quantiles:levels=0.5/0.9/0.95/0.99,tokens=41/342/455/694,max=4000",
            source="Azure LLM inference trace 2024, conversations (CC-BY-4.0): published quantiles, no trace at hand",
        ),
    ),
    "api_burstgpt": NamedWorkload(
        summary="calls of an API, bursty: outputs of 7 tokens in the median; prompts and burstiness assumed",
        rate_per_s=0.5,
        model=TrafficModel(
            arrivals="gamma:cv=2.0",
            modulation=("diurnal",),
            prompt="lognormal:median=400,sigma=1.0,max=31400",
            output="quantiles:levels=0.5/0.9/0.95/0.99/0.999,tokens=7/149/251/727/2129,max=12472",
            source="BurstGPT 1 and 2 (CC-BY-4.0; arXiv 2401.17644): published quantiles, the trace is not at hand",
        ),
    ),
}


def find_workload(name: str) -> NamedWorkload:
    """The named workload. Raises InputError for an unknown name, naming the nearest.

    >>> find_workload("chat_azure23").rate_per_s
    5.53
    """
    if name not in NAMED:
        raise unknown("workload", name, NAMED)
    return NAMED[name]
