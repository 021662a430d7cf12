import Netlink
import Node
import Session

/// Makes this host stop speaking for the pair's sessions, without the daemon: shuts the data plane's gate where the kernel holds
/// it, and takes the shared addresses away.
///
/// With the user data plane there is no gate to shut: it is gone with the daemon's process, and blackhole routes stand behind it.
/// Safe to repeat, and at any time.
public struct Fence {
    private let addresses: [SharedAddress]
    private let gate: KernelGate?

    /// Does beforehand what takes time: finds out whether the kernel does the ESP.
    public init(configuration: Configuration) {
        addresses = configuration.node.addresses
        gate = KernelGate(configuration: configuration)
    }

    /// - Returns: what could not be done, for the log. The rest was done all the same.
    public func engage() -> [String] {
        var failures: [String] = []
        do { try gate?.shut() } catch { failures.append("\(error)") }
        for address in addresses {
            do throws(NetlinkError) {
                try Addresses.remove(address.prefix, from: address.interface)
            } catch {
                failures.append("\(error)")
            }
        }
        for interface in Set(addresses.map(\.interface)) {
            do throws(NetlinkError) {
                try Neighbours.dropWaiting(on: interface)
            } catch  where error.isNotThere {
                // Nothing waits on an interface that is gone.
            } catch {
                failures.append("\(error)")
            }
        }
        return failures
    }

    /// What may follow without haste: takes the SAs behind the gate out of the kernel.
    ///
    /// - Returns: what could not be done.
    public func clear() -> [String] {
        do { try gate?.clear() } catch { return ["\(error)"] }
        return []
    }

    /// `tandem fence`: reads the configuration and fences.
    ///
    /// - Throws: `ConfigurationError`, or `FenceError` when something was left undone.
    public static func run(configurationPath: String) throws {
        let configuration: Configuration
        do {
            configuration = try Configuration.load(path: configurationPath, for: .fencing)
        } catch {
            // Which addresses are the pair's is not known then. The kernel knows which policies are.
            try? KernelDataPlane.fence()
            throw error
        }
        let fence = Fence(configuration: configuration)
        let failures = fence.engage() + fence.clear()
        if !failures.isEmpty { throw FenceError(failures: failures) }
    }
}

/// What a fence left undone.
public struct FenceError: Error, Hashable, Sendable, CustomStringConvertible {
    public let failures: [String]
    public var description: String { failures.joined(separator: "; ") }
}
