//! The authenticate-only suites: TLS 1.2 that authenticates every byte and encrypts none.
//!
//! Some sites must be able to read what their phones fetch, and still need its integrity. rustls
//! has no such suites; what it lacks is one record protection, which is here: the plain bytes
//! followed by an HMAC-SHA1 (RFC 5246 section 6.2.3.1 with NULL encryption). Key exchange,
//! signatures and tickets are rustls' own. Never mixed with suites that encrypt: a client that
//! offers both kinds must not get the weaker one, so the provider of these listeners contains
//! nothing else.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, UnsupportedOperationError, make_tls12_aad,
};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite,
};

/// The versions for a configuration: these suites exist only in TLS 1.2.
pub static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Key and tag of HMAC-SHA1 are as long as its hash (RFC 5246 section 6.3, appendix C).
const MAC_BYTES: usize = 20;
/// Most plain bytes in a record (RFC 5246 section 6.2.1).
const FRAGMENT_BYTES_MAX: usize = 1 << 14;

static ECDHE_ECDSA_WITH_NULL_SHA: Tls12CipherSuite = with_null_sha(
    CipherSuite::TLS_ECDHE_ECDSA_WITH_NULL_SHA,
    &cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
);
static ECDHE_RSA_WITH_NULL_SHA: Tls12CipherSuite = with_null_sha(
    CipherSuite::TLS_ECDHE_RSA_WITH_NULL_SHA,
    &cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
);

/// Creates the provider for listeners that only authenticate. Its two suites,
/// `TLS_ECDHE_ECDSA_WITH_NULL_SHA` (0xC006) and `TLS_ECDHE_RSA_WITH_NULL_SHA` (0xC010), do not
/// encrypt: an eavesdropper reads file names, secrets and user data.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            SupportedCipherSuite::Tls12(&ECDHE_ECDSA_WITH_NULL_SHA),
            SupportedCipherSuite::Tls12(&ECDHE_RSA_WITH_NULL_SHA),
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    }
}

/// Returns whether an eavesdropper can read a connection with this suite.
#[must_use]
pub fn is_readable(suite: CipherSuite) -> bool {
    suite == ECDHE_ECDSA_WITH_NULL_SHA.common.suite || suite == ECDHE_RSA_WITH_NULL_SHA.common.suite
}

/// Returns a suite that differs from its sibling only in its record protection. In TLS 1.2 both use
/// SHA-256 for everything but the records (RFC 5246 section 5).
const fn with_null_sha(
    suite: CipherSuite,
    sibling: &'static SupportedCipherSuite,
) -> Tls12CipherSuite {
    let sibling = match sibling {
        SupportedCipherSuite::Tls12(sibling) => sibling,
        SupportedCipherSuite::Tls13(_) => unreachable!(),
    };
    Tls12CipherSuite {
        common: CipherSuiteCommon {
            suite,
            hash_provider: sibling.common.hash_provider,
            confidentiality_limit: u64::MAX,
        },
        prf_provider: sibling.prf_provider,
        kx: sibling.kx,
        sign: sibling.sign,
        aead_alg: &NullSha,
    }
}

/// Describes records without encryption to rustls. It knows no MAC keys, but without cipher keys
/// the two "cipher keys" that it cuts from the key block are the MAC keys, in their order (RFC 5246
/// section 6.3).
struct NullSha;

impl Tls12AeadAlgorithm for NullSha {
    fn encrypter(&self, key: AeadKey, _iv: &[u8], _extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(RecordMac::new(key.as_ref()))
    }

    fn decrypter(&self, key: AeadKey, _iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(RecordMac::new(key.as_ref()))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape { enc_key_len: MAC_BYTES, fixed_iv_len: 0, explicit_nonce_len: 0 }
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: &[u8],
        _explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// One direction of a connection.
struct RecordMac {
    key: hmac::Key,
}

impl RecordMac {
    fn new(key: &[u8]) -> Self {
        RecordMac { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key) }
    }

    /// Returns the MAC over sequence number, type, version, length and plain bytes.
    fn tag(&self, seq: u64, typ: ContentType, version: ProtocolVersion, plain: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&make_tls12_aad(seq, typ, version, plain.len()));
        mac.update(plain);
        mac.sign()
    }
}

