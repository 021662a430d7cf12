import Node
import Pair

/// What an input is called in the log, when one took long: its kind, and never what is in it.
extension Input {
    var name: String {
        switch self {
        case .started: "started"
        case .datagram: "datagram"
        case .heartbeat: "heartbeat"
        case .linkOpened: "link_opened"
        case .linkClosed: "link_closed"
        case .frame(let frame): "frame_\(frame.name)"
        case .transferMessage: "transfer_message"
        case .transferLinkClosed: "transfer_link_closed"
        case .certificate: "certificate"
        case .dataPlane: "data_plane"
        case .dataPlaneFailed: "data_plane_failed"
        case .load: "load"
        case .health: "health"
        case .revocationLists: "revocation_lists"
        case .localAddressesChanged: "local_addresses_changed"
        case .request: "request"
        case .hookEnded: "hook_ended"
        case .milestonePassed: "milestone_passed"
        case .flows: "flows"
        case .flowsInjected: "flows_injected"
        case .arbitration: "arbitration"
        case .state: "state"
        case .deadline: "deadline"
        }
    }
}

extension PairFrame {
    fileprivate var name: String {
        switch self {
        case .hello: "hello"
        case .entry: "entry"
        case .acknowledge: "acknowledge"
        case .snapshotBegin: "snapshot_begin"
        case .snapshotPage: "snapshot_page"
        case .snapshotEnd: "snapshot_end"
        case .snapshotPageTaken: "snapshot_page_taken"
        case .handover: "handover"
        case .handoverAccepted: "handover_accepted"
        case .handoverRefused: "handover_refused"
        case .flows: "flows"
        case .flowsTaken: "flows_taken"
        case .certificateOffer: "certificate_offer"
        case .certificateAnswer: "certificate_answer"
        case .mergeRequest: "merge_request"
        case .mergePage: "merge_page"
        case .mergePageTaken: "merge_page_taken"
        case .mergeEnd: "merge_end"
        case .passedOn: "passed_on"
        case .condition: "condition"
        }
    }
}
