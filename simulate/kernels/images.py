"""Whole images: rays traced row by row, light gathered, averaged and blurred, without a pause in between.

One call renders a batch. A group of profiles is a matrix with one profile per row and offsets: image i owns
the rows [offsets[i], offsets[i + 1]). Several bands of a system share its rays: of B bands, band b of
system i owns the lights [offsets[i B + b], offsets[i B + b + 1]). `simulate.engines.fused` fills them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulate.kernels import cored, deflections, single, tnfw
from simulate.kernels.blur import blur
from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.deflections import CHAIN_NEAR
from simulate.kernels.light import add_image, add_sersic

Matrix = NDArray[np.float64]
Offsets = NDArray[np.int64]


class Group(NamedTuple):
    """Profiles of one kind."""

    rows: Matrix
    offsets: Offsets


class Scene(NamedTuple):
    """All profiles of a batch, by kind."""

    shears: Group
    isothermals: Group
    power_laws: Group
    power_law_series: Matrix
    points: Group
    lines: Group
    halos: Group
    cored_halos: Group
    sources: Group
    pictured: Group
    pictures: NDArray[np.float32]
    lens_lights: Group


class Camera(NamedTuple):
    """Where rays start and how each band gathers them: fine grid, weights of one axis (see `blur`)."""

    fine_positions: NDArray[np.float64]
    factor: int
    weights: Matrix
    reaches: Offsets
    pixel_area: float


@kernel
def render(
    scene: Any, camera: Any, halo_table: Any, tabulated: Any, singly: Any, first: Any, alpha: Any, images: Any
) -> None:
    """Images of the systems from `first` on, band by band, as many as `images` (rows, n, n) has room for.

    `tabulated` halos come from `halo_table`, those with cores from cubics of their own; `singly` sums point
    masses in single precision. `alpha` (rows, 2, fine n, fine n) keeps by how much rays were deflected, of as
    many images as it has room for.
    """
    x, weights, reaches = camera.fine_positions, camera.weights, camera.reaches
    size, bands = x.size, weights.shape[0]
    beta_x, beta_y, level = np.empty(size), np.empty(size), np.empty(size)
    fine, padded = np.empty((bands * size, size)), np.empty(size + weights.shape[1])
    room = min(_most(scene.halos.offsets), tnfw.MOST_TABULATED) if tabulated else 0
    cubics, held = np.empty((room, 4, tnfw.INTERVALS)), np.zeros(room, np.bool_)
    cored_room = min(_most(scene.cored_halos.offsets), tnfw.MOST_TABULATED) if tabulated else 0
    cored_cubics, cored_held = np.empty((cored_room, 4, tnfw.INTERVALS)), np.zeros(cored_room, np.bool_)
    chain = np.empty((3, _most_chained(scene.lines.rows, scene.lines.offsets)))
    prepared = np.empty((3, _most(scene.points.offsets) if singly else 0), np.float32)
    pull_x, pull_y = np.empty(size, np.float32), np.empty(size, np.float32)
    columns = np.empty(size, np.float32)
    # out of the tuples once: numba counts references whenever it takes something out of one
    shears, shears_at = scene.shears.rows, scene.shears.offsets
    isothermals, isothermals_at = scene.isothermals.rows, scene.isothermals.offsets
    power_laws, power_laws_at = scene.power_laws.rows, scene.power_laws.offsets
    series = scene.power_law_series
    points, points_at = scene.points.rows, scene.points.offsets
    lines, lines_at = scene.lines.rows, scene.lines.offsets
    halos, halos_at = scene.halos.rows, scene.halos.offsets
    cored_halos, cored_at = scene.cored_halos.rows, scene.cored_halos.offsets
    sources, sources_at = scene.sources.rows, scene.sources.offsets
    pictured, pictured_at, pictures = scene.pictured.rows, scene.pictured.offsets, scene.pictures
    lens_lights, lens_lights_at = scene.lens_lights.rows, scene.lens_lights.offsets
    for place in range(images.shape[0] // bands):
        row = first + place
        if tabulated:
            _look_up_halos(halos, halos_at[row], halos_at[row + 1], x, halo_table, cubics, held)
            _tabulate_cored(cored_halos, cored_at[row], cored_at[row + 1], x, cored_cubics, cored_held)
        _spell_out(lines, lines_at[row], lines_at[row + 1], chain)
        some, more = points_at[row], points_at[row + 1]
        if singly:
            single.prepare(x, points, some, more, prepared)
        for j in range(size):
            y = x[j]
            for i in range(size):
                beta_x[i] = x[i]
                beta_y[i] = y
                level[i] = y
            for k in range(shears_at[row], shears_at[row + 1]):
                deflections.subtract_shear(x, y, beta_x, beta_y, shears, k)
            for k in range(isothermals_at[row], isothermals_at[row + 1]):
                deflections.subtract_sie(x, y, beta_x, beta_y, isothermals, k)
            for k in range(power_laws_at[row], power_laws_at[row + 1]):
                deflections.subtract_epl(x, y, beta_x, beta_y, power_laws, series, k)
            if singly:
                single.subtract_points(
                    x, y, beta_x, beta_y, points, some, more, prepared, pull_x, pull_y, columns
                )
            else:
                deflections.subtract_points(x, y, beta_x, beta_y, points, some, more, 0, size)
            at = 0
            for k in range(lines_at[row], lines_at[row + 1]):
                count = int(lines[k, 6])
                if count == 0:
                    deflections.subtract_line(x, y, beta_x, beta_y, lines, k)
                    continue
                left, right = _columns_near(x, y, lines, k)
                deflections.subtract_far_chain(x, y, beta_x, beta_y, lines, k, 0, left)
                deflections.subtract_far_chain(x, y, beta_x, beta_y, lines, k, right, size)
                if left < right:
                    deflections.subtract_points(x, y, beta_x, beta_y, chain, at, at + count, left, right)
                at += count
            for k in range(halos_at[row], halos_at[row + 1]):
                place_in_table = k - halos_at[row]
                if place_in_table < room and held[place_in_table]:
                    tnfw.subtract_tabulated(
                        x, y, beta_x, beta_y, halos, k, cubics, place_in_table, tnfw.FLOOR2
                    )
                else:
                    tnfw.subtract_tnfw(x, y, beta_x, beta_y, halos, k)
            for k in range(cored_at[row], cored_at[row + 1]):
                place_in_table = k - cored_at[row]
                if place_in_table < cored_room and cored_held[place_in_table]:
                    tnfw.subtract_tabulated(
                        x, y, beta_x, beta_y, cored_halos, k, cored_cubics, place_in_table, cored.FLOOR2
                    )
                else:
                    cored.subtract_formula(x, y, beta_x, beta_y, cored_halos, k)
            if place < alpha.shape[0]:
                for i in range(size):
                    alpha[place, 0, j, i] = x[i] - beta_x[i]
                    alpha[place, 1, j, i] = y - beta_y[i]
            for band in range(bands):
                seen, line = row * bands + band, band * size + j
                for i in range(size):
                    fine[line, i] = 0.0
                for k in range(sources_at[seen], sources_at[seen + 1]):
                    add_sersic(beta_x, beta_y, fine, line, sources, k)
                for k in range(pictured_at[seen], pictured_at[seen + 1]):
                    add_image(beta_x, beta_y, fine, line, pictures, pictured, k)
                for k in range(lens_lights_at[seen], lens_lights_at[seen + 1]):
                    add_sersic(x, level, fine, line, lens_lights, k)
        for band in range(bands):
            one = fine[band * size : (band + 1) * size]
            to = place * bands + band
            blur(one, camera.factor, weights[band], reaches[band], padded, camera.pixel_area, images, to)


@inlined
def _look_up_halos(halos: Any, start: Any, end: Any, x: Any, table: Any, cubics: Any, held: Any) -> None:
    """Cubics of the halos that the table holds; which those are depends on nothing but halo and field."""
    for k in range(start, min(end, start + held.size)):
        nearest, farthest = _reach(x[-1], halos[k, 5], halos[k, 6], halos[k, 1])
        held[k - start] = tnfw.in_table(halos[k, 2], farthest)
        if held[k - start]:
            tnfw.interpolate(table, halos[k, 4], nearest, farthest, cubics, k - start)


@inlined
def _tabulate_cored(halos: Any, start: Any, end: Any, x: Any, cubics: Any, held: Any) -> None:
    """Cubics of the halos with cores, made for the part of each that the field sees."""
    for k in range(start, min(end, start + held.size)):
        nearest, farthest = _reach(x[-1], halos[k, 5], halos[k, 6], halos[k, 1])
        held[k - start] = farthest < tnfw.HIGHEST_X2
        if held[k - start]:
            cored.tabulate(halos, k, nearest, farthest, cubics, k - start)


@inlined
def _reach(edge: Any, center_x: Any, center_y: Any, inverse2: Any) -> Any:
    """Between which x^2 a field of this half-side sees a halo."""
    center_x, center_y = abs(center_x), abs(center_y)
    near_x, near_y = max(center_x - edge, 0.0), max(center_y - edge, 0.0)
    far_x, far_y = center_x + edge, center_y + edge
    return (near_x * near_x + near_y * near_y) * inverse2, (far_x * far_x + far_y * far_y) * inverse2


@inlined
def _spell_out(lines: Any, start: Any, end: Any, chain: Any) -> None:
    """The point masses that the lines of an image stand for, one line after the other.

    A row: strength, half-length, cosine, sine, centre of the continuous form; then how many points it stands
    for (0: none), their spacing and theta_E^2 of one.
    """
    at = 0
    for k in range(start, end):
        count = int(lines[k, 6])
        for n in range(count):
            along = (n - 0.5 * (count - 1)) * lines[k, 7]
            chain[0, at] = lines[k, 8]
            chain[1, at] = lines[k, 4] + along * lines[k, 2]
            chain[2, at] = lines[k, 5] + along * lines[k, 3]
            at += 1


@inlined
def _columns_near(x: Any, y: Any, lines: Any, k: Any) -> Any:
    """The columns of a row inside the box around a line; a box is convex, so they are neighbours."""
    half, cos, sin = lines[k, 1], lines[k, 2], lines[k, 3]
    center_x, center_y = lines[k, 4], lines[k, 5]
    margin = CHAIN_NEAR * lines[k, 7]
    dy = y - center_y
    first, last = _inside(cos, sin * dy, half + margin)
    other_first, other_last = _inside(-sin, cos * dy, margin)
    start, end = max(first, other_first) + center_x, min(last, other_last) + center_x
    step = x[1] - x[0]
    left = min(max((start - x[0]) / step, 0.0), float(x.size))
    right = min(max((end - x[0]) / step + 1.0, 0.0), float(x.size))
    return int(left), max(int(right) + 1 if right < x.size else x.size, int(left))


@inlined
def _inside(slope: Any, offset: Any, bound: Any) -> Any:
    """Where |slope * t + offset| <= bound."""
    if abs(slope) * 1e9 < 1.0:
        return (-1e30, 1e30) if abs(offset) <= bound else (1e30, -1e30)
    a, b = (-bound - offset) / slope, (bound - offset) / slope
    return min(a, b), max(a, b)


@inlined
def _most(offsets: Any) -> Any:
    most = 0
    for row in range(offsets.size - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    return most


@inlined
def _most_chained(lines: Any, offsets: Any) -> Any:
    most = 0
    for row in range(offsets.size - 1):
        count = 0
        for k in range(offsets[row], offsets[row + 1]):
            count += int(lines[k, 6])
        most = max(most, count)
    return most