impl MessageEncrypter for RecordMac {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let record_bytes = self.encrypted_payload_len(message.payload.len());
        let mut record = PrefixedPayload::with_capacity(record_bytes);
        record.extend_from_chunks(&message.payload);
        let tag = self.tag(seq, message.typ, message.version, record.as_ref());
        record.extend_from_slice(tag.as_ref());
        Ok(OutboundOpaqueMessage::new(message.typ, message.version, record))
    }

    fn encrypted_payload_len(&self, plain_bytes: usize) -> usize {
        plain_bytes + MAC_BYTES
    }
}

impl MessageDecrypter for RecordMac {
    /// The length is not secret without encryption and padding, so only the comparison of the tag
    /// takes constant time.
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (typ, version) = (message.typ, message.version);
        let Some((plain, tag)) = message.payload.split_last_chunk::<MAC_BYTES>() else {
            return Err(Error::DecryptError);
        };
        verify_slices_are_equal(self.tag(seq, typ, version, plain).as_ref(), tag)
            .map_err(|_| Error::DecryptError)?;
        let plain_bytes = plain.len();
        if plain_bytes > FRAGMENT_BYTES_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(0..plain_bytes))
    }
}

/// Checks any sequence of records and attacks, for unit tests and fuzzing. The bytes are operations
/// of four bytes each; what follows one may be a record of its own.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let mut wire = Wire { writer: RecordMac::new(&KEY), reader: RecordMac::new(&KEY), seq: 0 };
    let mut rest = bytes;
    while let Some((&[operation, kind, high, low], after)) = rest.split_first_chunk() {
        let (typ, version) = (ContentType::from(kind), ProtocolVersion::TLSv1_2);
        let value = usize::from(u16::from_be_bytes([high, low]));
        rest = after;
        let plain: Vec<u8> = (0..value).map(|at| (at % 251) as u8).collect();
        let mut record = wire.write(typ, version, &plain);
        match operation % 8 {
            0 => wire.expect(typ, version, &mut record, Some(&plain)),
            1 => {
                let at = value % record.len();
                record[at] ^= kind | 1;
                wire.expect(typ, version, &mut record, None);
            }
            2 => {
                record.truncate(record.len() - 1 - usize::from(kind) % record.len());
                wire.expect(typ, version, &mut record, None);
            }
            3 => {
                record.extend_from_slice(&plain[..plain.len().min(64)]);
                record.push(kind);
                wire.expect(typ, version, &mut record, None);
            }
            4 => wire.expect(ContentType::from(kind ^ 1), version, &mut record, None),
            5 => wire.expect(typ, ProtocolVersion::TLSv1_1, &mut record, None),
            6 => {
                wire.seq = wire.seq.wrapping_add(1 + u64::from(kind));
                wire.expect(typ, version, &mut record, None);
            }
            7.. => {
                let (record, after) = rest.split_at(value.min(rest.len()));
                rest = after;
                let good = wire.plain_of(typ, version, record);
                wire.expect(typ, version, &mut record.to_vec(), good.as_deref());
            }
        }
        wire.seq = wire.seq.wrapping_add(1);
    }
}

