public import Cryptography
public import Session

/// `[transfer]` and `[[gateway]]`, as far as links need them.
public struct TransferLinkSettings: Sendable {
    /// Another gateway, to which contexts may go and from which they may come.
    public struct Gateway: Sendable {
        public var name: String
        /// Where it listens.
        public var link: Endpoint
        /// The certificates that it may show: one, or those of both nodes of a pair.
        public var certificatePEMs: [String]

        public init(name: String, link: Endpoint, certificatePEMs: [String]) {
            self.name = name
            self.link = link
            self.certificatePEMs = certificatePEMs
        }
    }

    /// Where this node listens; `nil`: it only calls.
    public var listen: Endpoint?
    public var certificatePEM: String
    public var keyPEM: SecretBytes
    public var gateways: [Gateway]

    public init(listen: Endpoint?, certificatePEM: String, keyPEM: SecretBytes, gateways: [Gateway]) {
        self.listen = listen
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
        self.gateways = gateways
    }
}
