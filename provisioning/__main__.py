# SPDX-License-Identifier: Apache-2.0
"""`python -m provisioning`: the technician's link alone, or a local reset by someone with a shell on the device."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from provisioning.agent import ProvisionAgent
from provisioning.errors import ProvisioningError
from provisioning.identity import Identity, reset


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; 0 when stopped so, 1 when the identity folder is damaged."""
    parser = argparse.ArgumentParser(prog="python -m provisioning", description=__doc__)
    parser.add_argument("--identity", type=Path, required=True, help="the identity folder (made when absent)")
    parser.add_argument("--port", help="serial port, or pty:LINK to make a pseudo-terminal")
    parser.add_argument("--device-id", help="name of a new identity; default from the board's serial number")
    parser.add_argument("--reset", action="store_true", help="forget agency, name and key, then go on")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if options.reset:
            reset(options.identity)
        Identity.open(options.identity, options.device_id)
        if options.port:
            ProvisionAgent(options.port, options.identity).run(stop)
    except ProvisioningError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
