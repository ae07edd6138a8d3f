# SPDX-License-Identifier: Apache-2.0
"""Which video device is the configured camera: a USB camera that was pulled out can come back under another number.

What the kernel and udev say of it: /sys/class/video4linux/videoN/{name,index,device} and the links in /dev/v4l.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structlog import get_logger

from drivers.errors import CameraLost

SYSFS: Final = Path("/sys/class/video4linux")
DEV: Final = Path("/dev")
MAX_NAME: Final = 64  # characters of a card's name that are told

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A device node that gives pictures; `stable` is a name that it keeps, empty when udev made none."""

    path: Path
    card: str
    usb: bool
    stable: str


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:MAX_NAME]
    except OSError:
        return ""


def _stable(node: Path, dev: Path) -> str:
    for folder in ("by-id", "by-path"):
        links = dev / "v4l" / folder
        for link in sorted(links.iterdir()) if links.is_dir() else []:
            if link.resolve() == node.resolve():
                return str(link)
    return ""


def cameras(sysfs: Path = SYSFS, dev: Path = DEV) -> list[VideoDevice]:
    """The nodes with index 0 (a USB camera's others carry metadata), by number."""
    found = []
    for entry in sysfs.iterdir() if sysfs.is_dir() else []:
        node = dev / entry.name
        if _read(entry / "index") == "0" and node.exists():
            usb = "/usb" in str((entry / "device").resolve())
            found.append(VideoDevice(node, _read(entry / "name"), usb, _stable(node, dev)))
    return sorted(found, key=lambda device: (len(device.path.name), device.path.name))


def find(device: str, card: str, *, sysfs: Path = SYSFS, dev: Path = DEV) -> Path:
    """The node to open: by the card's name, else by `device`, else the only USB camera there is. Raises CameraLost."""
    there = cameras(sysfs, dev)
    if card:
        named = [camera.path for camera in there if camera.card == card]
        if len(named) == 1:
            return named[0]
        many = "several cameras are" if named else "no camera is"
        raise CameraLost(f"{many} called {card!r}; {_told(there)}")
    if Path(device).exists():
        return Path(device)
    usb = [camera.path for camera in there if camera.usb]
    if len(usb) == 1 and Path(device).name.startswith("video"):
        log.warning("camera_moved", device=device, found=str(usb[0]))
        return usb[0]
    raise CameraLost(f"there is no {device}; check the cable; {_told(there)}")


def _told(there: list[VideoDevice]) -> str:
    if not there:
        return "no camera is plugged in"
    return "there are: " + ", ".join(f"{camera.card!r} at {camera.stable or camera.path}" for camera in there)
