/// Something that meets foreign bytes. It must not trap, hang or grow, whatever they are; what else must hold is checked.
struct FuzzTarget: Sendable {
    /// Its folder in `Corpus`, and its name on the command line.
    let name: String
    /// Octets of an input at most: enough for every rule of what is read, few enough for many runs a second.
    var lengthMax = 2048
    /// Inputs from which the search sets out.
    let seeds: @Sendable () throws -> [[UInt8]]
    let run: @Sendable ([UInt8]) throws -> Void

    static let all = [
        ikeMessage, proposals, trafficSelectors, ikeUnauthenticated, ikeAuthenticated, pairFrame, heartbeat, vici, esp, netlink,
        configuration, sessionContext, cxtp, certificates, stateFile,
    ]
}

/// What a target expected and did not find.
struct FuzzFailure: Error, CustomStringConvertible {
    let description: String
}

func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw FuzzFailure(description: what()) }
}

/// An input as a target takes it apart: what is missing at its end is zero or empty.
struct FuzzInput {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func octet() -> UInt8 { rest.popFirst() ?? 0 }

    /// Two octets of length, then at most that many.
    mutating func part() -> [UInt8] {
        let length = Int(octet()) << 8 | Int(octet())
        defer { rest = rest.dropFirst(length) }
        return Array(rest.prefix(length))
    }

    mutating func all() -> [UInt8] {
        defer { rest = [] }
        return Array(rest)
    }

    /// What `part` reads.
    static func part(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes }
}
