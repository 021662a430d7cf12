public import Cryptography
import Session

/// `[reachability]`, `[witness]` and `[fencing]`, as far as the runtime needs them.
public struct ArbitrationSettings: Sendable {
    /// A program with its arguments, run without a shell.
    public struct Program: Hashable, Sendable {
        public var arguments: [String]
        public var timeout: Duration

        public init(arguments: [String], timeout: Duration) {
            self.arguments = arguments
            self.timeout = timeout
        }
    }

    public var check: Program?
    public var witness: WitnessSettings?
    public var fencing: Program?

    public init(check: Program? = nil, witness: WitnessSettings? = nil, fencing: Program? = nil) {
        self.check = check
        self.witness = witness
        self.fencing = fencing
    }

    public var isEmpty: Bool { check == nil && witness == nil && fencing == nil }
}

/// `[witness]`: an etcd, by the JSON gateway of its version 3 API.
public struct WitnessSettings: Sendable {
    /// `http://10.9.0.1:2379`.
    public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
        public var host: String
        public var port: Int
        public var isTLS: Bool

        public init(host: String, port: Int, isTLS: Bool) {
            self.host = host
            self.port = port
            self.isTLS = isTLS
        }

        /// `nil` for what is no URL of http or https with a host, and nothing behind it.
        public init?(_ text: String) {
            let schemes = [("http://", false), ("https://", true)]
            guard let (scheme, isTLS) = schemes.first(where: { text.hasPrefix($0.0) }) else { return nil }
            var rest = text.dropFirst(scheme.count)
            if rest.hasSuffix("/") { rest.removeLast() }
            var port = 2379
            if rest.hasPrefix("[") {
                guard let end = rest.firstIndex(of: "]") else { return nil }
                host = String(rest[rest.index(after: rest.startIndex)..<end])
                guard IPAddress(host)?.isIPv4 == false else { return nil }
                rest = rest[rest.index(after: end)...]
            } else {
                host = String(rest.prefix { $0 != ":" })
                rest = rest.dropFirst(host.count)
            }
            if !rest.isEmpty {
                guard rest.hasPrefix(":"), let number = Int(rest.dropFirst()), (1...65535).contains(number) else { return nil }
                port = number
            }
            let isName = host.utf8.allSatisfy { byte in
                byte == 0x2D || byte == 0x2E || byte == 0x3A || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                    || (0x61...0x7A).contains(byte)
            }
            guard !host.isEmpty, host.utf8.count <= 253, isName else { return nil }
            self.port = port
            self.isTLS = isTLS
        }

        public var description: String { "\(isTLS ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)" }
    }

    public var endpoints: [Endpoint]
    public var key: String
    public var ttlSeconds: Int
    public var timeout: Duration
    /// Whom a server's certificate has to come from; `nil`: the system's authorities.
    public var authoritiesPEM: String?
    public var certificatePEM: String?
    public var keyPEM: SecretBytes?
    public var username: String?
    public var password: SecretBytes?

    public init(endpoints: [Endpoint], key: String, ttlSeconds: Int = 3, timeout: Duration = .milliseconds(100)) {
        self.endpoints = endpoints
        self.key = key
        self.ttlSeconds = ttlSeconds
        self.timeout = timeout
    }
}
