import Session
import SwiftProtobuf

extension SessionDelta {
    var wire: WireDelta {
        WireDelta.with {
            $0.session = session.rawValue
            $0.changes = changes.map(\.wire)
        }
    }

    init(_ wire: WireDelta) throws(PairWireError) {
        self.init(
            session: SessionID(rawValue: wire.session),
            changes: try WireField.list(wire.changes, max: PairWireLimits.changesMax, "Delta.changes") { (change) throws(PairWireError) in
                try SessionChange(change)
            })
    }
}

extension SessionChange {
    fileprivate var wire: WireChange {
        WireChange.with {
            switch self {
            case .created(let session): $0.created = session.wire
            case .merged(let session): $0.merged = session.wire
            case .removed(let reason, let at):
                $0.removed.reason = WireField.shortened(reason)
                $0.removed.atWallMilliseconds = at
            case .detached(let at): $0.detached.atWallMilliseconds = at
            case .answered(let localSPI, let response):
                $0.answered.localSpi = localSPI
                $0.answered.response = response.wire
            case .requested(let localSPI, let request):
                $0.requested.localSpi = localSPI
                $0.requested.request = request.wire
            case .requestCompleted(let localSPI, let messageID):
                $0.requestCompleted.localSpi = localSPI
                $0.requestCompleted.messageID = messageID
            case .moved(let local, let remote):
                $0.moved.local = local.wire
                $0.moved.remote = remote.wire
            case .childAdded(let child): $0.childAdded = child.wire
            case .childRekeyed(let spi): $0.childRekeyed = spi
            case .childRemoved(let spi): $0.childRemoved = spi
            case .ikeSARekeyed(let successor): $0.ikeSaRekeyed = successor.wire
            case .ikeSAAdded(let other): $0.ikeSaAdded = other.wire
            case .ikeSAAdopted(let localSPI): $0.ikeSaAdopted = localSPI
            case .ikeSARemoved(let localSPI): $0.ikeSaRemoved = localSPI
            case .collided(let localSPI, let messageID, let collision):
                $0.collided.localSpi = localSPI
                $0.collided.messageID = messageID
                $0.collided.collision = collision.wire
            case .sendWindowSet(let localSPI, let size):
                $0.sendWindowSet.localSpi = localSPI
                $0.sendWindowSet.size = size
            case .pathChanged(let path): $0.pathChanged = path.wire
            case .movingSet(let path): $0.movingSet = WireMovingSet.with { if let path { $0.path = path.wire } }
            case .peerAddressesSet(let addresses): $0.peerAddressesSet.addresses = addresses.map(WireField.bytes)
            case .reauthenticationSet(let at):
                $0.reauthenticationSet = WireReauthenticationSet.with { if let at { $0.atWallMilliseconds = at } }
            case .redirected(let address): $0.redirected = WireField.bytes(address)
            case .redirectsSet(let redirects): $0.redirectsSet = redirects.wire
            case .arrived(let nextSendID, let nextReceiveID):
                $0.arrived.nextSendID = nextSendID
                $0.arrived.nextReceiveID = nextReceiveID
            case .volumeReached(let spi, let volume):
                $0.volumeReached.inboundSpi = spi
                $0.volumeReached.volume = volume.wire
            case .childLifetimeSet(let spi, let lifetime):
                $0.childLifetimeSet.spi = UInt64(spi)
                $0.childLifetimeSet.lifetime = lifetime.wire
            case .ikeLifetimeSet(let localSPI, let lifetime):
                $0.ikeLifetimeSet.spi = localSPI
                $0.ikeLifetimeSet.lifetime = lifetime.wire
            case .syncRequested(let localSPI, let request):
                $0.syncRequested.localSpi = localSPI
                $0.syncRequested.request = request.wire
            case .syncCompleted(let localSPI, let ids):
                $0.syncCompleted.localSpi = localSPI
                $0.syncCompleted.ids = ids.wire
            case .syncAnswered(let localSPI, let answer, let ids):
                $0.syncAnswered.localSpi = localSPI
                $0.syncAnswered.answer = answer.wire
                $0.syncAnswered.ids = ids.wire
            case .leased(let spi, let lease):
                $0.leased.inboundSpi = spi
                $0.leased.slice = lease.slice
            case .inboundAdvanced(let spi, let top):
                $0.inboundAdvanced.inboundSpi = spi
                $0.inboundAdvanced.top = top
            }
        }
    }

