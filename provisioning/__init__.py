# SPDX-License-Identifier: Apache-2.0
"""Device identity, enrolment, and the technician's link over the USB serial port."""
