# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Puts a drawn plate into a street picture, in perspective, under bad light and through a poor camera."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .render import FlatPlate
from .render_furniture import Plane

SCENE_SHAPE = (128, 256)  # px, height and width of a stored scene
SCENE_MARGIN = 0.45  # of the plate's box, on every side


@dataclass(frozen=True, slots=True)
class Scene:
    """A plate with its surroundings: `image` uint8 SCENE_SHAPE, `corners` (4, 2) TL TR BR BL in 0..1 of it."""

    image: NDArray[np.uint8]
    corners: NDArray[np.float32]
    text: str
    two_rows: bool


def wipe_serial(design: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Artwork (grey) with the strokes in its serial band closed over, to serve as a background."""
    height = design.shape[0]
    top, bottom = int(height * 0.22), int(height * 0.82)
    band = design[top:bottom]
    kernel = np.ones((17, 17), np.uint8)
    dark_strokes = band.mean() < np.median(band)
    op = cv2.MORPH_CLOSE if dark_strokes else cv2.MORPH_OPEN
    wiped = cv2.GaussianBlur(cv2.morphologyEx(band, op, kernel), (0, 0), 4)
    result = design.copy()
    result[top:bottom] = wiped
    return result


def plate_quad(rng: np.random.Generator, aspect: float, hard: float) -> NDArray[np.float64]:
    """Corners (4, 2) of a plate of unit width seen from a random direction, centred on 0."""
    yaw = np.deg2rad(rng.normal(0, 22) * hard)
    pitch = np.deg2rad(rng.normal(0, 14) * hard)
    roll = np.deg2rad(rng.normal(0, 6 if rng.random() < 0.85 else 14) * (0.3 + 0.7 * hard))
    yaw, pitch = float(np.clip(yaw, -1.05, 1.05)), float(np.clip(pitch, -0.8, 0.8))
    half = np.array([0.5, 0.5 / aspect])
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    points = np.column_stack([flat, np.zeros(4)])
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    points = points @ turn.T
    distance = rng.uniform(2.2, 10)
    seen = points[:, :2] / (1 + points[:, 2:] / distance)
    cr, sr = np.cos(roll), np.sin(roll)
    seen = seen @ np.array([[cr, -sr], [sr, cr]]).T
    shear = rng.normal(0, 0.05) * hard
    seen[:, 1] += seen[:, 0] * shear
    if rng.random() < 0.2:  # pictures squeezed to a square, as some sources are
        seen[:, 0] *= rng.uniform(0.6, 0.9)
    return np.asarray(seen, np.float64)


def _light(rng: np.random.Generator, plane: Plane, hard: float) -> Plane:
    """Shadows, a lamp's glare and the falloff of light over the plate."""
    height, width = plane.shape
    light = np.ones((height, width), np.float32)
    if rng.random() < 0.25 * hard:
        x0, x1 = rng.uniform(-0.2, 1.2, 2) * width
        shadow = np.zeros((height, width), np.uint8)
        side = width * 2 if rng.random() < 0.5 else -width * 2
        outline = np.array([[x0, 0], [x1, height], [side, height], [side, 0]])
        if rng.random() < 0.5:
            y0, y1 = rng.uniform(0, 0.8, 2) * height
            outline = np.array([[0, y0], [width, y1], [width, -height], [0, -height]])
        cv2.fillPoly(shadow, [outline.astype(np.int32)], 255)
        soft = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(0.8, 8)).astype(np.float32) / 255
        light -= soft * np.float32(rng.uniform(0.2, 0.65))
    if rng.random() < 0.2 * hard:
        yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
        distance = np.hypot((xx / width - rng.random()) * 2, yy / height - rng.uniform(-0.2, 0.6))
        light += np.exp(-((distance / rng.uniform(0.25, 0.8)) ** 2)).astype(np.float32) * np.float32(
            rng.uniform(0.2, 0.9)
        )
    return np.asarray(plane * light, np.float32)


