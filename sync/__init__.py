# SPDX-License-Identifier: Apache-2.0
"""The wire: record formats, hot lists and matching, uploads, and the device's pull service."""
