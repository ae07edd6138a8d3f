# SPDX-License-Identifier: Apache-2.0
"""Finds and reads plates: pictures in, texts with probabilities out; pure over arrays."""
