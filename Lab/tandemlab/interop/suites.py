"""The cipher suites of the rows, in the words of each implementation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """(IKE, ESP) proposals. swanctl.conf's words are Tandem's too; what a peer does not offer is missing here."""

    swanctl: tuple
    libreswan: tuple = None
    openiked: tuple = None
    #: Whether CHILD SAs are rekeyed with a key exchange of their own.
    pfs: bool = False


SUITES = {
    "gcm": Suite(
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-esn-noesn"), ("aes_gcm256-sha2_384-dh20", "aes_gcm256")),
    "gcm-pfs": Suite(
        ("aes128gcm16-prfsha256-x25519", "aes128gcm16-ecp256-noesn"), pfs=True),
    "cbc": Suite(
        ("aes256-sha256-modp2048", "aes128-sha256-noesn"), ("aes256-sha2_256-dh14", "aes128-sha2_256")),
    "gcm-cbc": Suite(
        ("aes256gcm16-prfsha384-ecp384", "aes128-sha384-noesn"), ("aes_gcm256-sha2_384-dh20", "aes128-sha2_384"),
        ("enc aes-256-gcm prf hmac-sha2-384 group ecp384", "enc aes-128 auth hmac-sha2-384 noesn")),
    "sha256-cbc": Suite(
        ("aes128-sha256-x25519", "aes256-sha384-noesn"), ("aes128-sha2_256-dh31", "aes256-sha2_384"),
        ("enc aes-128 auth hmac-sha2-256 prf hmac-sha2-256 group curve25519", "enc aes-256 auth hmac-sha2-384 noesn")),
    "cbc384": Suite(
        ("aes256-sha384-ecp384", "aes128-sha384-noesn"), ("aes256-sha2_384-dh20", "aes128-sha2_384"),
        ("enc aes-256 auth hmac-sha2-384 prf hmac-sha2-384 group ecp384", "enc aes-128 auth hmac-sha2-384 noesn")),
    "cbc-pfs": Suite(
        ("aes128-sha512-ecp256", "aes256-sha512-ecp256-noesn"), ("aes128-sha2_512-dh19", "aes256-sha2_512-dh19"),
        ("enc aes-128 auth hmac-sha2-512 prf hmac-sha2-512 group ecp256", "enc aes-256 auth hmac-sha2-512 group ecp256 noesn"),
        pfs=True),
    "chacha": Suite(
        ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305"), ("chacha20_poly1305-sha2_256-dh31", "chacha20_poly1305")),
}
