# SPDX-License-Identifier: Apache-2.0
"""Where things of the road come to lie in the picture, row by row at the row's own time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View
from drivers.sim.traffic import PLATE_H_M, PLATE_W_M, Vehicle

SHORT_S: Final = 1e-3  # over which a speed is taken
ROLLING_STEPS: Final = 2  # a row's time depends on the row, and that on the time: twice is enough for 0.1 px
POST_HALF_M: Final = 0.025
POST_HEIGHT_M: Final = 3.2
POST_OVER: Final = -1.75 / 9.0  # x over z of the post: it hides the near lane's plates 9 m away
MIN_DEPTH_M: Final = 0.4  # what is nearer to the camera's plane is not drawn
Quad = NDArray[np.float64]
Point = tuple[float, float, float]


def moving(view: View, vehicle: Vehicle, points: Sequence[Point], at_s: float) -> Quad:
    """Points (N, 3) m about the middle of a vehicle's seen end, in pixels (N, 2).

    `at_s` is when the middle row is exposed; with a rolling shutter the other rows are earlier or later.
    """
    x, z = vehicle.place(at_s)
    base = np.asarray(points, dtype=np.float64) + np.array([x, 0.0, z])
    pixels = view.project(base)
    if view.mount.rolling_s <= 0.0:
        return pixels
    later = vehicle.place(at_s + SHORT_S)
    speed = np.array([(later[0] - x) / SHORT_S, 0.0, (later[1] - z) / SHORT_S])
    for _ in range(ROLLING_STEPS):
        rows = np.clip(pixels[:, 1] / view.height, 0.0, 1.0) - 0.5
        pixels = view.project(base + np.outer(rows * view.mount.rolling_s, speed))
    return pixels


def before(view: View, vehicle: Vehicle, at_s: float) -> bool:
    """Whether a vehicle is wholly before the camera, and any of it in the picture."""
    x, z = vehicle.place(at_s)
    w, back = vehicle.body.half_w, z + vehicle.body.length
    corners = np.array(
        [[x + side * w, y, depth] for side in (-1, 1) for y in (0.0, 2.0) for depth in (z, back)]
    )
    if float(((corners - view.eye) @ view.rotation()[2]).min()) < MIN_DEPTH_M:
        return False
    pixels = view.project(corners)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return bool(high[0] > 0 and high[1] > 0 and low[0] < view.width and low[1] < view.height)


def plate_corners(view: View, vehicle: Vehicle, at_s: float) -> Quad:
    """The plate's corners in pixels: top left, top right, bottom right, bottom left."""
    y, w, h = vehicle.plate_y_m, PLATE_W_M / 2, PLATE_H_M / 2
    edges = [(-w, y + h, -0.02), (w, y + h, -0.02), (w, y - h, -0.02), (-w, y - h, -0.02)]
    return moving(view, vehicle, edges, at_s)


def outline(view: View, vehicle: Vehicle, at_s: float) -> Quad:
    """The convex hull in pixels of the vehicle's box."""
    body = vehicle.body
    corners = [
        (side * body.half_w * 0.93, y, depth)
        for side in (-1, 1)
        for y in (0.1, body.height)
        for depth in (0.0, body.length * 0.8)
    ]
    hull = cv2.convexHull(moving(view, vehicle, corners, at_s).astype(np.float32))
    return np.asarray(hull.reshape(-1, 2), dtype=np.float64)


def faces(view: View, vehicle: Vehicle, at_s: float) -> list[Quad]:
    """The vehicle's seen end and side in pixels, each convex."""
    body, x = vehicle.body, vehicle.place(at_s)[0]
    w, h, roof, back = body.half_w, body.height, body.roof_half_w, body.length
    end = [
        (-w, 0.1, 0.0),
        (-w, body.belt_y, 0.0),
        (-roof, h, 0.0),
        (roof, h, 0.0),
        (w, body.belt_y, 0.0),
        (w, 0.1, 0.0),
    ]
    side = -1.0 if x > view.mount.right_m else 1.0
    far = back - body.far_slope_m(rear=vehicle.near_lane)
    flank = [(w, 0.1, 0.0), (roof, h, 0.0), (roof, h, far), (w, body.belt_y, back), (w, 0.1, back)]
    return [
        moving(view, vehicle, end, at_s),
        moving(view, vehicle, [(side * a, b, c) for a, b, c in flank], at_s),
    ]


def post(view: View) -> Quad | None:
    """The post before the lanes in pixels, from its upper left clockwise; None where there is none."""
    z = view.mount.post_m
    if z <= 0.0:
        return None
    x = view.mount.right_m + POST_OVER * z
    low, high = x - POST_HALF_M, x + POST_HALF_M
    return view.project(
        np.array([[low, POST_HEIGHT_M, z], [high, POST_HEIGHT_M, z], [high, 0, z], [low, 0, z]])
    )
