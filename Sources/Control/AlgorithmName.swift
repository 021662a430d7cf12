/// strongSwan's names of algorithms by their IKEv2 transform numbers (RFC 7296 §3.3.2 and its IANA registry).
public enum AlgorithmName {
    /// Transform type 1.
    public static func encryption(_ id: UInt16) -> String {
        switch id {
        case 12: return "AES_CBC"
        case 13: return "AES_CTR"
        case 18: return "AES_GCM_8"
        case 19: return "AES_GCM_12"
        case 20: return "AES_GCM_16"
        case 28: return "CHACHA20_POLY1305"
        default: return "(\(id))"
        }
    }

    /// Transform type 2.
    public static func prf(_ id: UInt16) -> String {
        switch id {
        case 2: return "PRF_HMAC_SHA1"
        case 5: return "PRF_HMAC_SHA2_256"
        case 6: return "PRF_HMAC_SHA2_384"
        case 7: return "PRF_HMAC_SHA2_512"
        default: return "(\(id))"
        }
    }

    /// Transform type 3.
    public static func integrity(_ id: UInt16) -> String {
        switch id {
        case 2: return "HMAC_SHA1_96"
        case 12: return "HMAC_SHA2_256_128"
        case 13: return "HMAC_SHA2_384_192"
        case 14: return "HMAC_SHA2_512_256"
        default: return "(\(id))"
        }
    }

    /// Transform type 4.
    public static func keyExchange(_ id: UInt16) -> String {
        switch id {
        case 2: return "MODP_1024"
        case 14: return "MODP_2048"
        case 15: return "MODP_3072"
        case 16: return "MODP_4096"
        case 17: return "MODP_6144"
        case 18: return "MODP_8192"
        case 19: return "ECP_256"
        case 20: return "ECP_384"
        case 21: return "ECP_521"
        case 31: return "CURVE_25519"
        case 32: return "CURVE_448"
        default: return "(\(id))"
        }
    }
}