def _street_patch(rng: np.random.Generator, street: NDArray[np.uint8], shape: tuple[int, int]) -> Plane:
    """A random piece of `street` resized to `shape`, 0..1."""
    height, width = shape
    zoom = rng.uniform(0.7, 2.5)
    h, w = min(street.shape[0], int(height * zoom)), min(street.shape[1], int(width * zoom))
    y, x = int(rng.integers(street.shape[0] - h + 1)), int(rng.integers(street.shape[1] - w + 1))
    piece = cv2.resize(street[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(piece.astype(np.float32) / 255, np.float32)


def _camera(rng: np.random.Generator, picture: Plane, hard: float, width_px: float) -> NDArray[np.uint8]:
    """Blur, exposure, noise and JPEG, all in the pixels of the original picture."""
    soft = rng.uniform(0, 1.1 if width_px < 90 else 1.8) * hard * (1.0 if rng.random() < 0.6 else 0.3)
    if soft > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), soft).astype(np.float32)
    if rng.random() < 0.18 * hard:
        length = int(rng.integers(2, 3 + max(2, int(width_px / 28))))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        middle = (length - 1) / 2
        dx, dy = np.cos(angle) * middle, np.sin(angle) * middle
        start, end = (round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy))
        cv2.line(kernel, start, end, 1.0, 1)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.float32)
    gain = rng.uniform(0.6, 1.25)
    if rng.random() < 0.25 * hard:
        gain = rng.uniform(0.2, 0.55)
    elif rng.random() < 0.15:
        gain = rng.uniform(1.25, 1.6)
    picture = np.clip(picture, 0, 2) ** np.float32(rng.uniform(0.6, 1.6)) * np.float32(gain)
    picture = picture + np.float32(rng.uniform(0, 0.12))
    if rng.random() < 0.5:
        noise = rng.normal(
            0, rng.uniform(0.004, 0.04 * hard + 0.01) * min(1.0, gain * 1.2), picture.shape
        ).astype(np.float32)
        if rng.random() < 0.4:
            noise = cv2.GaussianBlur(noise, (0, 0), 0.7).astype(np.float32)
        picture = picture + noise
    image = np.clip(picture * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.integers(25, 95))
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done:
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return image


def _paste(
    rng: np.random.Generator, ground: Plane, plate: FlatPlate, quad: NDArray[np.float64], hard: float
) -> Plane:
    """`ground` with the plate warped onto `quad` (pixels), a dark holder behind it now and then."""
    wide = float(np.linalg.norm(quad[1] - quad[0]))
    scale = min(1.0, wide * 1.15 / plate.grey.shape[1])
    size = (max(16, int(plate.grey.shape[1] * scale)), max(8, int(plate.grey.shape[0] * scale)))
    plane = cv2.resize(plate.grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    plane = _light(rng, plane, hard)
    shape = (ground.shape[1], ground.shape[0])
    if rng.random() < 0.5:  # holder, recess or bumper around the plate
        grown = quad.mean(0) + (quad - quad.mean(0)) * rng.uniform(1.03, 1.5, (1, 2))
        cv2.fillPoly(
            ground, [np.round(grown * 16).astype(np.int32)], float(rng.uniform(0, 0.9)), cv2.LINE_AA, 4
        )
        ground = cv2.GaussianBlur(ground, (0, 0), rng.uniform(0.4, 1.5)).astype(np.float32)
    source = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(source, quad.astype(np.float32))
    warped = cv2.warpPerspective(
        plane, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    cover = np.zeros(ground.shape, np.uint8)
    cv2.fillPoly(cover, [np.round(quad * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha = (cover / 255.0).astype(np.float32)
    return np.asarray(ground + (warped.astype(np.float32) - ground) * alpha, np.float32)


def _occlude(rng: np.random.Generator, picture: Plane, quad: NDArray[np.float64]) -> None:
    """A tow ball or a bar in front of the plate's rim, seldom."""
    low, high = quad.min(0), quad.max(0)
    if rng.random() < 0.04:
        x = int(rng.uniform(low[0], high[0]))
        cv2.circle(
            picture, (x, int(high[1])), max(2, int((high[1] - low[1]) * 0.13)), float(rng.uniform(0, 1)), -1
        )


def make_scene(
    rng: np.random.Generator, plate: FlatPlate, street: NDArray[np.uint8], level: float = 1.0
) -> Scene:
    """One scene of `plate` before a piece of `street` (grey uint8); `level` 0 is easy, 1 as hard as the road."""
    aspect = plate.grey.shape[1] / plate.grey.shape[0]
    quad = plate_quad(rng, aspect, level)
    small = 45 if level > 0.5 else 90
    width_px = float(np.exp(rng.uniform(np.log(small), np.log(300)))) * (1.15 if aspect > 3 else 1.0)
    quad = quad * width_px
    low, high = quad.min(0), quad.max(0)
    box = high - low
    origin = low - box * SCENE_MARGIN
    size = np.ceil(box * (1 + 2 * SCENE_MARGIN)).astype(int)
    shape = (int(size[1]), int(size[0]))
    ground = _street_patch(rng, street, shape)
    picture = _paste(rng, ground, plate, quad - origin, level)
    _occlude(rng, picture, quad - origin)
    image = _camera(rng, picture, level, width_px)
    method = cv2.INTER_AREA if shape[1] > SCENE_SHAPE[1] else cv2.INTER_LINEAR
    stored = np.asarray(cv2.resize(image, SCENE_SHAPE[::-1], interpolation=method), np.uint8)
    corners = ((quad - origin) / size).astype(np.float32)
    return Scene(stored, corners, plate.text, plate.two_rows)
