# SPDX-License-Identifier: Apache-2.0
"""The agency's certificate authority: ECDSA P-256, roles in the OU, pure over keys and times."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backoffice.people import TRAINING_LIFETIME_DAYS
from sync.certificates import OU_DEVICE, OU_TECHNICIAN

CA_LIFETIME = dt.timedelta(days=3650)
SERVER_LIFETIME = dt.timedelta(days=825)
CLIENT_LIFETIME = dt.timedelta(days=825)
TECHNICIAN_LIFETIME = dt.timedelta(days=TRAINING_LIFETIME_DAYS)  # devices know no list of revoked ones
BACKDATE = dt.timedelta(hours=24)  # a device whose clock is behind must still accept a fresh certificate
OU_SERVER = "server"


@dataclass(frozen=True, slots=True)
class Authority:
    """The agency CA: its certificate and its signing key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def create_authority(agency: str, now: dt.datetime) -> Authority:
    """A self-signed CA that may sign end certificates only (path length 0)."""
    key = new_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, agency[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, "Wayside agency CA"),
        ]
    )
    certificate = (
        _builder(name, name, key.public_key(), now, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue_server(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, names: Sequence[str], now: dt.datetime
) -> x509.Certificate:
    """A server certificate for host names and IP addresses."""
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return (
        _end_entity(authority, "wayside-office", OU_SERVER, public_key, now, SERVER_LIFETIME)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def issue_client(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, name: str, role: str, now: dt.datetime
) -> x509.Certificate:
    """A client certificate: CN=name, OU=role. A device's also serves its pull port."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    lifetime = TECHNICIAN_LIFETIME if role == OU_TECHNICIAN else CLIENT_LIFETIME
    if role == OU_DEVICE:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    return (
        _end_entity(authority, name, role, public_key, now, lifetime)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def host_names(certificate: x509.Certificate) -> set[str]:
    """The host names that a certificate serves under, in small letters."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {name.lower() for name in names.get_values_for_type(x509.DNSName)}


def _end_entity(
    authority: Authority,
    name: str,
    role: str,
    public_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    issuer_key = authority.key.public_key()
    return (
        _builder(subject, authority.certificate.subject, public_key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
