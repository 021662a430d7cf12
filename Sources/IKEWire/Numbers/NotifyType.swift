/// What a Notify payload says (RFC 7296 §3.10.1). Unknown values are kept as they came.
public struct NotifyType: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Below 16384: an error. One that is not known, in a response, means that the request failed entirely.
    public var isError: Bool { rawValue < 16384 }

    // Errors, RFC 7296 §3.10.1.
    public static let unsupportedCriticalPayload = NotifyType(rawValue: 1)
    public static let invalidIKESPI = NotifyType(rawValue: 4)
    public static let invalidMajorVersion = NotifyType(rawValue: 5)
    public static let invalidSyntax = NotifyType(rawValue: 7)
    public static let invalidMessageID = NotifyType(rawValue: 9)
    public static let invalidSPI = NotifyType(rawValue: 11)
    public static let noProposalChosen = NotifyType(rawValue: 14)
    public static let invalidKEPayload = NotifyType(rawValue: 17)
    public static let authenticationFailed = NotifyType(rawValue: 24)
    public static let singlePairRequired = NotifyType(rawValue: 34)
    public static let noAdditionalSAs = NotifyType(rawValue: 35)
    public static let internalAddressFailure = NotifyType(rawValue: 36)
    public static let failedCPRequired = NotifyType(rawValue: 37)
    public static let tsUnacceptable = NotifyType(rawValue: 38)
    public static let invalidSelectors = NotifyType(rawValue: 39)
    public static let temporaryFailure = NotifyType(rawValue: 43)
    public static let childSANotFound = NotifyType(rawValue: 44)
    // Errors, RFC 4555 §4.
    public static let unacceptableAddresses = NotifyType(rawValue: 40)
    public static let unexpectedNATDetected = NotifyType(rawValue: 41)

    // Status, RFC 7296 §3.10.1.
    public static let initialContact = NotifyType(rawValue: 16384)
    public static let setWindowSize = NotifyType(rawValue: 16385)
    public static let additionalTSPossible = NotifyType(rawValue: 16386)
    public static let ipcompSupported = NotifyType(rawValue: 16387)
    public static let natDetectionSourceIP = NotifyType(rawValue: 16388)
    public static let natDetectionDestinationIP = NotifyType(rawValue: 16389)
    public static let cookie = NotifyType(rawValue: 16390)
    public static let useTransportMode = NotifyType(rawValue: 16391)
    public static let httpCertLookupSupported = NotifyType(rawValue: 16392)
    public static let rekeySA = NotifyType(rawValue: 16393)
    public static let espTFCPaddingNotSupported = NotifyType(rawValue: 16394)
    public static let nonFirstFragmentsAlso = NotifyType(rawValue: 16395)
    // MOBIKE, RFC 4555 §4.
    public static let mobikeSupported = NotifyType(rawValue: 16396)
    public static let additionalIP4Address = NotifyType(rawValue: 16397)
    public static let additionalIP6Address = NotifyType(rawValue: 16398)
    public static let noAdditionalAddresses = NotifyType(rawValue: 16399)
    public static let updateSAAddresses = NotifyType(rawValue: 16400)
    public static let cookie2 = NotifyType(rawValue: 16401)
    public static let noNATsAllowed = NotifyType(rawValue: 16402)
    // RFC 4478 and RFC 4739.
    public static let authLifetime = NotifyType(rawValue: 16403)
    public static let multipleAuthSupported = NotifyType(rawValue: 16404)
    public static let anotherAuthFollows = NotifyType(rawValue: 16405)
    // Redirect, RFC 5685 §5.
    public static let redirectSupported = NotifyType(rawValue: 16406)
    public static let redirect = NotifyType(rawValue: 16407)
    public static let redirectedFrom = NotifyType(rawValue: 16408)
    // RFC 5998, RFC 6023 and RFC 6290.
    public static let eapOnlyAuthentication = NotifyType(rawValue: 16417)
    public static let childlessIKEv2Supported = NotifyType(rawValue: 16418)
    public static let quickCrashDetection = NotifyType(rawValue: 16419)
    // High availability, RFC 6311 §8.
    public static let ikev2MessageIDSyncSupported = NotifyType(rawValue: 16420)
    public static let ipsecReplayCounterSyncSupported = NotifyType(rawValue: 16421)
    public static let ikev2MessageIDSync = NotifyType(rawValue: 16422)
    public static let ipsecReplayCounterSync = NotifyType(rawValue: 16423)
    // RFC 7383, RFC 7427, RFC 8784 and RFC 9242.
    public static let ikev2FragmentationSupported = NotifyType(rawValue: 16430)
    public static let signatureHashAlgorithms = NotifyType(rawValue: 16431)
    public static let usePPK = NotifyType(rawValue: 16435)
    public static let ppkIdentity = NotifyType(rawValue: 16436)
    public static let noPPKAuth = NotifyType(rawValue: 16437)
    public static let intermediateExchangeSupported = NotifyType(rawValue: 16438)
    // Tandem's own, of the private range (RFC 7296 §3.10.1): only for peers that sent the vendor ID of context transfer.
    public static let ipsecSyn = NotifyType(rawValue: 46420)
    public static let noReauthIPsecContextTransmitted = NotifyType(rawValue: 46421)
    public static let cxtpMessage = NotifyType(rawValue: 46422)
}

