/// Transform types (RFC 7296 §3.3.2).
public enum TransformType {
    public static let encryption: UInt8 = 1
    public static let pseudorandomFunction: UInt8 = 2
    public static let integrity: UInt8 = 3
    public static let keyExchange: UInt8 = 4
    public static let extendedSequenceNumbers: UInt8 = 5
}

/// Transform attribute types (RFC 7296 §3.3.5).
public enum TransformAttributeType {
    /// In bits, always in the fixed-length format.
    public static let keyLength: UInt16 = 14
}

/// Transform IDs, by transform type.
public enum TransformID {
    /// Type 1 (RFC 7296 §3.3.2, RFC 5282 §7, RFC 7634 §6).
    public enum Encryption {
        public static let tripleDES: UInt16 = 3
        public static let null: UInt16 = 11
        public static let aesCBC: UInt16 = 12
        public static let aesCTR: UInt16 = 13
        public static let aesCCM8: UInt16 = 14
        public static let aesCCM12: UInt16 = 15
        public static let aesCCM16: UInt16 = 16
        public static let aesGCM8: UInt16 = 18
        public static let aesGCM12: UInt16 = 19
        public static let aesGCM16: UInt16 = 20
        public static let chaCha20Poly1305: UInt16 = 28
    }

    /// Type 2 (RFC 7296 §3.3.2, RFC 4868 §4).
    public enum PseudorandomFunction {
        public static let hmacSHA1: UInt16 = 2
        public static let hmacSHA256: UInt16 = 5
        public static let hmacSHA384: UInt16 = 6
        public static let hmacSHA512: UInt16 = 7
    }

    /// Type 3 (RFC 7296 §3.3.2, RFC 4868 §4).
    public enum Integrity {
        public static let none: UInt16 = 0
        public static let hmacSHA1_96: UInt16 = 2
        public static let aesXCBC96: UInt16 = 5
        public static let hmacSHA256_128: UInt16 = 12
        public static let hmacSHA384_192: UInt16 = 13
        public static let hmacSHA512_256: UInt16 = 14
    }

    /// Type 4 (RFC 7296 §3.3.2, RFC 3526, RFC 5903, RFC 8031).
    public enum KeyExchange {
        public static let none: UInt16 = 0
        public static let modp1024: UInt16 = 2
        public static let modp1536: UInt16 = 5
        public static let modp2048: UInt16 = 14
        public static let modp3072: UInt16 = 15
        public static let modp4096: UInt16 = 16
        public static let modp6144: UInt16 = 17
        public static let modp8192: UInt16 = 18
        public static let ecp256: UInt16 = 19
        public static let ecp384: UInt16 = 20
        public static let ecp521: UInt16 = 21
        public static let curve25519: UInt16 = 31
        public static let curve448: UInt16 = 32
    }

    /// Type 5 (RFC 7296 §3.3.2).
    public enum ExtendedSequenceNumbers {
        public static let no: UInt16 = 0
        public static let yes: UInt16 = 1
    }
}
