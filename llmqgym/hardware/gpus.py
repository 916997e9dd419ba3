"""GPUs by their public specifications: what the roofline and the KV capacity of a made profile start from."""

from __future__ import annotations

from typing import NamedTuple

from llmqgym.errors import unknown

#: Usable bandwidth of a host link of 16 lanes, each way, in bytes/s; on the wire it is 32e9 and 64e9.
PCIE_4, PCIE_5 = 25e9, 50e9


class Gpu(NamedTuple):
    """One GPU: dense rates (without sparsity), decimal bytes as on the data sheet, bandwidths each way."""

    name: str
    bf16_flops: float  #: FLOP/s with FP32 accumulation
    fp8_flops: float | None  #: None: FP8 weights are multiplied at the BF16 rate
    memory_bytes: float
    memory_bytes_per_s: float
    peer_bytes_per_s: float  #: to the other GPUs of the server: NVLink, Infinity Fabric or PCIe
    peer_is_mesh: bool  #: the bandwidth above is to each peer (point-to-point links), not to all of them together
    link_bytes_per_s: float  #: to the host, usable
    tables: str  #: AIConfigurator's name for it; empty where it has no tables
    source: str


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100", 312e12, None, 80e9, 2.039e12, 300e9, False, PCIE_4, "a100_sxm", "NVIDIA A100 80GB SXM data sheet"),
        Gpu("h100", 989.5e12, 1979e12, 80e9, 3.35e12, 450e9, False, PCIE_5, "h100_sxm", "NVIDIA H100 SXM data sheet"),
        Gpu("h200", 989.5e12, 1979e12, 141e9, 4.8e12, 450e9, False, PCIE_5, "h200_sxm", "NVIDIA H200 SXM data sheet"),
        Gpu("b200", 2.25e15, 4.5e15, 180e9, 8e12, 900e9, False, PCIE_5, "b200_sxm", "NVIDIA DGX B200 data sheet, 1/8"),
        Gpu("l40s", 362.05e12, 733e12, 48e9, 864e9, PCIE_4, False, PCIE_4, "l40s", "NVIDIA L40S data sheet"),
        Gpu("a10", 125e12, None, 24e9, 600e9, PCIE_4, False, PCIE_4, "", "NVIDIA A10 data sheet"),
        Gpu("rtx-4090", 165.2e12, 330.3e12, 24e9, 1.008e12, PCIE_4, False, PCIE_4, "", "NVIDIA Ada whitepaper, app. A"),
        Gpu("mi300x", 1307.4e12, 2614.9e12, 192e9, 5.3e12, 64e9, True, PCIE_5, "", "AMD Instinct MI300X data sheet"),
    )
}  # fmt: skip


def find_gpu(name: str) -> Gpu:
    """The GPU of this name. Raises InputError naming the nearest one.

    >>> find_gpu("h200").memory_bytes
    141000000000.0
    """
    if name not in GPUS:
        raise unknown("gpu", name, GPUS)
    return GPUS[name]
