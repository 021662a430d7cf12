/// Protects the content of an Encrypted payload (RFC 7296 §3.14; RFC 5282 and RFC 7634 for AEADs, RFC 5930 for AES-CTR).
///
/// - Parameters:
///   - keys: SK_e with its salt, and SK_a (empty with an AEAD), of the sender.
///   - iv: `cipher.ivLength` octets.
///   - header: the whole message before the IV: IKE header, payloads before the Encrypted payload, and its generic header.
///   - plaintext: the inner payloads, padded, with the pad length octet.
/// - Returns: IV || ciphertext || integrity check value.
public func sealIKE(
    cipher: Cipher, integrity: IntegrityAlgorithm?, keys: (encryption: SecretBytes, integrity: SecretBytes), iv: [UInt8],
    header: [UInt8], plaintext: [UInt8]
) throws(CryptographyError) -> [UInt8] {
    let context = try PacketCipher(cipher: cipher, integrity: integrity, keys: keys.encryption, integrityKey: keys.integrity)
    guard iv.count == cipher.ivLength else { throw .badLength }
    var out = iv + plaintext + [UInt8](repeating: 0, count: context.icvLength)
    try withParts(of: &out, ivLength: cipher.ivLength, icvLength: context.icvLength, header: header) {
        (parts) throws(CryptographyError) in
        try context.seal(iv: parts.iv, authenticated: parts.header, text: parts.text, tag: parts.tag)
    }
    return out
}

/// Opens what `sealIKE` made.
///
/// - Parameters:
///   - body: IV || ciphertext || integrity check value.
///   - header: as in `sealIKE`.
/// - Returns: the inner payloads with padding and pad length octet.
/// - Throws: `badLength` or `authenticationFailed`: drop the message; `badKeyLength`.
public func openIKE(
    cipher: Cipher, integrity: IntegrityAlgorithm?, keys: (encryption: SecretBytes, integrity: SecretBytes), body: [UInt8],
    header: [UInt8]
) throws(CryptographyError) -> [UInt8] {
    let context = try PacketCipher(cipher: cipher, integrity: integrity, keys: keys.encryption, integrityKey: keys.integrity)
    guard body.count >= cipher.ivLength + context.icvLength else { throw .badLength }
    var out = body
    try withParts(of: &out, ivLength: cipher.ivLength, icvLength: context.icvLength, header: header) {
        (parts) throws(CryptographyError) in
        try context.open(iv: parts.iv, authenticated: parts.header, text: parts.text, tag: UnsafeRawBufferPointer(parts.tag))
    }
    return Array(out[cipher.ivLength..<out.count - context.icvLength])
}

private struct ProtectedParts {
    let header: UnsafeRawBufferPointer
    let iv: UnsafeRawBufferPointer
    let text: UnsafeMutableRawBufferPointer
    let tag: UnsafeMutableRawBufferPointer
}

private func withParts(
    of body: inout [UInt8], ivLength: Int, icvLength: Int, header: [UInt8],
    _ work: (ProtectedParts) throws(CryptographyError) -> Void
) throws(CryptographyError) {
    let tagStart = body.count - icvLength
    let result = body.withUnsafeMutableBytes { body in
        header.withUnsafeBytes { header in
            let parts = ProtectedParts(
                header: header, iv: UnsafeRawBufferPointer(rebasing: body[..<ivLength]),
                text: UnsafeMutableRawBufferPointer(rebasing: body[ivLength..<tagStart]),
                tag: UnsafeMutableRawBufferPointer(rebasing: body[tagStart...]))
            return Result { () throws(CryptographyError) in try work(parts) }
        }
    }
    try result.get()
}
