package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Keys are the server's own and those that it lets in.
type Keys struct {
	host       ssh.Signer
	authorized map[string]bool // by their wire format
}

// User is the only one there is.
const User = "root"

// fingerprint is the extension of a connection's permissions that names its
// key.
const fingerprint = "fingerprint"

// harmless options of an authorized key forbid what nobody gets here.
var harmless = []string{"no-port-forwarding", "no-agent-forwarding", "no-X11-forwarding", "no-user-rc"}

// ParseKeys reads a host key, in OpenSSH's format without a passphrase, and the
// keys of those who may log in, in the format of authorized_keys(5). A key with
// an option that limits it in a way that is not kept here is refused, and so is
// a line that is not understood.
func ParseKeys(host, authorized []byte) (Keys, error) {
	var k Keys
	var err error
	if k.host, err = ssh.ParsePrivateKey(host); err != nil {
		return Keys{}, fmt.Errorf("host key: %w", err)
	}
	if k.authorized, err = parseAuthorized(authorized); err != nil {
		return Keys{}, fmt.Errorf("authorized keys: %w", err)
	}
	return k, nil
}

func parseAuthorized(text []byte) (map[string]bool, error) {
	keys := map[string]bool{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, option := range options {
			if !slices.Contains(harmless, option) {
				return nil, fmt.Errorf("line %d: the option %.40q can't be kept", n, option)
			}
		}
		if !slices.Contains(signatures, algorithmOf(key)) {
			return nil, fmt.Errorf("line %d: keys of the type %s are not taken", n, key.Type())
		}
		keys[string(key.Marshal())] = true
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key")
	}
	return keys, nil
}

// signatures are the algorithms that people may log in with.
var signatures = ssh.SupportedAlgorithms().PublicKeyAuths

// algorithmOf names the weakest signature by key that is taken.
func algorithmOf(key ssh.PublicKey) string {
	if key.Type() == ssh.KeyAlgoRSA {
		return ssh.KeyAlgoRSASHA256
	}
	return key.Type()
}

// Len is how many keys are let in.
func (k Keys) Len() int { return len(k.authorized) }

// Fingerprint is the host key's, as ssh shows it to who connects.
func (k Keys) Fingerprint() string {
	return ssh.FingerprintSHA256(k.host.PublicKey())
}

func (k Keys) config() *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		MaxAuthTries:            6, // an agent offers all it has
		PublicKeyAuthAlgorithms: signatures,
		ServerVersion:           "SSH-2.0-netstage",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != User || !k.authorized[string(key.Marshal())] {
				return nil, fmt.Errorf("key %s is not authorized for %.40q", ssh.FingerprintSHA256(key), c.User())
			}
			return &ssh.Permissions{Extensions: map[string]string{fingerprint: ssh.FingerprintSHA256(key)}}, nil
		},
	}
	// What today's clients speak, and nothing by SHA-1, NIST curves or CBC.
	config.KeyExchanges = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519}
	config.Ciphers = []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES256GCM, ssh.CipherAES128GCM, ssh.CipherAES256CTR}
	config.MACs = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}
	config.AddHostKey(k.host)
	return config
}
