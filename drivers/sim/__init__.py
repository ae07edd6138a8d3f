# SPDX-License-Identifier: Apache-2.0
"""A simulated roadside: a seeded world that passes vehicles before a camera, and the devices of its pole."""
