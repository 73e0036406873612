package measure

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"netstage/stage1/tpm"
)

// Events of the log (TCG, PC Client Platform Firmware Profile, 10.4.1).
const (
	noAction = 3
	ipl      = 0xd
)

// Binary is the log in the crypto-agile format of the TCG (PC Client Platform
// Firmware Profile, 10), as of firmware: tpm2_eventlog reads it.
func Binary(banks []tpm.Algorithm, events []Event) []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0 /* a client */, 0, 2, 0 /* 2.0 */, 2 /* 64 bits */)
	spec = le.AppendUint32(spec, uint32(len(banks)))
	for _, a := range banks {
		spec = le.AppendUint16(spec, uint16(a))
		spec = le.AppendUint16(spec, uint16(len(a.Sum(nil))))
	}
	spec = append(spec, 0) // nothing of a vendor's
	log := le.AppendUint32(nil, 0)
	log = le.AppendUint32(log, noAction)
	log = append(log, make([]byte, 20)...)
	log = append(le.AppendUint32(log, uint32(len(spec))), spec...)
	for _, e := range events {
		log = le.AppendUint32(log, PCR)
		log = le.AppendUint32(log, ipl)
		log = le.AppendUint32(log, uint32(len(banks)))
		for _, a := range banks {
			log = append(le.AppendUint16(log, uint16(a)), a.Sum([]byte(e))...)
		}
		log = append(le.AppendUint32(log, uint32(len(e))), e...)
	}
	return log
}

// names are the hashes' in systemd's log.
var names = map[tpm.Algorithm]string{tpm.SHA1: "sha1", tpm.SHA256: "sha256", tpm.SHA384: "sha384", tpm.SHA512: "sha512"}

// JSON is the log as systemd's userspace keeps its own, a sequence of records
// (RFC 7464; TCG, Canonical Event Log Format, 5.3): systemd-pcrlock reads it.
func JSON(banks []tpm.Algorithm, events []Event) []byte {
	type digest struct {
		HashAlg string `json:"hashAlg"`
		Digest  string `json:"digest"`
	}
	type content struct {
		String string `json:"string"`
	}
	type record struct {
		PCR     int      `json:"pcr"`
		Digests []digest `json:"digests"`
		Type    string   `json:"content_type"`
		Content content  `json:"content"`
	}
	var log []byte
	for _, e := range events {
		r := record{PCR: PCR, Type: "systemd", Content: content{string(e)}}
		for _, a := range banks {
			r.Digests = append(r.Digests, digest{names[a], hex.EncodeToString(a.Sum([]byte(e)))})
		}
		text, err := json.Marshal(r)
		if err != nil {
			continue // texts and numbers
		}
		log = append(append(append(log, 0x1e), text...), '\n')
	}
	return log
}
