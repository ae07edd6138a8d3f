# SPDX-License-Identifier: Apache-2.0
"""The laptop's side of the technician's link: `wayside-tech`."""
