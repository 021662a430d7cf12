import COpenSSL

/// Distinguished names as IKE carries them: the DER of an X.501 Name (RFC 5280 §4.1.2.4, ID_DER_ASN1_DN).
public enum DistinguishedName {
    /// Octets of a name that is looked at: several times what authorities use.
    public static let octetsMax = 2048

    /// From a text such as `C=CH, O=Tandem, CN=gw`, or `/C=CH/O=Tandem/CN=gw`; a backslash takes the next character as it is.
    ///
    /// - Returns: the DER; `nil` if there is an unknown attribute, a value that it cannot have, or a control character: nobody writes one
    ///   on purpose, and it could not be shown.
    public static func der(text: String) -> [UInt8]? {
        guard let parts = DistinguishedNameText.split(text), let name = try? X509Name() else { return nil }
        for part in parts {
            guard let nid = DistinguishedNameText.identifiers[part.attribute.lowercased()] else { return nil }
            let value = Array(part.value.utf8)
            guard !value.isEmpty, part.value.allSatisfy(DistinguishedNameText.isPlain), name.append(nid, value) else { return nil }
        }
        let der = name.der
        return der.count <= octetsMax ? der : nil
    }

    /// For people, in the form that `der(text:)` reads; `nil` if `der` is no name.
    public static func text(der: [UInt8]) -> String? {
        guard let name = X509Name(der: der) else { return nil }
        return name.entries.map { "\($0.attribute)=\(DistinguishedNameText.escape($0.value))" }.joined(separator: ", ")
    }

    /// Whether both are the same name: letter case, spaces and string types do not matter (RFC 5280 §7.1).
    public static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard let left = X509Name(der: left), let right = X509Name(der: right) else { return false }
        return X509_NAME_cmp(left.pointer, right.pointer) == 0
    }
}

/// The one owner of a name.
struct X509Name: ~Copyable {
    let pointer: OpaquePointer

    init() throws(CryptographyError) { pointer = try require(X509_NAME_new(), "name") }

    /// `nil` if it is not one whole name.
    init?(der: [UInt8]) {
        guard !der.isEmpty, der.count <= DistinguishedName.octetsMax else { return nil }
        let parsed = der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var next = buffer.baseAddress
            guard let name = d2i_X509_NAME(nil, &next, buffer.count) else { return nil }
            guard next == buffer.baseAddress! + buffer.count else {
                X509_NAME_free(name)
                return nil
            }
            return name
        }
        ERR_clear_error()
        guard let parsed else { return nil }
        pointer = parsed
    }

    deinit { X509_NAME_free(pointer) }

    func append(_ nid: Int32, _ value: [UInt8]) -> Bool {
        let result = X509_NAME_add_entry_by_NID(pointer, nid, MBSTRING_UTF8, value, Int32(value.count), -1, 0)
        ERR_clear_error()
        return result == 1
    }

    var der: [UInt8] { X509Name.der(of: pointer) }

    /// The attributes in order, values as UTF-8.
    var entries: [(attribute: String, value: String)] {
        (0..<X509_NAME_entry_count(pointer)).map { index in
            let entry = X509_NAME_get_entry(pointer, index)
            return (DistinguishedNameText.name(of: X509_NAME_ENTRY_get_object(entry)), X509Name.utf8(X509_NAME_ENTRY_get_data(entry)))
        }
    }

    static func der(of name: OpaquePointer?) -> [UInt8] {
        var start: UnsafePointer<UInt8>?
        var count = 0
        guard X509_NAME_get0_der(name, &start, &count) == 1 else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: count))
    }

    private static func utf8(_ string: UnsafePointer<ASN1_STRING>?) -> String {
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&bytes, string)
        defer { CRYPTO_free(bytes, nil, 0) }
        guard count >= 0 else {
            ERR_clear_error()
            return ""
        }
        return String(decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
    }
}

enum DistinguishedNameText {
    /// Attribute types by the names that swanctl.conf and RFC 4514 give them, in small letters.
    static let identifiers: [String: Int32] = [
        "c": NID_countryName, "st": NID_stateOrProvinceName, "l": NID_localityName, "street": NID_streetAddress,
        "o": NID_organizationName, "ou": NID_organizationalUnitName, "cn": NID_commonName, "t": NID_title, "s": NID_surname,
        "g": NID_givenName, "sn": NID_serialNumber, "serialnumber": NID_serialNumber, "dc": NID_domainComponent, "uid": NID_userId,
        "e": NID_pkcs9_emailAddress, "email": NID_pkcs9_emailAddress, "emailaddress": NID_pkcs9_emailAddress,
    ]

    /// How an attribute type is shown: so that `identifiers` knows it again, else as numbers with dots.
    static func name(of object: OpaquePointer?) -> String {
        let nid = OBJ_obj2nid(object)
        if let own = shown[nid] { return own }
        var buffer = [CChar](repeating: 0, count: 80)
        let count = OBJ_obj2txt(&buffer, Int32(buffer.count), object, 1)
        return String(decoding: buffer.prefix(max(0, min(Int(count), buffer.count - 1))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static let shown: [Int32: String] = [
        NID_countryName: "C", NID_stateOrProvinceName: "ST", NID_localityName: "L", NID_streetAddress: "street", NID_organizationName: "O",
        NID_organizationalUnitName: "OU", NID_commonName: "CN", NID_title: "T", NID_surname: "S", NID_givenName: "G",
        NID_serialNumber: "serialNumber", NID_domainComponent: "DC", NID_userId: "UID", NID_pkcs9_emailAddress: "E",
    ]

    /// Attributes and values; `nil` if a part has no `=`.
    static func split(_ text: String) -> [(attribute: String, value: String)]? {
        let isSlashed = text.hasPrefix("/")
        var parts: [String] = [""]
        var isEscaped = false
        for character in isSlashed ? text.dropFirst() : Substring(text) {
            if !isEscaped, character == (isSlashed ? "/" : ",") {
                parts.append("")
            } else {
                // The backslash stays until the value is cut out, so that an escaped space at an end is not taken for layout.
                parts[parts.count - 1].append(character)
            }
            isEscaped = !isEscaped && character == "\\"
        }
        var found: [(attribute: String, value: String)] = []
        for part in parts {
            guard let equals = part.firstIndex(of: "=") else { return nil }
            found.append((trim(part[..<equals]), unescape(trim(part[part.index(after: equals)...]))))
        }
        return found
    }

    static func escape(_ value: String) -> String {
        let inner = value.drop { $0 == " " }
        let spacesBefore = value.count - inner.count
        let spacesAfter = inner.reversed().prefix { $0 == " " }.count
        var out = String(repeating: "\\ ", count: spacesBefore)
        for character in inner.dropLast(spacesAfter) {
            if character == "," || character == "\\" { out.append("\\") }
            out.append(isPlain(character) ? character : "?")
        }
        return out + String(repeating: "\\ ", count: spacesAfter)
    }

    /// Nothing that a terminal would act on.
    static func isPlain(_ character: Character) -> Bool {
        character.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }
    }

    private static func trim(_ text: Substring) -> String {
        var rest = text.drop { $0 == " " }
        while rest.last == " ", !rest.hasSuffix("\\ ") { rest.removeLast() }
        return String(rest)
    }

    private static func unescape(_ text: String) -> String {
        var out = ""
        var isEscaped = false
        for character in text {
            if character == "\\", !isEscaped {
                isEscaped = true
            } else {
                out.append(character)
                isEscaped = false
            }
        }
        return out
    }
}
