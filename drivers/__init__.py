# SPDX-License-Identifier: Apache-2.0
"""Hardware behind small ports: one adapter a file, and a simulated roadside."""
