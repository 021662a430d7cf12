import COpenSSL

/// A certificate revocation list (RFC 5280 §5), parsed once. Who signed it is checked when it is used.
public final class RevocationList: Sendable {
    /// The longest list that is read: some hundred thousand entries.
    public static let octetsMax = 4 << 20

    public let der: [UInt8]
    /// The issuer's distinguished name in DER.
    public let issuer: [UInt8]
    /// Seconds since 1970; `nil` if the list does not say when the next one comes.
    public let nextUpdate: Int64?
    nonisolated(unsafe) let pointer: OpaquePointer

    /// - Throws: `badEncoding` unless `der` is one whole list of at most `octetsMax` octets.
    public init(der: [UInt8]) throws(CertificateError) {
        guard (1...RevocationList.octetsMax).contains(der.count) else { throw .badEncoding }
        let parsed = der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var next = buffer.baseAddress
            guard let list = d2i_X509_CRL(nil, &next, buffer.count) else { return nil }
            guard next == buffer.baseAddress! + buffer.count else {
                X509_CRL_free(list)
                return nil
            }
            return list
        }
        ERR_clear_error()
        guard let parsed else { throw .badEncoding }
        pointer = parsed
        self.der = der
        issuer = X509Name.der(of: X509_CRL_get_issuer(parsed))
        nextUpdate = secondsSince1970(X509_CRL_get0_nextUpdate(parsed))
    }

    deinit { X509_CRL_free(pointer) }

    /// The lists of a file: any number in PEM, or one in DER.
    public static func read(_ bytes: [UInt8]) throws(CertificateError) -> [RevocationList] {
        guard PEM.isPEM(bytes) else { return [try RevocationList(der: bytes)] }
        var found: [RevocationList] = []
        for block in try PEM.blocks(bytes, labels: ["X509 CRL"]) { found.append(try RevocationList(der: block)) }
        guard !found.isEmpty else { throw .badEncoding }
        return found
    }
}

extension RevocationList: Hashable {
    public static func == (left: RevocationList, right: RevocationList) -> Bool { left === right || left.der == right.der }
    public func hash(into hasher: inout Hasher) { hasher.combine(issuer) }
}

/// What is done when it cannot be known whether a certificate is revoked, by swanctl.conf's names.
public enum RevocationPolicy: String, CaseIterable, Hashable, Sendable {
    /// A valid list has to be there for every certificate of the chain.
    case strict
    /// For every certificate that says where its list would be.
    case ifURI = "ifuri"
    /// Only what is known to be revoked is refused.
    case relaxed
}