    fileprivate init(_ wire: WireChange) throws(PairWireError) {
        switch wire.kind {
        case .created(let session): self = .created(try Session(session))
        case .merged(let session): self = .merged(try Session(session))
        case .removed(let removed):
            self = .removed(
                reason: try WireField.text(removed.reason, max: PairWireLimits.reasonBytesMax, "Removed.reason"),
                at: try WireField.wallMilliseconds(removed.atWallMilliseconds, "Removed.at_wall_milliseconds"))
        case .detached(let detached):
            self = .detached(at: try WireField.wallMilliseconds(detached.atWallMilliseconds, "Detached.at_wall_milliseconds"))
        case .answered(let answered):
            let response = try CachedResponse(WireField.present(answered.hasResponse, answered.response, "Answered.response"))
            self = .answered(localSPI: answered.localSpi, response: response)
        case .requested(let requested):
            let request = try PendingRequest(WireField.present(requested.hasRequest, requested.request, "Requested.request"))
            self = .requested(localSPI: requested.localSpi, request: request)
        case .requestCompleted(let completed):
            self = .requestCompleted(localSPI: completed.localSpi, messageID: completed.messageID)
        case .moved(let moved):
            self = .moved(
                local: try Endpoint(WireField.present(moved.hasLocal, moved.local, "Moved.local")),
                remote: try Endpoint(WireField.present(moved.hasRemote, moved.remote, "Moved.remote")))
        case .childAdded(let child): self = .childAdded(try ChildSA(child))
        case .childRekeyed(let spi): self = .childRekeyed(inboundSPI: spi)
        case .childRemoved(let spi): self = .childRemoved(inboundSPI: spi)
        case .ikeSaRekeyed(let successor): self = .ikeSARekeyed(try IKESA(successor))
        case .ikeSaAdded(let other): self = .ikeSAAdded(try IKESA(other))
        case .ikeSaAdopted(let localSPI): self = .ikeSAAdopted(localSPI: localSPI)
        case .ikeSaRemoved(let localSPI): self = .ikeSARemoved(localSPI: localSPI)
        case .collided(let collided):
            let collision = try RekeyCollision(WireField.present(collided.hasCollision, collided.collision, "Collided.collision"))
            self = .collided(localSPI: collided.localSpi, messageID: collided.messageID, collision: collision)
        case .sendWindowSet(let set):
            self = .sendWindowSet(localSPI: set.localSpi, size: try PairWireLimits.window(set.size, "SendWindowSet.size"))
        case .pathChanged(let path): self = .pathChanged(try SessionPath(path))
        case .movingSet(let set): self = .movingSet(set.hasPath ? try SessionPath(set.path) : nil)
        case .peerAddressesSet(let list):
            self = .peerAddressesSet(try IPAddress.list(list.addresses, "Change.peer_addresses_set"))
        case .reauthenticationSet(let set):
            let at = set.hasAtWallMilliseconds ? set.atWallMilliseconds : nil
            self = .reauthenticationSet(at: try WireField.wallMilliseconds(at, "ReauthenticationSet.at_wall_milliseconds"))
        case .redirected(let address): self = .redirected(to: try WireField.address(address, "Change.redirected"))
        case .redirectsSet(let redirects): self = .redirectsSet(try Redirections(redirects))
        case .arrived(let arrived): self = .arrived(nextSendID: arrived.nextSendID, nextReceiveID: arrived.nextReceiveID)
        case .volumeReached(let reached):
            self = .volumeReached(inboundSPI: reached.inboundSpi, volume: Volume(reached.volume))
        case .childLifetimeSet(let set):
            guard let spi = UInt32(exactly: set.spi) else { throw .invalid("LifetimeSet.spi") }
            self = .childLifetimeSet(inboundSPI: spi, lifetime: try Lifetime(set.lifetime))
        case .ikeLifetimeSet(let set): self = .ikeLifetimeSet(localSPI: set.spi, lifetime: try Lifetime(set.lifetime))
        case .syncRequested(let requested):
            self = .syncRequested(
                localSPI: requested.localSpi,
                request: try SyncRequest(WireField.present(requested.hasRequest, requested.request, "SyncRequested.request")))
        case .syncCompleted(let completed):
            self = .syncCompleted(
                localSPI: completed.localSpi, ids: try MessageIDs(completed.hasIds, completed.ids, "SyncCompleted.ids"))
        case .syncAnswered(let answered):
            self = .syncAnswered(
                localSPI: answered.localSpi,
                answer: try SyncAnswer(WireField.present(answered.hasAnswer, answered.answer, "SyncAnswered.answer")),
                ids: try MessageIDs(answered.hasIds, answered.ids, "SyncAnswered.ids"))
        case .leased(let leased): self = .leased(inboundSPI: leased.inboundSpi, lease: Lease(slice: leased.slice))
        case .inboundAdvanced(let advanced): self = .inboundAdvanced(inboundSPI: advanced.inboundSpi, top: advanced.top)
        case nil: throw .unknownKind("change")
        }
    }
}
