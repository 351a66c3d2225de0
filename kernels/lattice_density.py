"""Density of a tri-grid on a regular lattice, exactly, at the nodes near one level only. Under meshing.

The decoder's first layer, the mean over the planes and the trilinear look-up are linear, so the layer is folded into
the planes. On a lattice each folded plane is then interpolated once to the nodes along its two axes, and the hidden
vector of a node is a sum of six rows: two neighbouring slices of each of the three planes. What is left for each node
is one softplus of that sum and one dot product.

Most nodes are far from the level. Blocks of nodes are bounded from the extremes of their rows: softplus grows, so the
extremes of the hidden vector bound the density. Blocks that may hold the level are split and bounded again, and what
is left is evaluated. A bound holds whatever is in the tri-grid: nothing that every node would show is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .trigrid import AXES, DecoderWeights, Rows, neighbours, to_rows

BLOCK = 4  # nodes along the side of the smallest blocks
_BLOCKS = (16, 8, BLOCK)  # the sides of the blocks that are bounded, each twice the next
_ROUNDING = 1e-5  # of the largest sum that can occur: some 160 roundings of 2^-24
_CLOSING = 2e-3  # of the level: nearer than this to it, a node's density places the face that closes a box's side
_DENSE_SHARE = 0.5  # with more than this share of blocks left, evaluating every node in slabs is faster
_BLOCKS_AT_ONCE = 1 << 12
_TILE = (32, 16, 128)  # nodes of the tiles in which every node is evaluated


class Maps(NamedTuple):
    """A tri-grid and its decoder laid out for one lattice, whose sides are filled up to whole blocks."""

    shape: tuple[int, int, int]  # nodes; those beyond the lattice repeat its last ones
    table: torch.Tensor  # (rows, H): what each plane adds to the hidden vector; plane, slice, and its two axes
    slices: tuple[torch.Tensor, ...]  # for each world axis (n, 2) int32: the two slices around each node
    shares: tuple[torch.Tensor, ...]  # for each world axis (n, 2): their weights
    bias: torch.Tensor  # (H,) of the hidden vector
    weight: torch.Tensor  # (H,) of the density
    offset: torch.Tensor  # () of the density
    places: tuple[torch.Tensor, ...]  # for each world axis (n,): in slices
    depth: int

    def planes(self) -> list[torch.Tensor]:
        """The table as 3 x (slices, A, B, H)."""
        return _as_planes(self.table, self.shape, self.depth)


def lattice_density(
    trigrid: torch.Tensor | Rows,
    weights: DecoderWeights,
    origin: Sequence[float] | torch.Tensor,
    spacing: float,
    shape: Sequence[int],
    *,
    level: float,
    depth: int = 3,
    box_warp: float = 1.0,
    skip: bool = True,
) -> tuple[torch.Tensor, float]:
    """The raw density at the nodes ``origin + spacing * (i, j, k)``.

    Every node in which an edge of the lattice ends that crosses ``level`` holds its own density, as ``sample_trigrid``
    gives it for the same points in single precision, up to rounding. Other nodes may hold a stand-in: a bound of the
    density of their block, which lies on the same side of the level as they do.

    Args:
        trigrid: (3, F * depth, R, R), the channel of a plane is feature * depth + slice; or its rows.
        weights: of the decoder.
        origin: (3,) of the first node, world units.
        spacing: of the nodes, world units.
        shape: nodes along x, y and z.
        level: the density at the surface.
        depth: slices of a plane; rows know theirs.
        box_warp: side in world units of the cube that the planes span.
        skip: False evaluates every node.

    Returns:
        (X, Y, Z) float32, and the share of the nodes that were evaluated.
    """
    sizes = (int(shape[0]), int(shape[1]), int(shape[2]))
    maps = fold(trigrid, weights, origin, spacing, sizes, depth=depth, box_warp=box_warp)
    if skip:
        state = _Blocks(maps, level)
        if state.search():
            return state.evaluate(sizes)
    values = torch.empty(sizes, dtype=torch.float32, device=maps.table.device)
    _every_node(maps, values)
    return values, 1.0


def fold(
    trigrid: torch.Tensor | Rows,
    weights: DecoderWeights,
    origin: Sequence[float] | torch.Tensor,
    spacing: float,
    shape: Sequence[int],
    *,
    depth: int = 3,
    box_warp: float = 1.0,
) -> Maps:
    """The decoder's first layer folded into the planes, and these interpolated to the nodes; as ``lattice_density``."""
    cells = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid[None], depth=depth)
    depth, size, device = cells.slices, cells.size, cells.table.device
    filled = _filled(shape)
    start = torch.as_tensor(origin, dtype=torch.float32, device=device)
    across, slices, shares, places = [], [], [], []
    for axis in range(3):
        node = torch.arange(filled[axis], device=device).clamp(max=int(shape[axis]) - 1)
        grid = (start[axis] + spacing * node) * (2 / box_warp)  # as who asks ``sample_trigrid`` about points
        across.append(neighbours(grid, size))
        at, share = neighbours(grid, depth)
        slices.append(at)
        shares.append(share)
        places.append(((grid + 1) * depth - 1) * 0.5)
    folded = cells.table @ (weights.weight0 / 3).T  # (cells, H); a third, for the mean over the planes
    index, weight = [], []
    for plane, (a, b, _) in enumerate(AXES):  # a plane's width and height
        (column, left), (row, top) = across[a], across[b]
        slice_at = (torch.arange(depth, dtype=torch.int32, device=device) + plane * depth) * size
        row_at = (slice_at[:, None, None] + row) * size  # (S, B, 2)
        index.append((row_at[:, None, :, :, None] + column[:, None, None, :]).view(-1, 4))  # (S, A, B, 2, 2)
        corner = top[:, :, None] * left[:, None, None, :]  # (A, B, 2, 2)
        weight.append(corner.expand(depth, -1, -1, -1, -1).reshape(-1, 4))
    table = F.embedding_bag(torch.cat(index), folded, mode="sum", per_sample_weights=torch.cat(weight))
    density = weights.weight1[0].contiguous()
    return Maps(
        filled, table, tuple(slices), tuple(shares), weights.bias0, density, weights.bias1[0], tuple(places), depth
    )


