public import Node
import Pair
public import Session

/// Two nodes in step with sessions of end-users, taken out of the world in which they came to be: for measurements of what a node does
/// with nothing around it.
public struct EstablishedPair {
    public var active: Node
    public var standby: Node
    public let now: Now
    /// By which the nodes know each session's CHILD SA.
    public let inboundSPIs: [UInt32]

    /// - Parameter sessions: at most 10,000.
    public init(sessions: Int) {
        precondition(sessions <= 10_000)
        let world = World(World.Options()) { fatalError($0) }
        world.checks.comparesTables = false
        world.startPair()
        var spis: [UInt32] = []
        for number in 0..<sessions {
            let user = World.EndUser(number, in: world)
            world.connect(user)
            spis.append(user.inboundSPIAtGateway)
            // They have nothing more to say.
            world.users = []
        }
        world.run(for: 1000)
        // Nothing may be under way that only the world knows.
        while world.nodes[0]!.sender.lag > 0 { world.run(for: 1) }
        active = world.nodes[0]!
        standby = world.nodes[1]!
        now = world.time
        inboundSPIs = spis
    }
}
