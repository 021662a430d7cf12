"""Sealed ESP packets (RFC 4303) of a session whose keys a lab has asked its own gateway for: AES-GCM with libcrypto."""

import ctypes
import ctypes.util
import socket
import struct

#: The protocol number of ESP.
ESP = 50
IPV4, TAG_OCTETS = 4, 16
GET_TAG = 0x10

_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for _name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm", "EVP_aes_256_gcm"):
    getattr(_crypto, _name).restype = ctypes.c_void_p
_pointer, _bytes, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_crypto.EVP_EncryptInit_ex.argtypes = [_pointer, _pointer, _pointer, _bytes, _bytes]
_crypto.EVP_EncryptUpdate.argtypes = [_pointer, _pointer, ctypes.POINTER(_int), _bytes, _int]
_crypto.EVP_CIPHER_CTX_ctrl.argtypes = [_pointer, _int, _int, _pointer]
_crypto.EVP_CIPHER_CTX_free.argtypes = [_pointer]


def datagram(source, destination, port, octets=8):
    """An inner packet: UDP over IPv4, without the UDP checksum, as IPv4 allows."""
    body = struct.pack("!HHHH", port, port, 8 + octets, 0) + bytes(octets)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:] + body


class Sealer:
    """One CHILD SA towards the gateway. `key`: the AES key and its four octets of salt, as RFC 4106 has them in a row."""

    def __init__(self, spi, key, first=1):
        self.spi, self.salt, self.number = spi, key[-4:], first
        self._context = _crypto.EVP_CIPHER_CTX_new()
        cipher = {20: _crypto.EVP_aes_128_gcm, 36: _crypto.EVP_aes_256_gcm}[len(key)]()
        _must(_crypto.EVP_EncryptInit_ex(self._context, cipher, None, key[:-4], None))

    def seal(self, packet):
        """The next packet, as it goes right over IP."""
        head, vector = struct.pack("!II", self.spi, self.number), struct.pack("!Q", self.number)
        self.number += 1
        padding = -(len(packet) + 2) % 4
        plain = packet + bytes(range(1, padding + 1)) + bytes((padding, IPV4))
        out, length = ctypes.create_string_buffer(len(plain)), _int()
        _must(_crypto.EVP_EncryptInit_ex(self._context, None, None, None, self.salt + vector))
        _must(_crypto.EVP_EncryptUpdate(self._context, None, length, head, len(head)))
        _must(_crypto.EVP_EncryptUpdate(self._context, out, length, plain, len(plain)))
        _must(_crypto.EVP_EncryptFinal_ex(_pointer(self._context), ctypes.create_string_buffer(16), ctypes.byref(length)))
        tag = ctypes.create_string_buffer(TAG_OCTETS)
        _must(_crypto.EVP_CIPHER_CTX_ctrl(self._context, GET_TAG, TAG_OCTETS, tag))
        return head + vector + out.raw + tag.raw

    def close(self):
        _crypto.EVP_CIPHER_CTX_free(self._context)


def _must(result):
    if result != 1:
        raise OSError("libcrypto refused")
