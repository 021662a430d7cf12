import Netlink
import Node
import Session

/// Puts the group's addresses on this host's interfaces, takes them away, and tells the neighbours.
///
/// One address that fails does not keep the others from it.
struct SharedAddresses {
    let addresses: [SharedAddress]
    private let announcer = Announcer()

    init(addresses: [SharedAddress]) { self.addresses = addresses }

    func claim() -> [LogLine] {
        each("cannot put a shared address on its interface") { address throws(NetlinkError) in
            try Addresses.add(address.prefix, to: address.interface)
        }
    }

    func release() -> [LogLine] {
        let problems = each("cannot take a shared address from its interface") { address throws(NetlinkError) in
            try Addresses.remove(address.prefix, from: address.interface)
        }
        // When every address is gone, so that none waits for this.
        return problems + Set(addresses.map(\.interface)).sorted().compactMap(SharedAddresses.dropWaiting)
    }

    private static func dropWaiting(on interface: String) -> LogLine? {
        do throws(NetlinkError) {
            try Neighbours.dropWaiting(on: interface)
            return nil
        } catch {
            let fields = [LogLine.Field("interface", interface), .init("reason", "\(error)")]
            return LogLine(.error, "cannot drop packets that wait for a neighbour", fields)
        }
    }

    func announce() -> [LogLine] {
        each("cannot announce a shared address") { address throws(NetlinkError) in
            try announcer.announce(address.prefix.address, on: address.interface)
        }
    }

    private func each(_ failure: String, _ work: (SharedAddress) throws(NetlinkError) -> Void) -> [LogLine] {
        addresses.compactMap { address in
            do throws(NetlinkError) {
                try work(address)
                return nil
            } catch {
                let fields = [
                    LogLine.Field("address", "\(address.prefix)"), .init("interface", address.interface), .init("reason", "\(error)"),
                ]
                return LogLine(.error, failure, fields)
            }
        }
    }
}
