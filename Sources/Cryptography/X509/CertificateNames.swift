/// Which identities a certificate proves.
extension X509Certificate {
    /// Whether the certificate is for an identity as IKE carries it (RFC 7296 §3.5).
    ///
    /// Names are compared exactly, ASCII letters without their case; a wildcard in a certificate stands for nothing.
    ///
    /// - Parameters:
    ///   - kind: the ID type: 1 and 5 addresses, 2 a domain name, 3 a mail address, 9 a distinguished name.
    ///   - data: its octets; of a distinguished name, DER.
    public func names(kind: UInt8, data: [UInt8]) -> Bool {
        switch kind {
        case 1, 5: data.count == (kind == 1 ? 4 : 16) && alternativeNames.contains(.address(data))
        case 2: alternativeNames.contains { if case .dns(let name) = $0 { sameName(name, data) } else { false } }
        case 3: alternativeNames.contains { if case .email(let name) = $0 { sameName(name, data) } else { false } }
        case 9: DistinguishedName.areEqual(subject, data)
        default: false
        }
    }
}

/// Equal but for the case of ASCII letters. A NUL or an empty name is never right.
private func sameName(_ name: String, _ data: [UInt8]) -> Bool {
    func lowered(_ byte: UInt8) -> UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte }
    return !data.isEmpty && !data.contains(0) && data.map(lowered).elementsEqual(name.utf8.map(lowered))
}
