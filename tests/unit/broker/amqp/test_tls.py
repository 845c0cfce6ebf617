"""The context of a TLS connection: what it verifies, and files that cannot be used."""

import base64
import os
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.tls import UnusableFiles, tls_context

NOBODY = 65534


def context(query: str = "") -> ssl.SSLContext:
    return tls_context(read_location(f"amqps://mq/?{query}" if query else "amqps://mq").addresses[0])


def test_host_and_authority_are_verified_unless_the_url_says_otherwise() -> None:
    for verified in (context(), context("no_verify_ssl=0")):
        assert verified.check_hostname
        assert verified.verify_mode is ssl.CERT_REQUIRED
    trusting = context("no_verify_ssl=1")
    assert not trusting.check_hostname
    assert trusting.verify_mode is ssl.CERT_NONE


def test_nothing_below_tls_1_2_is_spoken() -> None:
    assert context().minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_authority_of_the_url_is_the_only_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    der = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    for query in (f"cafile={tmp_path}/ca.pem", f"cadata={quote(base64.b64encode(der).decode())}"):
        assert context(query).get_ca_certs(binary_form=True) == [der]


def test_a_plus_of_base64_may_stand_in_the_url_as_it_is() -> None:
    for _ in range(50):
        der = ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode())
        text = base64.b64encode(der).decode()
        if "+" in text:
            assert context(f"cadata={text}").get_ca_certs(binary_form=True) == [der]
            return
    pytest.fail("none of 50 certificates has a '+'")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("cafile=missing.pem", r"cafile 'missing\.pem' in the URL cannot be read \(No such file"),
        ("certfile=missing.pem", r"certfile 'missing\.pem' in the URL cannot be read"),
        ("certfile=/dev/null&keyfile=missing.pem", r"keyfile 'missing\.pem' in the URL cannot be read"),
        ("cafile=/", r"cafile '/' in the URL cannot be read \(Is a directory"),
        ("cafile=%00", "it is no name of a file"),
        ("cafile=/dev/null", "the certificates to trust cannot be used"),
        ("cadata=AAAA", "the certificates to trust cannot be used"),
        ("cadata=!", "the certificates to trust cannot be used"),
        ("certfile=/dev/null", "the client certificate cannot be used"),
    ],
)
def test_what_cannot_be_used_is_named(query: str, words: str) -> None:
    with pytest.raises(UnusableFiles, match=words):
        context(query)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "key.pem"
    secret.touch(0)
    me = os.geteuid()
    if me == 0:  # whom no mode keeps out
        os.seteuid(NOBODY)
    try:
        with pytest.raises(UnusableFiles, match="Permission denied"):
            context(f"certfile={secret}")
    finally:
        os.seteuid(me)
