# SPDX-License-Identifier: Apache-2.0
"""Certificates of the people who go to the devices: OU=technician, checked by the device over the cable."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backoffice import ca, keys
from backoffice.errors import BadRequest
from backoffice.office import Office
from storage.types import is_id
from sync.certificates import MAX_CSR_BYTES, OU_TECHNICIAN, fingerprint, subject_of


def certify(office: Office, name: str, csr: bytes) -> tuple[bytes, str]:
    """Issue a technician's certificate: (PEM, key fingerprint). BadRequest unless the request is theirs."""
    key = _requested_key(name, csr)
    when = dt.datetime.fromtimestamp(office.clock() / 1e6, dt.UTC)
    certificate = ca.issue_client(keys.load_authority(office.layout), key, name, OU_TECHNICIAN, when)
    return certificate.public_bytes(serialization.Encoding.PEM), fingerprint(key)


def _requested_key(name: str, csr: bytes) -> ec.EllipticCurvePublicKey:
    if not is_id(name):
        raise BadRequest("a technician's name in a certificate has 1 to 64 of a-z, 0-9 and '-'")
    if len(csr) > MAX_CSR_BYTES:
        raise BadRequest(f"the request is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        genuine = request.is_signature_valid
        named = subject_of(request.subject)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadRequest("not a PEM certificate request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("the request needs a P-256 key")
    if not genuine or named != (name, OU_TECHNICIAN):
        raise BadRequest(f"the request must be signed by its own key and name CN={name}, OU={OU_TECHNICIAN}")
    return key
