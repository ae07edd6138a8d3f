# SPDX-License-Identifier: Apache-2.0
"""Sealed segments, keys that can be destroyed, an outbox that survives kill -9, and an audit chain."""
