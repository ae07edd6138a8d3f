# SPDX-License-Identifier: Apache-2.0
"""Programs to be copied out and run by themselves; each is one file and imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

CHECKER = Path(__file__).with_name("verify_audit.py")
"""Checks an audit log or a chain of receipts; every export has a copy of it."""

HOLD_CHECKER = Path(__file__).with_name("verify_hold.py")
"""Checks an exported legal hold."""
