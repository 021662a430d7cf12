import IKE

/// What begins by itself, and what belongs to the life of a session as a whole.
enum StartKeys {
    static let connection = ["unique", "childless", "reauth_time", "follow_redirects"]
    static let child = ["start_action", "dpd_action", "close_action"]
}

extension Sections {
    /// A year, as for `rekey_time`.
    private static let reauthenticationMax: Duration = .seconds(366 * 86400)

    func readStart(_ table: TableReader, into connection: inout ConnectionConfiguration) {
        switch table.choice("unique", ["no", "never", "keep", "replace"]) {
        case "never": connection.unique = .never
        case "keep": connection.unique = .keep
        case "replace": connection.unique = .replace
        default: connection.unique = .no
        }
        switch table.choice("childless", ["allow", "prefer", "force", "never"]) {
        case "prefer": connection.childless = .prefer
        case "force": connection.childless = .force
        case "never": connection.childless = .never
        default: connection.childless = .allow
        }
        let time = table.duration("reauth_time", in: .zero...Sections.reauthenticationMax)
        connection.reauthenticationTime = time == .zero ? nil : time
        if let time, time > .zero, time < .seconds(10) {
            table.problem("reauth_time", "\(DurationText.show(time)) is too short", "use 10s or more: a session begins anew each time")
        }
        connection.followsRedirects = table.boolean("follow_redirects") ?? true
        checkCallee(table, connection)
    }

    /// Whoever is to be called has to have an address.
    private func checkCallee(_ table: TableReader, _ connection: ConnectionConfiguration) {
        guard connection.remoteAddresses.hosts.isEmpty else { return }
        for (name, reader) in table.named("children") {
            guard let child = connection.children.first(where: { $0.name == name }) else { continue }
            let calls = [
                "start_action": child.startAction != [], "close_action": child.closeAction != .clear,
                "dpd_action": child.deadPeerAction != .clear,
            ]
            for key in StartKeys.child where calls[key] == true && reader.has(key) {
                reader.problem(
                    key, "there is nobody to call: remote_addrs of the connection names no single host",
                    "name one there, or remove \(key)")
            }
        }
    }

    /// What is to be there from the start is by default made again whenever a peer ended it, and what waits for a packet waits again.
    func readStart(_ table: TableReader, into child: inout ChildConfiguration) {
        switch table.choice("start_action", ["none", "start", "trap", "trap|start", "start|trap"]) {
        case "start": child.startAction = .start
        case "trap": child.startAction = .trap
        case "trap|start", "start|trap": child.startAction = [.start, .trap]
        default: child.startAction = []
        }
        let usual: LossAction = child.startAction.contains(.start) ? .restart : child.startAction.contains(.trap) ? .trap : .clear
        func action(_ word: String?) -> LossAction {
            switch word {
            case "none", "clear": .clear
            case "trap": .trap
            case "start", "restart": .restart
            default: usual
            }
        }
        child.closeAction = action(table.choice("close_action", ["none", "trap", "start"]))
        child.deadPeerAction = action(table.choice("dpd_action", ["clear", "trap", "restart", "start"]))
    }
}
