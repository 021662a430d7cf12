import Control

/// What is said to etcd's JSON gateway (its API of version 3: `/v3/lease/…`, `/v3/kv/…`), and what of its answers counts. Octets are
/// base64 there, and 64-bit numbers strings.
enum EtcdMessages {
    static func grant(ttlSeconds: Int) -> JSON { .object([.init("TTL", .string("\(ttlSeconds)"))]) }
    static func keepAlive(_ lease: String) -> JSON { .object([.init("ID", .string(lease))]) }
    static func range(_ key: String) -> JSON { .object([.init("key", bytes(key))]) }
    static func authenticate(_ name: String, _ password: String) -> JSON {
        .object([.init("name", .string(name)), .init("password", .string(password))])
    }

    enum Condition {
        case isAbsent
        /// Nobody has written it since.
        case modified(revision: String)
    }

    /// - Returns: a transaction that writes the key with a lease if the condition holds, and reads it if not.
    static func put(_ key: String, _ value: String, lease: String, if condition: Condition) -> JSON {
        let put = JSON.object([.init("key", bytes(key)), .init("value", bytes(value)), .init("lease", .string(lease))])
        return transaction(key, condition, success: .init("request_put", put))
    }

    /// - Returns: a transaction that removes the key if the condition holds.
    static func delete(_ key: String, if condition: Condition) -> JSON {
        transaction(key, condition, success: .init("request_delete_range", range(key)))
    }

    private static func transaction(_ key: String, _ condition: Condition, success: JSON.Member) -> JSON {
        var compare: [JSON.Member] = [.init("key", bytes(key)), .init("result", .string("EQUAL"))]
        switch condition {
        case .isAbsent: compare += [.init("target", .string("CREATE")), .init("create_revision", .string("0"))]
        case .modified(let revision): compare += [.init("target", .string("MOD")), .init("mod_revision", .string(revision))]
        }
        return .object([
            .init("compare", .array([.object(compare)])), .init("success", .array([.object([success])])),
            .init("failure", .array([.object([.init("request_range", range(key))])])),
        ])
    }

    private static func bytes(_ text: String) -> JSON { .string(Base64.encode(Array(text.utf8))) }

    // MARK: Answers

    /// A key as etcd has it.
    struct Entry: Hashable {
        var value: String
        var lease: String
        var revision: String
    }

    struct Outcome: Hashable {
        var succeeded: Bool
        /// Of the store, which a key that was written in this transaction has.
        var revision: String
        /// What was read because the condition did not hold; `nil`: there is no such key.
        var entry: Entry?
    }

    /// - Returns: the lease and for how long it was granted, in seconds; `nil` for anything else.
    static func lease(_ answer: JSON) -> (id: String, ttlSeconds: Int64)? {
        // The answer to a keepalive is an item of a stream.
        let body = answer["result"] ?? answer
        guard let id = body["ID"]?.text, let ttl = body["TTL"]?.text.flatMap(Int64.init), ttl > 0 else { return nil }
        return (id, ttl)
    }

    static func outcome(_ answer: JSON) -> Outcome? {
        guard let revision = answer["header"]?["revision"]?.text else { return nil }
        if case .bool(true)? = answer["succeeded"] { return Outcome(succeeded: true, revision: revision, entry: nil) }
        guard case .array(let responses)? = answer["responses"], let range = responses.first?["response_range"] else { return nil }
        return Outcome(succeeded: false, revision: revision, entry: entry(range))
    }

    static func entry(_ range: JSON) -> Entry? {
        guard case .array(let entries)? = range["kvs"], let first = entries.first, let revision = first["mod_revision"]?.text else {
            return nil
        }
        let value = first["value"]?.text.flatMap(Base64.decode) ?? []
        return Entry(value: String(decoding: value, as: UTF8.self), lease: first["lease"]?.text ?? "0", revision: revision)
    }

    /// What it says of an error.
    static func problem(_ answer: JSON) -> String? { answer["error"]?.text ?? answer["message"]?.text }
}

extension JSON {
    subscript(_ name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// A string, or a number's digits.
    var text: String? {
        switch self {
        case .string(let text): text
        case .integer(let number): "\(number)"
        case .unsigned(let number): "\(number)"
        case .null, .bool, .thousandths, .array, .object: nil
        }
    }
}

/// RFC 4648 §4.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let word = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for index in 0..<4 {
                out.append(index <= group.count ? alphabet[Int(word >> UInt32(18 - 6 * index) & 0x3F)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// `nil` for what is not base64.
    static func decode(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 4 == 0 else { return nil }
        let padding = digits.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        guard padding <= 2 else { return nil }
        var out: [UInt8] = []
        for start in stride(from: 0, to: digits.count, by: 4) {
            var word: UInt32 = 0
            for (offset, digit) in digits[start..<start + 4].enumerated() {
                let isPadding = start + offset >= digits.count - padding
                guard let value = isPadding ? 0 : alphabet.firstIndex(of: digit) else { return nil }
                word = word << 6 | UInt32(value)
            }
            out += [UInt8(word >> 16 & 0xFF), UInt8(word >> 8 & 0xFF), UInt8(word & 0xFF)]
        }
        out.removeLast(padding)
        return out
    }
}