class _Blocks:
    """The search for the blocks that may hold the level, and their evaluation."""

    def __init__(self, maps: Maps, level: float) -> None:
        self.maps = maps
        self.level = level
        self.device = maps.table.device
        self.counts = tuple(n // BLOCK for n in maps.shape)
        # What stands in for the nodes of a block; NaN where it has to be evaluated.
        self.standing = torch.full(self.counts, torch.nan, device=self.device)
        self.pyramid = _pyramid(maps)
        # On a stand-in nothing but its side may matter; a mesh that is closed at the box's sides looks this far.
        self.margin = _ROUNDING * _largest_sum(maps, self.pyramid[_BLOCKS[0]]) + _CLOSING * abs(level)

    def search(self) -> bool:
        """Bounds all blocks, from large ones to small ones. False when it is not worth it: most would be left."""
        first = [torch.arange(n // _BLOCKS[0], device=self.device) for n in self.maps.shape]
        blocks = torch.cartesian_prod(*first)  # (n, 3)
        for side in _BLOCKS:
            low, high = _bounds(self.maps, self.pyramid[side], blocks, side)
            below, above = high < self.level - self.margin, low > self.level + self.margin
            if side == _BLOCKS[0]:
                some = blocks[~(below | above)]
                some = _children(some[:: max(1, len(some) // 512)], _BLOCKS[0] // BLOCK)
                found = _bounds(self.maps, self.pyramid[BLOCK], some, BLOCK)
                left = ((found[1] >= self.level - self.margin) & (found[0] <= self.level + self.margin)).float()
                share = float(left.mean()) * float((~(below | above)).float().mean()) if len(some) else 0.0
                if share > _DENSE_SHARE:
                    return False
            self._stand(blocks[below], high[below], side)
            self._stand(blocks[above], low[above], side)
            blocks = blocks[~(below | above)]
            if side != BLOCK:
                blocks = _children(blocks, 2)
        return True

    def evaluate(self, sizes: tuple[int, int, int]) -> tuple[torch.Tensor, float]:
        """The densities, cropped to the lattice."""
        self._split_opposites()
        shape = self.maps.shape
        values = torch.empty(shape, dtype=torch.float32, device=self.device)
        tiles = values.view(self.counts[0], BLOCK, self.counts[1], BLOCK, self.counts[2], BLOCK)
        lines = self.standing.repeat_interleave(BLOCK, dim=2)  # whole lines along z are written faster than blocks
        values.view(self.counts[0], BLOCK, self.counts[1], BLOCK, -1).copy_(lines[:, None, :, None])
        tiles = tiles.permute(0, 2, 4, 1, 3, 5)
        asked = 0
        blocks = torch.nonzero(self.standing.isnan())
        sides = torch.tensor(sizes, device=self.device)
        while len(blocks):
            doubtful = []
            for some in blocks.split(_BLOCKS_AT_ONCE // 4):
                density = _evaluate(self.maps, some)
                tiles[some.unbind(1)] = density
                doubtful.append(self._touched(some, density))
            self.standing[blocks.unbind(1)] = torch.nan
            asked += int((sides - blocks * BLOCK).clamp(0, BLOCK).prod(1).sum())
            blocks = torch.cat(doubtful).unique(dim=0)
        return values[: sizes[0], : sizes[1], : sizes[2]], asked / max(1, sizes[0] * sizes[1] * sizes[2])

    def _stand(self, blocks: torch.Tensor, values: torch.Tensor, side: int) -> None:
        """Let ``values`` (n,) stand in for the nodes of blocks (n, 3) of ``side`` nodes."""
        ratio = side // BLOCK
        coarse = [n // ratio for n in self.counts]
        view = self.standing.view(coarse[0], ratio, coarse[1], ratio, coarse[2], ratio).permute(0, 2, 4, 1, 3, 5)
        view[blocks.unbind(1)] = values[:, None, None, None]

    def _split_opposites(self) -> None:
        """Evaluate neighbours whose stand-ins lie on both sides of the level: their common edges cross it."""
        for axis in range(3):
            one = self.standing.narrow(axis, 0, self.counts[axis] - 1)
            other = self.standing.narrow(axis, 1, self.counts[axis] - 1)
            crossed = ((one < self.level) & (other > self.level)) | ((one > self.level) & (other < self.level))
            if crossed.any():
                one[crossed] = torch.nan
                other[crossed] = torch.nan

    def _touched(self, blocks: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
        """The neighbours (n, 3) that are not evaluated, though an edge crosses the level between them and a block.

        Args:
            blocks: (n, 3) that were evaluated.
            density: (n, BLOCK, BLOCK, BLOCK) of their nodes.
        """
        inside = density > self.level
        touched = []
        for axis in range(3):
            for at, way in ((0, -1), (BLOCK - 1, 1)):
                neighbour = blocks.clone()
                neighbour[:, axis] += way
                there = (neighbour[:, axis] >= 0) & (neighbour[:, axis] < self.counts[axis])
                neighbour, face = neighbour[there], inside[there].select(axis + 1, at).flatten(1)
                standing = self.standing[neighbour.unbind(1)]
                crossed = torch.where(standing > self.level, ~face.all(1), face.any(1)) & ~standing.isnan()
                touched.append(neighbour[crossed])
        return torch.cat(touched)


def _evaluate(maps: Maps, blocks: torch.Tensor) -> torch.Tensor:
    """The density (n, BLOCK, BLOCK, BLOCK) of the nodes of blocks (n, 3)."""
    within = torch.arange(BLOCK, device=blocks.device)
    nodes = [blocks[:, axis, None] * BLOCK + within for axis in range(3)]  # 3 x (n, BLOCK)
    count = len(blocks)
    index = torch.empty(count, BLOCK, BLOCK, BLOCK, 6, dtype=torch.int32, device=blocks.device)
    share = torch.empty(count, BLOCK, BLOCK, BLOCK, 6, device=blocks.device)
    first = 0
    for plane, (a, b, deep) in enumerate(AXES):
        cells = maps.shape[a] * maps.shape[b]
        flat = _along(nodes[a] * maps.shape[b], a) + _along(nodes[b], b)
        at = maps.slices[deep][nodes[deep]] * cells + first
        columns = slice(2 * plane, 2 * plane + 2)
        torch.add(flat.to(torch.int32), _along(at, deep), out=index[..., columns])
        share[..., columns] = _along(maps.shares[deep][nodes[deep]], deep)
        first += cells * maps.depth
    hidden = F.embedding_bag(index.view(-1, 6), maps.table, mode="sum", per_sample_weights=share.view(-1, 6))
    return _density(maps, hidden.add_(maps.bias)).view(count, BLOCK, BLOCK, BLOCK)


def _along(values: torch.Tensor, axis: int) -> torch.Tensor:
    """(n, BLOCK) or (n, BLOCK, 2) set along one of the axes of (n, BLOCK, BLOCK, BLOCK, 1 or 2)."""
    count, nodes = values.shape[:2]
    shape = [count, 1, 1, 1, values.shape[2] if values.ndim == 3 else 1]
    shape[1 + axis] = nodes
    return values.reshape(shape)


def _density(maps: Maps, hidden: torch.Tensor) -> torch.Tensor:
    """The rest of the decoder, the hidden vectors (n, H) to (n,); they are used up."""
    torch.ops.aten.softplus.out(hidden, 1, 20, out=hidden)  # in place, which F.softplus is not
    return torch.addmv(maps.offset, hidden, maps.weight)


def _pyramid(maps: Maps) -> dict[int, torch.Tensor]:
    """For each side of blocks (rows, 2 H): the most that a block of a plane's slice adds towards a high density, and
    the most towards a low one: minus the least. Rows as in the table, of blocks instead of nodes.
    """
    up = maps.weight >= 0
    levels: dict[int, list[torch.Tensor]] = {side: [] for side in _BLOCKS}
    for plane in maps.planes():
        parts = []
        for some in plane.split(_BLOCKS[0], dim=1):  # few rows at once, which stay in the cache
            most, least = _pool(some, BLOCK, torch.maximum), _pool(some, BLOCK, torch.minimum)
            parts.append(torch.cat([torch.where(up, most, -least), torch.where(up, -least, most)], dim=-1))
        extremes = torch.cat(parts, dim=1)
        for side in reversed(_BLOCKS):
            if side > BLOCK:
                extremes = _pool(extremes, 2, torch.maximum)
            levels[side].append(extremes.flatten(0, 2))
    return {side: torch.cat(parts) for side, parts in levels.items()}


def _pool(values: torch.Tensor, ratio: int, pick: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """(S, A, B, H) to (S, A / ratio, B / ratio, H)."""
    while ratio > 1:
        values = pick(values[:, ::2], values[:, 1::2])
        values = pick(values[:, :, ::2], values[:, :, 1::2])
        ratio //= 2
    return values


def _bounds(maps: Maps, extremes: torch.Tensor, blocks: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A low and a high bound (n,) of the density at the nodes of blocks (n, 3) of ``side`` nodes."""
    counts = [n // side for n in maps.shape]
    marks = [_marks(maps, axis, side) for axis in range(3)]
    sign = torch.where(maps.weight >= 0, 1.0, -1.0)
    low, high = (torch.empty(len(blocks), device=blocks.device) for _ in range(2))
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        some = blocks[start : start + _BLOCKS_AT_ONCE]
        reach, first = torch.zeros(1, device=blocks.device), 0
        for a, b, deep in AXES:
            at, share = marks[deep]
            number = some[:, deep]
            cells = counts[a] * counts[b]
            flat = some[:, a] * counts[b] + some[:, b] + first
            index = flat.to(torch.int32)[:, None, None] + at[number] * cells  # (n, T, 2)
            found = F.embedding_bag(
                index.view(-1, 2), extremes, mode="sum", per_sample_weights=share[number].view(-1, 2)
            )
            reach = reach + reduce(torch.maximum, found.view(len(some), at.shape[1], -1).unbind(1))  # amax is slow here
            first += cells * maps.depth
        most, least = reach.chunk(2, dim=1)  # (n, H)
        high[start : start + len(some)] = _density(maps, torch.addcmul(maps.bias, most, sign))
        low[start : start + len(some)] = _density(maps, torch.addcmul(maps.bias, least, sign, value=-1))
    return low, high


def _marks(maps: Maps, axis: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Between which places along an axis the slices' weights are linear in every block: its ends, and slices within.

    Returns:
        (blocks, T, 2) int32 slices and their weights; what one block has fewer of is repeated.
    """
    place = maps.places[axis].view(-1, side)
    low, high = place.amin(1), place.amax(1)
    ends = [0, side - 1]
    at = maps.slices[axis].view(-1, side, 2)[:, ends]  # (blocks, 2, 2)
    share = maps.shares[axis].view(-1, side, 2)[:, ends]
    for number in range(-1, maps.depth + 1):
        within = (low < number) & (number < high)
        if not within.any():
            continue
        there = 0 <= number < maps.depth  # beyond the last slices there is nothing
        more_at, more_share = at[:, :1].clone(), share[:, :1].clone()
        more_at[within] = min(max(number, 0), maps.depth - 1)
        more_share[within] = torch.tensor([float(there), 0.0], device=share.device)
        at, share = torch.cat([at, more_at], 1), torch.cat([share, more_share], 1)
    return at, share


def _children(blocks: torch.Tensor, ratio: int) -> torch.Tensor:
    """The ratio^3 smaller blocks (n * ratio^3, 3) in blocks (n, 3)."""
    within = torch.cartesian_prod(*[torch.arange(ratio, device=blocks.device)] * 3)
    return (blocks[:, None] * ratio + within).view(-1, 3)


def _largest_sum(maps: Maps, extremes: torch.Tensor) -> float:
    """No sum on the way to a density is larger than this; from the extremes (rows, 2 H) of blocks of any side."""
    high, low = extremes.amax(0).clamp_min(0).chunk(2)
    return float(maps.offset.abs() + maps.weight.abs() @ (maps.bias.abs() + 1 + 3 * torch.maximum(high, low)))


def _every_node(maps: Maps, values: torch.Tensor) -> None:
    """Evaluate every node into ``values`` (X, Y, Z), in tiles whose hidden vectors stay in the cache."""
    flat, front, side = maps.planes()  # (S, x, y, H), (S, x, z, H), (S, y, z, H)
    hats = [_hats(maps, axis) for axis in range(3)]  # (n, S)
    # The bias is one more slice of the first plane, whose weight is 1 everywhere.
    hats[2] = torch.cat([hats[2], torch.ones_like(hats[2][:, :1])], dim=1)
    sizes, width, depth = values.shape, maps.table.shape[1], maps.depth
    for (x0, x1), (y0, y1), (z0, z1) in product(*(_spans(n, tile) for n, tile in zip(sizes, _TILE, strict=True))):
        tall, deep = y1 - y0, z1 - z0
        hidden = values.new_empty(tall, deep, width)
        row, lines = hidden.view(1, -1), hidden.view(tall, -1)
        below = torch.cat([flat[:, x0:x1, y0:y1], maps.bias.expand(1, x1 - x0, tall, width)]).permute(1, 2, 0, 3)
        before = front[:, x0:x1, z0:z1].transpose(0, 1).reshape(x1 - x0, depth, -1)
        beside = side[:, y0:y1, z0:z1].reshape(depth, -1)
        along_z = hats[2][z0:z1].expand(tall, -1, -1)  # (tall, deep, S + 1)
        for i in range(x1 - x0):
            torch.mm(hats[0][x0 + i : x0 + i + 1], beside, out=row)
            lines.addmm_(hats[1][y0:y1], before[i])
            hidden.baddbmm_(along_z, below[i])
            values[x0 + i, y0:y1, z0:z1] = _density(maps, hidden.view(-1, width)).view(tall, deep)


def _spans(count: int, step: int) -> list[tuple[int, int]]:
    """The numbers from 0 to ``count`` in runs of ``step``, each its first and its last plus one."""
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def _hats(maps: Maps, axis: int) -> torch.Tensor:
    """(n, S) the weight of every slice at the nodes along an axis."""
    at, share = maps.slices[axis].long(), maps.shares[axis]
    return torch.zeros(len(at), maps.depth, device=share.device).scatter_add_(1, at, share)


def _filled(shape: Sequence[int]) -> tuple[int, int, int]:
    """The lattice's sides, filled up to whole blocks of the largest kind."""
    x, y, z = (-(-int(n) // _BLOCKS[0]) * _BLOCKS[0] for n in shape)
    return x, y, z


def _as_planes(table: torch.Tensor, shape: Sequence[int], depth: int) -> list[torch.Tensor]:
    """Views 3 x (slices, A, B, H) of the rows."""
    counts = [depth * shape[a] * shape[b] for a, b, _ in AXES]
    parts = table.split(counts)
    return [part.view(depth, shape[a], shape[b], -1) for part, (a, b, _) in zip(parts, AXES, strict=True)]
