"""The naive twin with prefix caching: blocks as objects, contents as tuples of what every token is, lists searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import naive


@dataclass(eq=False)
class Block:
    """A block of the KV cache; its content is None until all its tokens are known."""

    refs: int = 0
    content: tuple[Any, ...] | None = None


@dataclass(eq=False)
class Request(naive.Request):
    """A request whose first `prefix_tokens` tokens are those of its group."""

    blocks: list[Block] = field(default_factory=list)
    regained_tokens: int = 0
    hit_tokens: int = 0

    def token(self, place: int) -> tuple[Any, ...]:
        """What the token at this place is."""
        if self.prefix_group >= 0 and place < self.prefix_tokens:
            return ("group", self.prefix_group)
        if place < self.prompt_tokens:
            return ("prompt", self.id)
        return ("answer", self.id, self.num_preemptions[1])


class Simulator(naive.Simulator):
    """The twin that finds blocks again, as vLLM does."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.empty: list[Block] = [Block() for _ in range(self.server.num_kv_blocks)]  # taken from the front
        self.queue: list[Block] = []  # free blocks with a content, least recently used first
        self.known: list[Block] = []  # all blocks with a content, in the order in which they got it
        self.hit_tokens = self.regained_tokens = 0

    def content(self, request: Request, index: int) -> tuple[Any, ...]:
        """All tokens up to the end of a block: a block is the same only after the same beginning."""
        size = self.server.block_size
        return tuple(request.token(place) for place in range((index + 1) * size))

    def found(self, request: Request) -> list[Block]:
        """The blocks that a request about to enter could share."""
        if request.computed_tokens > 0:
            return []
        blocks: list[Block] = []
        for index in range((request.num_tokens - 1) // self.server.block_size):
            content = self.content(request, index)
            same = [block for block in self.known if block.content == content]
            if not same:
                break
            blocks.append(same[0])
        return blocks

    def findable_tokens(self, request: Request) -> int:
        return len(self.found(request)) * self.server.block_size

    def wanted_tokens(self, request: Request) -> int:
        hit = len(self.found(request)) * self.server.block_size if request.status == "waiting" else 0
        request.computed_tokens += hit
        wanted = super().wanted_tokens(request)
        request.computed_tokens -= hit
        return wanted

    def lacking_blocks(self, request: Request, n: int, decodes: list[naive.Request]) -> int:
        found = self.found(request)
        hit = len(found) * self.server.block_size
        request.computed_tokens += hit
        request.kv_blocks += len(found)
        self.free_blocks -= sum(block.refs == 0 for block in found)
        lack = super().lacking_blocks(request, n, decodes)
        request.computed_tokens -= hit
        request.kv_blocks -= len(found)
        self.free_blocks += sum(block.refs == 0 for block in found)
        return lack

    def use_cache(self, request: Request) -> None:
        if request.computed_tokens > 0:
            return
        for block in self.found(request):
            if block.refs == 0:
                self.queue.remove(block)
                self.free_blocks -= 1
            block.refs += 1
            request.blocks.append(block)
            request.kv_blocks += 1
            request.computed_tokens += self.server.block_size
        if request.computed_tokens > 0:
            self.hits.append([request.id, request.computed_tokens])
        regained = min(request.computed_tokens, request.lost_tokens)
        for who in (self, request):
            who.hit_tokens += request.computed_tokens
            who.regained_tokens += regained
            who.lost_tokens -= regained

    def schedule(self, request: Request, n: int) -> None:
        super().schedule(request, n)
        while len(request.blocks) < request.kv_blocks:
            block = self.empty.pop(0) if self.empty else self.queue.pop(0)
            if block.content is not None:
                self.known.remove(block)
                block.content = None
            block.refs = 1
            request.blocks.append(block)
        for index in range((request.computed_tokens + n) // self.server.block_size):
            block = request.blocks[index]
            if block.content is None:
                block.content = self.content(request, index)
                self.known.append(block)

    def release_blocks(self, request: Request, blocks: int) -> None:
        super().release_blocks(request, blocks)
        for _ in range(blocks):
            block = request.blocks.pop()
            block.refs -= 1
            if block.refs > 0:
                self.free_blocks -= 1
            elif block.content is None:
                self.empty.insert(0, block)
            else:
                self.queue.append(block)

    def check_blocks(self) -> None:
        here = self.running + self.waiting
        distinct = {id(block) for request in here for block in request.blocks}
        assert len(distinct) + self.free_blocks == self.server.num_kv_blocks
        assert self.free_blocks == len(self.empty) + len(self.queue)
        assert all(len(request.blocks) == request.kv_blocks for request in here)
        self.check_shape()

    def computed_by_passes(self) -> int:
        """Of the tokens in the cache those that a pass has computed for their request."""
        return super().computed_by_passes() - (self.hit_tokens - self.regained_tokens)
