import IKEWire
public import Session

/// Messages of the Context Transfer Protocol between a mobile node and its gateway, CTAR and CTAA (RFC 4067 §2.5.1, §2.5.2): a notify
/// inside their IKE SA, so that nobody on the path learns who moves where, and nobody else can ask. The format: Docs/context-transfer.md.
extension IKEEngine {
    /// A CTAR that names as many types as it may has less.
    public static let contextTransferMessageMax = 1024

    /// Sends one, now or when the window is free; the peer acknowledges it as every request.
    ///
    /// - Returns: `nil` when there is no such session, or when its peer did not announce context transfer.
    public mutating func sendContextTransferMessage(
        _ message: [UInt8], session id: SessionID, table: SessionTable, context: IKEContext
    ) -> IKEOutcome? {
        guard let session = table[id], !session.isClosing, session.capabilities.contains(.contextTransfer),
            message.count <= IKEEngine.contextTransferMessageMax
        else { return nil }
        return want(.contextTransferMessage(message), in: session, table: table, context: context)
    }

    /// From a peer that did not announce context transfer the notify means nothing (RFC 7296 §3.10.1).
    func takeContextTransferMessage(_ request: PayloadSet, session: Session, answer: inout RequestAnswer) {
        guard session.capabilities.contains(.contextTransfer), let notify = request.notify(.cxtpMessage),
            notify.data.count <= IKEEngine.contextTransferMessageMax
        else { return }
        answer.events.append(.contextTransferMessage(session: session.id, notify.data))
    }
}
