# SPDX-License-Identifier: Apache-2.0
"""`python -m inference`: accuracy on a manifest, the same as `python -m inference.evaluate`."""

from __future__ import annotations

import sys

from inference.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
