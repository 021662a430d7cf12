/// Which identities a certificate proves.
extension X509Certificate {
    /// Whether the certificate is for an identity as IKE carries it (RFC 7296 §3.5).
    ///
    /// Domain names are compared exactly but for the case of ASCII letters, and so is what follows the `@` of a mail address (RFC 5280
    /// §7.5); a wildcard in a certificate stands for nothing.
    ///
    /// - Parameters:
    ///   - kind: the ID type: 1 and 5 addresses, 2 a domain name, 3 a mail address, 9 a distinguished name.
    ///   - data: its octets; of a distinguished name, DER.
    public func names(kind: UInt8, data: [UInt8]) -> Bool {
        switch kind {
        case 1, 5: data.count == (kind == 1 ? 4 : 16) && alternativeNames.contains(.address(data))
        case 2: alternativeNames.contains { if case .dns(let name) = $0 { sameDomain(Array(name.utf8), data) } else { false } }
        case 3: alternativeNames.contains { if case .email(let name) = $0 { sameMailbox(Array(name.utf8), data) } else { false } }
        case 9: DistinguishedName.areEqual(subject, data)
        default: false
        }
    }
}

/// A NUL or an empty name is never right.
private func sameDomain(_ name: some Collection<UInt8>, _ other: some Collection<UInt8>) -> Bool {
    func lowered(_ byte: UInt8) -> UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte }
    return !name.isEmpty && !name.contains(0) && name.map(lowered).elementsEqual(other.map(lowered))
}

private func sameMailbox(_ name: [UInt8], _ other: [UInt8]) -> Bool {
    guard let at = name.lastIndex(of: UInt8(ascii: "@")), other.lastIndex(of: UInt8(ascii: "@")) == at else { return false }
    return !name[..<at].contains(0) && name[..<at] == other[..<at] && sameDomain(name[(at + 1)...], other[(at + 1)...])
}
