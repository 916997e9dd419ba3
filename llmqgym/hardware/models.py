"""Dense models by their published shapes (config.json): parameters, weight bytes and KV bytes follow from them."""

from __future__ import annotations

from typing import NamedTuple

from llmqgym.errors import unknown

#: Bytes of a number in each precision; embeddings, LM head and activations stay in BF16.
BYTES = {"bf16": 2, "fp8": 1}
BF16_BYTES = BYTES["bf16"]


class Model(NamedTuple):
    """A decoder with grouped-query attention and a gated feed-forward block, embeddings not tied."""

    name: str
    published: str  #: the name it is published under
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  #: width of the feed-forward block
    vocabulary: int
    max_context_tokens: int

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer: attention (q, k, v, out), feed-forward (gate, up, down), two norms."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        return attention + 3 * self.hidden * self.ffn + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Weights of the LM head, and as many of the input embedding."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights. Biases are left out (Qwen2.5: less than 0.01 %).

        >>> MODELS["llama-3-8b"].parameters
        8030261248
        """
        return self.layers * self.layer_parameters + 2 * self.embedding_parameters + self.hidden

    def weight_bytes(self, precision: str = "bf16") -> int:
        """Bytes of all weights; `precision` is that of the layers."""
        layers = self.layers * self.layer_parameters
        return layers * BYTES[precision] + (self.parameters - layers) * BF16_BYTES

    def kv_bytes_per_token(self, precision: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of KV cache a token holds, over all GPUs; a GPU holds at least one KV head of each layer.

        >>> MODELS["llama-3-70b"].kv_bytes_per_token()
        327680
        """
        return 2 * self.layers * max(self.kv_heads, tensor_parallel) * self.head_dim * BYTES[precision]

    def lm_head_bytes(self, tensor_parallel: int) -> float:
        """Bytes of the LM head on one GPU."""
        return self.embedding_parameters * BF16_BYTES / tensor_parallel


MODELS = {
    model.name: model
    for model in (
        Model("llama-2-7b", "Llama-2-7b-hf", 32, 4096, 32, 32, 128, 11008, 32_000, 4096),
        Model("llama-2-13b", "Llama-2-13b-hf", 40, 5120, 40, 40, 128, 13824, 32_000, 4096),
        Model("llama-2-70b", "Llama-2-70b-hf", 80, 8192, 64, 8, 128, 28672, 32_000, 4096),
        Model("llama-3-8b", "Meta-Llama-3-8B", 32, 4096, 32, 8, 128, 14336, 128_256, 8192),
        Model("llama-3-70b", "Meta-Llama-3-70B", 80, 8192, 64, 8, 128, 28672, 128_256, 8192),
        Model("llama-3-405b", "Llama-3.1-405B", 126, 16384, 128, 8, 128, 53248, 128_256, 131_072),
        Model("llama-3.1-8b", "Llama-3.1-8B", 32, 4096, 32, 8, 128, 14336, 128_256, 131_072),
        Model("llama-3.1-70b", "Llama-3.1-70B", 80, 8192, 64, 8, 128, 28672, 128_256, 131_072),
        Model("mistral-7b", "Mistral-7B-v0.1", 32, 4096, 32, 8, 128, 14336, 32_000, 32_768),
        Model("qwen2.5-7b", "Qwen2.5-7B", 28, 3584, 28, 4, 128, 18944, 152_064, 131_072),
        Model("qwen2.5-32b", "Qwen2.5-32B", 64, 5120, 40, 8, 128, 27648, 152_064, 131_072),
        Model("qwen2.5-72b", "Qwen2.5-72B", 80, 8192, 64, 8, 128, 29568, 152_064, 131_072),
        Model("codellama-34b", "CodeLlama-34b-hf", 48, 8192, 64, 8, 128, 22016, 32_000, 16_384),
    )
}


def find_model(name: str) -> Model:
    """The model of this name. Raises InputError naming the nearest one."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


def published_model(published: str) -> Model:
    """The model that is published under this name."""
    for model in MODELS.values():
        if model.published == published:
            return model
    raise unknown("published model", published, [model.published for model in MODELS.values()])
