package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"

	"netstage/cmd/netstage/initrd"
	"netstage/debug/sshd"
)

// sshFiles are the files of an initrd that boot.ssh needs. A host key that does
// not exist is made; without a name for it it is made for this initrd alone, in
// a folder that the caller removes.
func sshFiles(authorized, hostKey, temp string) (files []initrd.File, fingerprint string, err error) {
	keys, err := os.ReadFile(authorized)
	if err != nil {
		return nil, "", err
	}
	if hostKey == "" {
		hostKey = temp + "/ssh_host_ed25519_key"
	}
	host, err := os.ReadFile(hostKey)
	if errors.Is(err, fs.ErrNotExist) {
		host, err = makeHostKey(hostKey)
	}
	if err != nil {
		return nil, "", err
	}
	parsed, err := sshd.ParseKeys(host, keys)
	if err != nil {
		return nil, "", fmt.Errorf("ssh: %w", err)
	}
	return []initrd.File{
		{Source: authorized, Target: "/etc/netstage/authorized_keys"},
		{Source: hostKey, Target: "/etc/netstage/ssh_host_ed25519_key"},
	}, parsed.Fingerprint(), nil
}

func makeHostKey(file string) ([]byte, error) {
	_, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(secret, "netstage")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	return text, createFile(file, text, 0o600)
}
