/// Why bytes are not an IKEv2 message. All are the sender's fault: RFC 7296 §2.21 answers them with INVALID_SYNTAX once the
/// message is authenticated, and drops it before.
///
/// A payload of an unknown type with the critical bit is not an error here: it is handed over as `Payload.unknown`, since the
/// answer (UNSUPPORTED_CRITICAL_PAYLOAD) belongs to the exchange.
public enum IKEWireError: Error, Hashable, Sendable {
    /// A field reaches past the end of what holds it.
    case truncated
    /// The header's length field is not the length of the datagram.
    case badMessageLength(field: UInt32, actual: Int)
    case messageTooLong(Int)
    /// Only the header of such a message can be read (RFC 7296 §2.5).
    case unsupportedMajorVersion(UInt8)
    /// RFC 7296 §3.1: the initiator's SPI is never zero.
    case zeroInitiatorSPI
    /// A payload's length is less than its own header, or more than what is left of the message.
    case badPayloadLength(type: UInt8, length: Int)
    /// Octets follow the last payload or the last element of a payload.
    case trailingBytes(Int)
    /// RFC 7296 §3.14: the Encrypted payload is the last of a message.
    case encryptedNotLast
    /// RFC 7296 §3.1: an Encrypted payload contains no other.
    case nestedEncrypted
    /// A payload that has one meaning a message came twice.
    case duplicatePayload(UInt8)
    case tooManyPayloads
    case tooManyProposals
    case tooManyTransforms
    case tooManyAttributes
    case tooManySelectors
    case tooManySPIs
    /// RFC 7296 §3.3: one or more proposals.
    case noProposals
    /// RFC 7296 §3.3.1: one or more transforms.
    case noTransforms
    /// RFC 7296 §3.13: one or more traffic selectors.
    case noSelectors
    /// A proposal's or transform's Last Substruc field contradicts the lengths (RFC 7296 §3.3.1, §3.3.2).
    case badLastSubstructure(UInt8)
    /// RFC 7296 §3.3.1: each proposal's number is one more than that of the one before.
    case badProposalNumber(UInt8)
    /// More or fewer transforms than the proposal's Num Transforms, or selectors than Number of TSs.
    case countMismatch(field: Int, actual: Int)
    /// RFC 7296 §3.3.1, §3.10, §3.11: an SPI has 4 octets for AH and ESP, 8 or none for IKE.
    case badSPISize(protocolID: ProtocolID, size: Int)
    /// RFC 7296 §3.3.2: a transform has at most one attribute of a type.
    case duplicateAttribute(UInt16)
    /// A configuration attribute's length is not one that RFC 7296 §3.15.1 gives for its type.
    case badAttributeLength(type: UInt16, length: Int)
    /// RFC 7296 §3.9: 16 to 256 octets.
    case badNonceLength(Int)
    /// RFC 7296 §3.11: a Delete payload is for IKE, AH or ESP.
    case badProtocol(ProtocolID)
    /// A traffic selector's length does not fit its type.
    case badSelectorLength(type: UInt8, length: Int)
    /// A traffic selector's start is past its end.
    case badSelectorRange
    /// The EAP message's own length field is not its length (RFC 3748 §4).
    case badEAPLength(Int)
    /// RFC 7383 §2.5: 1 ≤ fragment number ≤ total fragments, and a first payload in the first fragment only.
    case badFragmentNumber(number: UInt16, total: UInt16)
}
