import COpenSSL

/// The ECP groups of RFC 5903: points of NIST's curves.
struct CurveArithmetic: KeyExchangeArithmetic {
    // The curves are never freed and never changed.
    nonisolated(unsafe) private let curve: OpaquePointer?
    private let coordinateLength: Int
    /// The bits of the first octet that a private value may have.
    private let topMask: UInt8

    static let p256 = CurveArithmetic(curve: EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1), coordinateLength: 32, topMask: 0xFF)
    static let p384 = CurveArithmetic(curve: EC_GROUP_new_by_curve_name(NID_secp384r1), coordinateLength: 48, topMask: 0xFF)
    static let p521 = CurveArithmetic(curve: EC_GROUP_new_by_curve_name(NID_secp521r1), coordinateLength: 66, topMask: 0x01)

    /// One draw in 2^32 or fewer is refused; a source that is refused so often is broken.
    private static let drawCountMax = 16

    /// 0 < k < n, evenly (FIPS 186-4 §B.4.2).
    func makePrivateValue(_ random: RandomSource) throws(CryptographyError) -> SecretBytes {
        for _ in 0..<CurveArithmetic.drawCountMax {
            let value = random.secret(coordinateLength) { $0[0] &= topMask }
            if try accepts(value) { return value }
        }
        throw .library("the random source gives no private value")
    }

    func accepts(_ privateValue: SecretBytes) throws(CryptographyError) -> Bool {
        guard privateValue.count == coordinateLength else { return false }
        let number = try BigNumber(privateValue)
        return BN_is_zero(number.pointer) == 0 && BN_cmp(number.pointer, EC_GROUP_get0_order(curve)) < 0
    }

    func publicValue(of privateValue: SecretBytes) throws(CryptographyError) -> [UInt8] {
        let number = try BigNumber(privateValue)
        let scratch = try BigNumberScratch()
        let point = try CurvePoint(on: curve)
        try require(EC_POINT_mul(curve, point.pointer, number.pointer, nil, nil, scratch.pointer), "public point")
        var encoded = [UInt8](repeating: 0, count: 1 + 2 * coordinateLength)
        let written = EC_POINT_point2oct(curve, point.pointer, POINT_CONVERSION_UNCOMPRESSED, &encoded, encoded.count, scratch.pointer)
        guard written == encoded.count else { throw .fromLibrary("public point") }
        return Array(encoded.dropFirst())
    }

    func sharedSecret(of privateValue: SecretBytes, peer: [UInt8]) throws(CryptographyError) -> SecretBytes {
        let number = try BigNumber(privateValue)
        let scratch = try BigNumberScratch()
        let peerPoint = try CurvePoint(on: curve)
        // Refuses coordinates from the prime on, and points off the curve (RFC 6989 §2.3); the cofactor is 1.
        let encoded = [UInt8(POINT_CONVERSION_UNCOMPRESSED.rawValue)] + peer
        guard EC_POINT_oct2point(curve, peerPoint.pointer, encoded, encoded.count, scratch.pointer) == 1 else {
            ERR_clear_error()
            throw .badPublicValue
        }
        let shared = try CurvePoint(on: curve)
        try require(EC_POINT_mul(curve, shared.pointer, nil, peerPoint.pointer, number.pointer, scratch.pointer), "shared point")
        guard EC_POINT_is_at_infinity(curve, shared.pointer) == 0 else { throw .badPublicValue }
        let x = try BigNumber()
        try require(EC_POINT_get_affine_coordinates(curve, shared.pointer, x.pointer, nil, scratch.pointer), "shared point")
        return try x.secret(count: coordinateLength)
    }
}

/// The one owner of a point, which is wiped when it goes.
private struct CurvePoint: ~Copyable {
    let pointer: OpaquePointer
    init(on curve: OpaquePointer?) throws(CryptographyError) { pointer = try require(EC_POINT_new(curve), "point") }
    deinit { EC_POINT_clear_free(pointer) }
}
