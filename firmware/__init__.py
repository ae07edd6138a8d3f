# SPDX-License-Identifier: Apache-2.0
"""Composes the appliance: the only package that knows all the others."""
