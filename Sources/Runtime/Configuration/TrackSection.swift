import Node
import Session
import TOMLKit

extension Sections {
    /// `[track]`: what makes this node unfit, and how often the pair may hand over because of it. Without the section the interfaces of
    /// the shared addresses, memory, descriptors, the data plane and the clock are looked at.
    ///
    /// - Parameter shared: those of `[[address]]`.
    func track(shared: [SharedAddress]) -> TrackConfiguration {
        var track = TrackConfiguration()
        for address in shared where !track.interfaces.contains(address.interface) { track.interfaces.append(address.interface) }
        guard let table = root.subtable("track") else { return track }
        table.allow([
            "interfaces", "script", "memory", "descriptors", "clock_jump", "data_plane_failures", "handovers", "window", "hold_down",
            "hold_down_max",
        ])
        track.interfaces = trackedInterfaces(table) ?? track.interfaces
        track.scripts = trackedScripts(table)
        track.memoryPercent = percentOrOff(table, "memory", usual: track.memoryPercent)
        track.descriptorsPercent = percentOrOff(table, "descriptors", usual: track.descriptorsPercent)
        if isOff(table, "clock_jump") {
            track.clockJump = nil
        } else {
            track.clockJump = table.duration("clock_jump", in: .seconds(1)...Duration.seconds(86_400)) ?? track.clockJump
        }
        let failures = table.integer("data_plane_failures", in: 0...1000)
        if let failures { track.dataPlaneFailures = failures == 0 ? nil : failures }
        track.damping = damping(table)
        return track
    }

    private func trackedInterfaces(_ table: TableReader) -> [String]? {
        let names = table.list("interfaces", "the name of an interface (1 to 15 characters)") { text in
            isInterfaceName(text) ? text : nil
        }
        guard let names else { return nil }
        if names.count > TrackConfiguration.interfacesMax {
            table.problem("interfaces", "has \(names.count) names", "use \(TrackConfiguration.interfacesMax) at most")
        }
        if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
            table.problem("interfaces", "names \(twice) twice", "remove one of the two")
        }
        return names
    }

    /// A number below which nothing is wrong, as `"95%"`; `"off"`: it is not looked at.
    private func percentOrOff(_ table: TableReader, _ key: String, usual: Int?) -> Int? {
        if isOff(table, key) { return nil }
        return percent(table, key, in: 10...100) ?? usual
    }

    private func isOff(_ table: TableReader, _ key: String) -> Bool { table.table[key]?.string == "off" }

    // MARK: Scripts

    private func trackedScripts(_ track: TableReader) -> [TrackedScript] {
        let tables = track.tables("script")
        if tables.count > TrackConfiguration.scriptsMax {
            track.problem("script", "there are \(tables.count) of them", "use \(TrackConfiguration.scriptsMax) at most")
        }
        var found: [TrackedScript] = []
        for table in tables {
            guard let script = trackedScript(table) else { continue }
            if found.contains(where: { $0.name == script.name }) {
                table.problem("name", "\"\(script.name)\" is the name of another script", "give each its own")
            } else {
                found.append(script)
            }
        }
        return found
    }

    private func trackedScript(_ table: TableReader) -> TrackedScript? {
        table.allow(["name", "command", "interval", "timeout", "rise", "fall"])
        for (key, example) in [("name", "name = \"backend\""), ("command", "command = [\"/etc/tandem/check-backend\"]")]
        where !table.has(key) {
            table.missing(key, example)
        }
        let name = table.value("name", "a name of 1 to 64 letters, digits, - and _") { text in
            let fits = (1...64).contains(text.utf8.count)
            return fits && text.utf8.allSatisfy { isNameOctet($0) } ? text : nil
        }
        let command = trackedCommand(table)
        let interval = table.duration("interval", in: .milliseconds(500)...Duration.seconds(3600))
        let timeout = table.duration("timeout", in: .milliseconds(100)...Duration.seconds(600))
        let rise = table.integer("rise", in: 1...100)
        let fall = table.integer("fall", in: 1...100)
        guard let name, let command else { return nil }
        var script = TrackedScript(name: name, command: command)
        script.interval = interval ?? script.interval
        script.timeout = timeout ?? script.timeout
        script.rise = rise ?? script.rise
        script.fall = fall ?? script.fall
        return script
    }

    private func isNameOctet(_ octet: UInt8) -> Bool {
        (0x30...0x39).contains(octet) || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet) || octet == 0x2D || octet == 0x5F
    }

    /// An array: no shell takes it apart.
    private func trackedCommand(_ table: TableReader) -> [String]? {
        guard table.has("command") else { return nil }
        let words = table.table["command"]?.array.map { array in array.compactMap(\.string) }
        guard let words, words.count == table.table["command"]?.array?.count, let program = words.first else {
            table.problem("command", "is not an array of strings", "write [\"/path/of/program\", \"argument\"]: no shell takes it apart")
            return nil
        }
        if let (what, remedy) = ProgramFile.problem(program) {
            table.problem("command", what, remedy)
            return nil
        }
        return words
    }

    // MARK: Damping

    private func damping(_ table: TableReader) -> DampingSettings {
        var settings = DampingSettings()
        let day = Duration.seconds(86_400)
        settings.handovers = table.integer("handovers", in: 1...100) ?? settings.handovers
        settings.window = table.duration("window", in: .seconds(1)...day) ?? settings.window
        settings.holdDown = table.duration("hold_down", in: .seconds(1)...day) ?? settings.holdDown
        let longest = table.duration("hold_down_max", in: .seconds(1)...day)
        if let longest, longest < settings.holdDown {
            let what = "\(DurationText.show(longest)) is below hold_down, \(DurationText.show(settings.holdDown))"
            table.problem("hold_down_max", what, "raise it: a hold-down grows up to it")
        }
        settings.holdDownMax = max(longest ?? settings.holdDownMax, settings.holdDown)
        return settings
    }

    // MARK: Preference

    static let preferenceKeys = ["prefer", "preempt_delay"]

    /// `[pair] prefer` and `preempt_delay`.
    func preference(node: String?, peer: String?) -> PreferredNode? {
        guard let table = root.subtable("pair") else { return nil }
        let delay = table.duration("preempt_delay", in: .seconds(1)...Duration.seconds(86_400))
        let name = table.nonEmptyString("prefer")
        guard let name, name != "none" else {
            if table.has("preempt_delay"), !table.has("prefer") {
                table.problem("preempt_delay", "has no meaning without prefer", "add prefer = \"\(node ?? "sg1")\"")
            }
            return nil
        }
        guard name == node || name == peer else {
            let known = [node, peer].compactMap { $0 }.map { "\"\($0)\"" }
            table.problem("prefer", "\"\(name)\" is neither of the two nodes", "use \((known + ["\"none\""]).joined(separator: ", "))")
            return nil
        }
        return PreferredNode(isOwn: name == node, name: name, delay: delay ?? PreferredNode.delayDefault)
    }
}