/// The key that `check` and the vectors use.
const KEY: [u8; MAC_BYTES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

/// Both ends of one direction.
struct Wire {
    writer: RecordMac,
    reader: RecordMac,
    seq: u64,
}

impl Wire {
    fn write(&mut self, typ: ContentType, version: ProtocolVersion, plain: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage { typ, version, payload: plain.into() };
        let record = self.writer.encrypt(message, self.seq);
        let record = record.map_or_else(|_| Vec::new(), |record| record.payload.as_ref().to_vec());
        assert_eq!(record.len(), self.writer.encrypted_payload_len(plain.len()));
        assert!(record.starts_with(plain), "these suites hide nothing");
        record
    }

    /// Returns the plain bytes of a record, computed in another way.
    fn plain_of(
        &self,
        typ: ContentType,
        version: ProtocolVersion,
        record: &[u8],
    ) -> Option<Vec<u8>> {
        let plain = &record[..record.len().checked_sub(MAC_BYTES)?];
        let mut covered = self.seq.to_be_bytes().to_vec();
        covered.push(typ.into());
        covered.extend_from_slice(&u16::from(version).to_be_bytes());
        covered.extend_from_slice(&(plain.len() as u16).to_be_bytes());
        covered.extend_from_slice(plain);
        let good = hmac::verify(&self.reader.key, &covered, &record[plain.len()..]).is_ok();
        good.then(|| plain.to_vec())
    }

    /// Asserts that the reader returns these bytes, or refuses.
    fn expect(
        &mut self,
        typ: ContentType,
        version: ProtocolVersion,
        record: &mut [u8],
        plain: Option<&[u8]>,
    ) {
        let read = self.reader.decrypt(InboundOpaqueMessage::new(typ, version, record), self.seq);
        match (read, plain) {
            (Ok(read), Some(plain)) => {
                assert!(plain.len() <= FRAGMENT_BYTES_MAX, "an overlong record was taken");
                assert!(read.payload == plain, "other bytes than were written");
            }
            (Err(fault), Some(plain)) => {
                assert!(plain.len() > FRAGMENT_BYTES_MAX, "a good record was refused");
                assert_eq!(fault, Error::PeerSentOversizedRecord);
            }
            (Ok(_), None) => assert!(plain.is_some(), "a harmed record was taken"),
            (Err(fault), None) => assert_eq!(fault, Error::DecryptError),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{
        AlertDescription, ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore,
        ServerConfig, ServerConnection,
    };

    use super::*;

    const TLS12: ProtocolVersion = ProtocolVersion::TLSv1_2;

    fn from_hex(text: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn wire_at(seq: u64) -> Wire {
        Wire { writer: RecordMac::new(&KEY), reader: RecordMac::new(&KEY), seq }
    }

    /// The tags come from Python's hmac over struct.pack('>QBHH', seq, type, 0x0303, len) + plain,
    /// with the key 00 01 … 13; `openssl dgst -sha1 -mac HMAC -macopt hexkey:…` agrees.
    #[test]
    fn records_carry_the_macs_that_others_compute() {
        let finished = [&[20, 0, 0, 12][..], &[0xaa; 12]].concat();
        let full: Vec<u8> = (0..FRAGMENT_BYTES_MAX).map(|at| (at % 251) as u8).collect();
        let vectors: &[(u64, ContentType, &[u8], &str)] = &[
            (0, ContentType::Handshake, &finished, "0a32d5761f75aa9bd8e6c58c8e9cae792780f651"),
            (
                1,
                ContentType::ApplicationData,
                b"GET /46xxsettings.txt HTTP/1.1\r\n\r\n",
                "08cff790560bc64f6072bccbc5975cab05936cc3",
            ),
            (2, ContentType::ApplicationData, b"", "c80471527f24f083a5babcac1edccb8884246760"),
            (
                0x0102_0304_0506_0708,
                ContentType::Alert,
                &[1, 0],
                "0ee8047899422cf248fd91379b04e32caf8acb9d",
            ),
            (
                u64::MAX - 1,
                ContentType::ApplicationData,
                &full,
                "391f2925071148f328a95e048cd2b514b7d7d843",
            ),
        ];
        for (seq, typ, plain, tag) in vectors {
            let mut wire = wire_at(*seq);
            let mut record = wire.write(*typ, TLS12, plain);
            assert_eq!(record, [plain, &from_hex(tag)[..]].concat(), "{seq} {typ:?}");
            wire.expect(*typ, TLS12, &mut record, Some(plain));
        }
    }

    #[test]
    fn a_record_may_be_empty_and_may_be_full_but_no_longer() {
        for bytes in [0, 1, 19, 20, 21, FRAGMENT_BYTES_MAX - 1, FRAGMENT_BYTES_MAX] {
            let mut wire = wire_at(7);
            let plain = vec![0x5a; bytes];
            let mut record = wire.write(ContentType::ApplicationData, TLS12, &plain);
            assert_eq!(record.len(), bytes + MAC_BYTES);
            let message =
                InboundOpaqueMessage::new(ContentType::ApplicationData, TLS12, &mut record);
            assert_eq!(wire.reader.decrypt(message, 7).unwrap().payload, plain);
        }
        let mut wire = wire_at(7);
        let mut record =
            wire.write(ContentType::ApplicationData, TLS12, &[0x5a; FRAGMENT_BYTES_MAX + 1]);
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, TLS12, &mut record);
        assert_eq!(wire.reader.decrypt(message, 7).unwrap_err(), Error::PeerSentOversizedRecord);
    }

    #[test]
    fn what_is_shorter_than_a_mac_is_no_record() {
        for bytes in 0..MAC_BYTES {
            let mut record = vec![0; bytes];
            wire_at(0).expect(ContentType::ApplicationData, TLS12, &mut record, None);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut wire = wire_at(3);
        let record = wire.write(ContentType::ApplicationData, TLS12, b"SET SIPPORT 5061\n");
        for bit in 0..record.len() * 8 {
            let mut harmed = record.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            wire.expect(ContentType::ApplicationData, TLS12, &mut harmed, None);
        }
    }

    #[test]
    fn a_record_is_good_once_in_its_place_and_of_its_kind() {
        let mut wire = wire_at(3);
        let record = wire.write(ContentType::ApplicationData, TLS12, b"SET SIPPORT 5061\n");
        for seq in [0, 2, 4, 3 << 32] {
            wire.seq = seq;
            wire.expect(ContentType::ApplicationData, TLS12, &mut record.clone(), None);
        }
        wire.seq = 3;
        wire.expect(ContentType::Handshake, TLS12, &mut record.clone(), None);
        let older = ProtocolVersion::TLSv1_1;
        wire.expect(ContentType::ApplicationData, older, &mut record.clone(), None);
        wire.reader = RecordMac::new(&[0; MAC_BYTES]);
        wire.expect(ContentType::ApplicationData, TLS12, &mut record.clone(), None);
    }

    #[test]
    fn a_record_in_pieces_is_one_record() {
        let mut wire = wire_at(9);
        let pieces: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\n", b"", b"\r\n", b"body"];
        let whole = wire.write(ContentType::ApplicationData, TLS12, &pieces.concat());
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: TLS12,
            payload: rustls::crypto::cipher::OutboundChunks::new(pieces),
        };
        assert_eq!(wire.writer.encrypt(message, 9).unwrap().payload.as_ref(), whole);
    }

    #[test]
    fn any_mischief_is_noticed() {
        let operations: Vec<u8> = (0..=255_u8)
            .flat_map(|operation| {
                [
                    operation,
                    operation.wrapping_mul(37),
                    operation % 3 * 32,
                    operation.wrapping_mul(91),
                ]
            })
            .collect();
        check(&operations);
        for cut in 0..9 {
            check(&operations[cut..cut + 64]);
        }
        check(&[0, 23, 0x40, 0, 0, 23, 0x40, 1, 0, 23, 0xff, 0xff]);
    }

    #[test]
    fn suites_that_encrypt_and_suites_that_do_not_are_never_mixed() {
        let readable = |provider: &CryptoProvider| -> Vec<bool> {
            provider.cipher_suites.iter().map(|suite| is_readable(suite.suite())).collect()
        };
        assert_eq!(readable(&provider()), [true, true]);
        assert!(!readable(&default_provider()).contains(&true));
        let numbers: Vec<u16> =
            provider().cipher_suites.iter().map(|suite| suite.suite().into()).collect();
        assert_eq!(numbers, [0xc006, 0xc010]);
        assert!(provider().cipher_suites.iter().all(|suite| suite.tls13().is_none()));
    }

    /// A self-signed certificate for `localhost`, and a client that trusts it.
    struct Identity {
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        roots: Arc<RootCertStore>,
    }

    impl Identity {
        fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let names = vec!["localhost".to_owned()];
            let params = rcgen::CertificateParams::new(names).unwrap();
            let certificate = params.self_signed(&key).unwrap().der().clone();
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            Identity { certificate, key, roots: Arc::new(roots) }
        }

        fn server(&self, provider: CryptoProvider) -> ServerConfig {
            let builder = ServerConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(VERSIONS)
                .unwrap();
            let chain = vec![self.certificate.clone()];
            let mut config = builder
                .with_no_client_auth()
                .with_single_cert(chain, self.key.clone_key())
                .unwrap();
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
            config
        }

        fn client(&self, provider: CryptoProvider) -> Arc<ClientConfig> {
            let builder = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(VERSIONS)
                .unwrap();
            let config = builder.with_root_certificates(Arc::clone(&self.roots));
            Arc::new(config.with_no_client_auth())
        }
    }

    fn ends(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Connection, Connection) {
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::clone(client), name).unwrap();
        (ServerConnection::new(Arc::clone(server)).unwrap().into(), client.into())
    }

    /// Transfers all output of one end, and returns its bytes on the wire.
    fn carry(from: &mut Connection, to: &mut Connection) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        take_in(to, &bytes).map(|()| bytes)
    }

    fn take_in(to: &mut Connection, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    fn shake_hands(server: &mut Connection, client: &mut Connection) -> Result<(), Error> {
        for _ in 0..4 {
            carry(client, server)?;
            carry(server, client)?;
        }
        assert!(!server.is_handshaking() && !client.is_handshaking());
        Ok(())
    }

    #[test]
    fn a_phone_resumes_and_reads_what_everyone_could_have_read() {
        let kinds = [
            (&rcgen::PKCS_RSA_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_NULL_SHA),
            (&rcgen::PKCS_ECDSA_P256_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_NULL_SHA),
        ];
        for (algorithm, suite) in kinds {
            let identity = Identity::new(algorithm);
            let (server, client) =
                (Arc::new(identity.server(provider())), identity.client(provider()));
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (mut server, mut client) = ends(&server, &client);
                shake_hands(&mut server, &mut client).unwrap();
                assert_eq!(server.negotiated_cipher_suite().unwrap().suite(), suite);
                assert_eq!(server.handshake_kind(), Some(kind));
                let body = vec![b's'; 100_000];
                server.set_buffer_limit(None);
                server.writer().write_all(&body).unwrap();
                client.set_buffer_limit(None);
                let on_the_way = carry_all(&mut server, &mut client, body.len());
                assert!(on_the_way.windows(1_000).any(|part| part == &body[..1_000]));
            }
        }
    }

    /// Transfers so many plain bytes, and returns the bytes on the wire.
    fn carry_all(from: &mut Connection, to: &mut Connection, plain_bytes: usize) -> Vec<u8> {
        let (mut bytes, mut plain) = (Vec::new(), Vec::new());
        while from.wants_write() {
            let start = bytes.len();
            from.write_tls(&mut bytes).unwrap();
            let mut rest = &bytes[start..];
            while !rest.is_empty() {
                to.read_tls(&mut rest).unwrap();
                to.process_new_packets().unwrap();
                let _ = to.reader().read_to_end(&mut plain);
            }
        }
        assert_eq!(plain.len(), plain_bytes);
        bytes
    }

    #[test]
    fn a_harmed_record_ends_the_connection_with_bad_record_mac() {
        let identity = Identity::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (server, client) = (Arc::new(identity.server(provider())), identity.client(provider()));
        for at in [5, 10, 24] {
            let (mut server, mut client) = ends(&server, &client);
            shake_hands(&mut server, &mut client).unwrap();
            client.writer().write_all(b"PUT /").unwrap();
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            assert_eq!(bytes.len(), 5 + 5 + MAC_BYTES);
            bytes[at] ^= 0x20;
            assert_eq!(take_in(&mut server, &bytes), Err(Error::DecryptError));
            assert!(server.reader().read(&mut [0; 8]).is_err(), "nothing of it is handed on");
            let error = carry(&mut server, &mut client).unwrap_err();
            assert_eq!(error, Error::AlertReceived(AlertDescription::BadRecordMac));
        }
    }

    #[test]
    fn a_phone_that_only_encrypts_and_a_listener_that_only_authenticates_do_not_meet() {
        let identity = Identity::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let kinds = [(provider(), default_provider()), (default_provider(), provider())];
        for (here, there) in kinds {
            let (server, client) = (Arc::new(identity.server(here)), identity.client(there));
            let (mut server, mut client) = ends(&server, &client);
            assert!(matches!(
                shake_hands(&mut server, &mut client),
                Err(Error::PeerIncompatible(_))
            ));
            let error = carry(&mut server, &mut client).unwrap_err();
            assert_eq!(error, Error::AlertReceived(AlertDescription::HandshakeFailure));
        }
    }
}
