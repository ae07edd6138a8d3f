# SPDX-License-Identifier: Apache-2.0
"""The hardware-in-the-loop rig: one suite that runs on simulated hardware and on iron (docs/rig.md)."""
