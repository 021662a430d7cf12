/// Processor time and allocations of what is done for every packet, message, delta and report; one JSON object.
@main
enum HotPaths {
    static func main() throws {
        var members: [String] = []
        func note(_ name: String, _ cost: Cost) {
            let samples = cost.samples.map { String(Int($0)) }.joined(separator: ", ")
            members.append(
                "\"\(name)\": {\"ns\": \(cost.nanoseconds), \"allocations\": \(cost.allocations), \"samples_ns\": [\(samples)]}")
        }
        for octets in [100, 1400] {
            let (seal, open) = try Packets(octets: octets).measure()
            note("esp_seal_\(octets)", seal)
            note("esp_open_\(octets)", open)
        }
        try Messages.measure(note)
        var replication = Replication(sessions: 1000)
        let result = try replication.measure()
        note("counter_report_active", result.active)
        note("counter_report_standby", result.standby)
        try replication.measureSnapshot(note)
        try replication.measureContexts(note)
        members.append("\"counter_report_octets\": \(result.octets)")
        print("{" + members.joined(separator: ", ") + "}")
    }

    static func measure(operations: Int, _ body: () throws -> Void) rethrows -> Cost {
        try hotPathCost(operations: operations, body)
    }
}
