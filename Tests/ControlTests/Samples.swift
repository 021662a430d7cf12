import Control

/// Summaries in which no two fields of one kind are equal, so that a mixed-up key shows.
enum Samples {
    static let child = ChildSummary(
        name: "net", uniqueID: 7, reqid: 2, state: "INSTALLED", mode: "TUNNEL", isEncapsulated: true, inboundSPI: 0xC123_4567,
        outboundSPI: 0x0000_4567, encryption: "AES_CBC", encryptionKeyBits: 128, integrity: "HMAC_SHA2_256_128", keyExchange: "ECP_256",
        hasExtendedSequenceNumbers: true, inboundBytes: 8400, inboundPackets: 100, inboundUseMilliseconds: 1500, outboundBytes: 16_800,
        outboundPackets: 200, outboundUseMilliseconds: 2600, rekeyMilliseconds: 3_000_400, lifeMilliseconds: 3_900_500,
        installedMilliseconds: 12_345, localSelectors: ["10.10.0.0/16", "10.11.0.0/16"], remoteSelectors: ["10.20.0.1/32"], inboundTop: 101,
        outboundNext: 201, leaseLimit: 1 << 24, leaseSlice: 3)

    static let session = SASummary(
        name: "road", uniqueID: 5, state: "ESTABLISHED", localHost: "192.0.2.10", localPort: 4500, localID: "gw.example.net",
        remoteHost: "198.51.100.7", remotePort: 4501, remoteID: "eu@example.net", isInitiator: true, initiatorSPI: 0x0123_4567_89AB_CDEF,
        responderSPI: 0x8000_0000_0000_0001, natLocal: true, natRemote: false, encryption: "AES_GCM_16", encryptionKeyBits: 256,
        integrity: nil, prf: "PRF_HMAC_SHA2_384", keyExchange: "ECP_384", establishedMilliseconds: 65_432, rekeyMilliseconds: 14_000_700,
        remoteVirtualAddresses: ["10.20.0.1"], activeTasks: ["IKE_DPD"], children: [child], sessionID: 0x8000_0000_0000_0042, owner: "sg1",
        isOwned: true, epoch: 9, nextSendID: 11, nextReceiveID: 12, pendingRequestID: 10, rekeyedSPI: "8000000000000009",
        capabilities: ["mobike", "redirect"])

    static let steps = [StepSummary(name: "own", microseconds: 1200), StepSummary(name: "claim", microseconds: 14)]

    static let status: StatusSummary = {
        var status = StatusSummary()
        (status.version, status.node, status.nodeID, status.role) = ("0.1.0", "sg1", 1, "active")
        (status.roleSinceMilliseconds, status.epoch, status.startedMilliseconds) = (1_795_400_000_000, 9, 1_795_390_000_000)
        (status.peer, status.pairState, status.pairSinceMilliseconds) = ("sg2", "paired", 1_795_400_000_200)
        (status.pairReason, status.isLinkUp, status.lagDeltas) = ("snapshot complete", true, 2)
        (status.sessionsOwned, status.sessionsHeld, status.childrenOwned, status.childrenHeld) = (3, 4, 5, 6)
        status.halfOpen = 1
        status.overload = "overloaded: half_open 900"
        status.overloadSinceMilliseconds = 1_795_390_000_000
        status.addresses = [AddressSummary(address: "192.0.2.10/24", interface: "eth0", isHeld: true)]
        var roaming = RoamingSummary()
        (roaming.own, roaming.peer) = (["198.51.100.10", "2001:db8:1::10"], ["203.0.113.10"])
        (roaming.movable, roaming.behindNAT, roaming.unable) = (21, 22, 23)
        (roaming.moving, roaming.waiting, roaming.unanswered) = (24, 25, 26)
        status.roaming = roaming
        var arbitration = ArbitrationSummary()
        (arbitration.reachability, arbitration.fencing) = (true, true)
        (arbitration.witness, arbitration.witnessAtMilliseconds) = ("refused: sg2", 27)
        arbitration.trouble = "not taking over: the witness has a claim of sg2"
        status.arbitration = arbitration
        (status.dataPlane, status.dataPlaneReason, status.gate) = ("kernel", "the kernel has ESP", "open")
        status.heartbeatPaths = [
            HeartbeatPathSummary(local: "10.1.0.1:4510", remote: "10.1.0.2:4510", lastHeardMilliseconds: 31, isUp: true),
            HeartbeatPathSummary(local: "10.2.0.1:4510", remote: "10.2.0.2:4510", isUp: false),
        ]
        status.lastTakeover = TakeoverSummary(
            cause: "heartbeat_lost", epoch: 9, atMilliseconds: 1_795_400_000_000, totalMicroseconds: 3214, steps: steps)
        var condition = ConditionSummary()
        (condition.fitness, condition.fitnessSinceMilliseconds) = ("unfit", 1_795_400_000_001)
        condition.faults = [FaultSummary(name: "interface eth0", reason: "no carrier", sinceMilliseconds: 1_795_400_000_002)]
        (condition.tracked, condition.maintenance) = (["memory: 40% used"], "drained")
        condition.maintenanceSinceMilliseconds = 1_795_400_000_003
        (condition.peerFitness, condition.peerFaults, condition.peerMaintenance) = ("fit", ["clock (x)"], "standby")
        (condition.preferred, condition.automaticHandovers) = ("sg2", 31)
        (condition.heldUntilMilliseconds, condition.nextHandoverMilliseconds) = (1_795_400_000_004, 1_795_400_000_005)
        status.condition = condition
        status.counters = ["ike_received": 812, "ike_dropped_cookie": 4]
        return status
    }()
}
