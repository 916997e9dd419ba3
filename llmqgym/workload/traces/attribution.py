"""Whom to name when results from a public trace are shown."""

from __future__ import annotations

AZURE = "Azure LLM inference traces (2023: Patel et al., Splitwise, ISCA'24; 2024: DynamoLLM, HPCA'25), CC-BY-4.0"
BURSTGPT = "BurstGPT (Wang et al., arXiv 2401.17644), CC-BY-4.0"
MOONCAKE = "Mooncake (Qin et al., FAST'25), Apache-2.0"
QWEN = "Qwen Bailian usage traces (Wang et al., arXiv 2506.02634), Apache-2.0"
SERVEGEN = "ServeGen (arXiv 2505.09999), Apache-2.0"
VIDUR = "Vidur (Agrawal et al., MLSys'24), MIT"
VLLM = "recorded from the vLLM v1 scheduler"
UNKNOWN = "not recorded: see where the file came from"

#: Files of the normalised form that are known by the beginning of their name.
BY_FILE_NAME = {
    "azure": AZURE,
    "burstgpt": BURSTGPT,
    "mooncake": MOONCAKE,
    "qwen": QWEN,
    "servegen": SERVEGEN,
    "sharegpt8k": VIDUR,
    "arxiv_summ": VIDUR,
}


def of_file(stem: str) -> str:
    """The attribution of a normalised file by its name.

    >>> of_file("servegen_mlarge_1h")
    'ServeGen (arXiv 2505.09999), Apache-2.0'
    """
    return next((text for prefix, text in BY_FILE_NAME.items() if stem.lower().startswith(prefix)), UNKNOWN)
