import COpenSSL

/// Texts of RFC 7468 with certificates or revocation lists.
enum PEM {
    /// Blocks in one file: a large bundle of public authorities has some 150.
    static let blocksMax = 512

    static func isPEM(_ bytes: [UInt8]) -> Bool {
        let marker = Array("-----BEGIN ".utf8)
        guard bytes.count >= marker.count, bytes.first != 0x30 else { return false }
        return bytes.indices.dropLast(marker.count - 1).contains { bytes[$0..<$0 + marker.count].elementsEqual(marker) }
    }

    /// The DER of every block with one of these labels, in order; others are passed over.
    static func blocks(_ bytes: [UInt8], labels: Set<String>) throws(CertificateError) -> [[UInt8]] {
        guard let bio = try? MemoryIO(reading: SecretBytes(bytes)) else { throw .badEncoding }
        defer { ERR_clear_error() }
        var found: [[UInt8]] = []
        while true {
            var name: UnsafeMutablePointer<CChar>?
            var header: UnsafeMutablePointer<CChar>?
            var data: UnsafeMutablePointer<UInt8>?
            var count = 0
            guard PEM_read_bio(bio.pointer, &name, &header, &data, &count) == 1 else {
                // The end of the text is "no start line"; everything else is a block that cannot be read.
                let reason = ERR_peek_last_error() & 0x7F_FFFF
                guard reason == UInt(PEM_R_NO_START_LINE) else { throw .badEncoding }
                return found
            }
            defer {
                CRYPTO_free(name, nil, 0)
                CRYPTO_free(header, nil, 0)
                CRYPTO_clear_free(data, count, nil, 0)
            }
            guard let name, labels.contains(String(cString: name)) else { continue }
            guard found.count < blocksMax else { throw .tooMany }
            found.append(Array(UnsafeBufferPointer(start: data, count: count)))
        }
    }
}
