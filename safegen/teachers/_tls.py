"""The certificates that connections trust, and the meaning of one that cannot be verified."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from safegen.core.errors import TeacherRejected

if TYPE_CHECKING:
    import ssl


class CertificateProblem(NamedTuple):
    """Why a certificate cannot be verified, and the remedy."""

    text: str
    hint: str


UNTRUSTED = CertificateProblem(
    "the certificate cannot be verified", "set `SSL_CERT_FILE` to the certificates of your network"
)
_OTHER_NAME = CertificateProblem(
    "the certificate is for another host name", "use the name of the certificate in `base_url`"
)
# The numbers of OpenSSL (x509_vfy.h): X509_V_ERR_CERT_NOT_YET_VALID and so on.
_PROBLEM_BY_CODE = {
    9: CertificateProblem("the certificate is not valid yet", "check the clock of this machine"),
    10: CertificateProblem(
        "the certificate has expired",
        "renew the certificate of the server, or check the clock of this machine",
    ),
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


def explain_certificate(error: ssl.SSLCertVerificationError) -> CertificateProblem:
    """Return why a certificate cannot be verified."""
    # An error that Python code raised has no code.
    return _PROBLEM_BY_CODE.get(getattr(error, "verify_code", 0), UNTRUSTED)


def make_tls_context() -> ssl.SSLContext:
    """Trust the certificates in `SSL_CERT_FILE` or `SSL_CERT_DIR`, or those of the system.

    Raises:
        TeacherRejected: `SSL_CERT_FILE` or `SSL_CERT_DIR` cannot be read.
    """
    # Imported for https only, because it costs 0.2 s.
    import httpx2

    try:
        return httpx2.create_ssl_context()
    except OSError as e:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise TeacherRejected(
            f"the certificates in `{name}` cannot be read ({type(e).__name__})",
            hint="set `SSL_CERT_FILE` to a PEM file",
        ) from e