extension NotifyType: CustomStringConvertible {
    /// The name in the standards, or `NOTIFY_` and the number.
    public var description: String { NotifyType.names[self] ?? "NOTIFY_\(rawValue)" }

    private static let names: [NotifyType: String] = [
        .unsupportedCriticalPayload: "UNSUPPORTED_CRITICAL_PAYLOAD", .invalidIKESPI: "INVALID_IKE_SPI",
        .invalidMajorVersion: "INVALID_MAJOR_VERSION", .invalidSyntax: "INVALID_SYNTAX", .invalidMessageID: "INVALID_MESSAGE_ID",
        .invalidSPI: "INVALID_SPI", .noProposalChosen: "NO_PROPOSAL_CHOSEN", .invalidKEPayload: "INVALID_KE_PAYLOAD",
        .authenticationFailed: "AUTHENTICATION_FAILED", .singlePairRequired: "SINGLE_PAIR_REQUIRED",
        .noAdditionalSAs: "NO_ADDITIONAL_SAS", .internalAddressFailure: "INTERNAL_ADDRESS_FAILURE",
        .failedCPRequired: "FAILED_CP_REQUIRED", .tsUnacceptable: "TS_UNACCEPTABLE", .invalidSelectors: "INVALID_SELECTORS",
        .temporaryFailure: "TEMPORARY_FAILURE", .childSANotFound: "CHILD_SA_NOT_FOUND",
        .unacceptableAddresses: "UNACCEPTABLE_ADDRESSES", .unexpectedNATDetected: "UNEXPECTED_NAT_DETECTED",
        .initialContact: "INITIAL_CONTACT", .setWindowSize: "SET_WINDOW_SIZE", .additionalTSPossible: "ADDITIONAL_TS_POSSIBLE",
        .ipcompSupported: "IPCOMP_SUPPORTED", .natDetectionSourceIP: "NAT_DETECTION_SOURCE_IP",
        .natDetectionDestinationIP: "NAT_DETECTION_DESTINATION_IP", .cookie: "COOKIE", .useTransportMode: "USE_TRANSPORT_MODE",
        .httpCertLookupSupported: "HTTP_CERT_LOOKUP_SUPPORTED", .rekeySA: "REKEY_SA",
        .espTFCPaddingNotSupported: "ESP_TFC_PADDING_NOT_SUPPORTED", .nonFirstFragmentsAlso: "NON_FIRST_FRAGMENTS_ALSO",
        .mobikeSupported: "MOBIKE_SUPPORTED", .additionalIP4Address: "ADDITIONAL_IP4_ADDRESS",
        .additionalIP6Address: "ADDITIONAL_IP6_ADDRESS", .noAdditionalAddresses: "NO_ADDITIONAL_ADDRESSES",
        .updateSAAddresses: "UPDATE_SA_ADDRESSES", .cookie2: "COOKIE2", .noNATsAllowed: "NO_NATS_ALLOWED",
        .authLifetime: "AUTH_LIFETIME", .multipleAuthSupported: "MULTIPLE_AUTH_SUPPORTED",
        .anotherAuthFollows: "ANOTHER_AUTH_FOLLOWS", .redirectSupported: "REDIRECT_SUPPORTED", .redirect: "REDIRECT",
        .redirectedFrom: "REDIRECTED_FROM", .eapOnlyAuthentication: "EAP_ONLY_AUTHENTICATION",
        .childlessIKEv2Supported: "CHILDLESS_IKEV2_SUPPORTED", .quickCrashDetection: "QUICK_CRASH_DETECTION",
        .ikev2MessageIDSyncSupported: "IKEV2_MESSAGE_ID_SYNC_SUPPORTED",
        .ipsecReplayCounterSyncSupported: "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED", .ikev2MessageIDSync: "IKEV2_MESSAGE_ID_SYNC",
        .ipsecReplayCounterSync: "IPSEC_REPLAY_COUNTER_SYNC", .ikev2FragmentationSupported: "IKEV2_FRAGMENTATION_SUPPORTED",
        .signatureHashAlgorithms: "SIGNATURE_HASH_ALGORITHMS", .usePPK: "USE_PPK", .ppkIdentity: "PPK_IDENTITY",
        .noPPKAuth: "NO_PPK_AUTH", .intermediateExchangeSupported: "INTERMEDIATE_EXCHANGE_SUPPORTED", .ipsecSyn: "IPSEC_SYN",
        .noReauthIPsecContextTransmitted: "NO_REAUTH_IPSEC_CXT_TRANSMITTED", .cxtpMessage: "CXTP_MESSAGE",
    ]
}
