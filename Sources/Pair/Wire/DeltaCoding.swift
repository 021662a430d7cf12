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
            case .removed(let reason): $0.removed = WireField.shortened(reason)
            case .answered(let localSPI, let nextReceiveID, let response):
                $0.answered.localSpi = localSPI
                $0.answered.nextReceiveID = nextReceiveID
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
            case .rekeyedIKESARemoved: $0.rekeyedIkeSaRemoved = WireNothing()
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
        case .removed(let reason): self = .removed(reason: try WireField.text(reason, max: PairWireLimits.reasonBytesMax, "Change.removed"))
        case .answered(let answered):
            let response = try CachedResponse(WireField.present(answered.hasResponse, answered.response, "Answered.response"))
            self = .answered(localSPI: answered.localSpi, nextReceiveID: answered.nextReceiveID, response: response)
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
        case .rekeyedIkeSaRemoved: self = .rekeyedIKESARemoved
        case .leased(let leased): self = .leased(inboundSPI: leased.inboundSpi, lease: Lease(slice: leased.slice))
        case .inboundAdvanced(let advanced): self = .inboundAdvanced(inboundSPI: advanced.inboundSpi, top: advanced.top)
        case nil: throw .unknownKind("change")
        }
    }
}
